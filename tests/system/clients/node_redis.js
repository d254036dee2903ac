// What programs do with node-redis. Run as `node node_redis.js HOST PORT`; says `ok` at its end.
const assert = require("assert");
const { createClient, commandOptions, defineScript } = require("redis");
const [host, port] = [process.argv[2], Number(process.argv[3])];

const add = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  transformArguments: (key, by) => [key, by.toString()],
  transformReply: (reply) => reply,
});

async function main() {
  const client = createClient({ socket: { host, port }, scripts: { add } });
  await client.connect();
  await client.flushAll();

  assert.strictEqual(await client.set("lock", "me", { NX: true, PX: 10000 }), "OK");
  assert.strictEqual(await client.set("lock", "other", { NX: true }), null);
  assert.strictEqual(await client.add("sum", 5), 5);
  await client.scriptFlush();
  assert.strictEqual(await client.add("sum", 5), 10);

  const all = await Promise.all([...Array(500).keys()].map((n) => client.set(`p:${n}`, `${n}`)));
  assert.strictEqual(all.length, 500);
  assert.deepStrictEqual(
    await client.multi().set("a", "1").incr("{x}b").mGet(["a", "{x}b"]).exec(),
    ["OK", 1, ["1", "1"]],
  );
  await assert.rejects(
    client.executeIsolated(async (isolated) => {
      await isolated.watch("p:1");
      await client.set("p:1", "changed");
      return isolated.multi().set("p:1", "lost").exec();
    }),
    /watch/i,
  );

  const job = client.blPop(commandOptions({ isolated: true }), ["none", "queue"], 5);
  await client.rPush("queue", "job");
  assert.deepStrictEqual({ ...(await job) }, { key: "queue", element: "job" });
  const lowest = client.bzPopMin(commandOptions({ isolated: true }), ["none", "scores"], 5);
  await client.zAdd("scores", [{ score: 2, value: "b" }, { score: 1, value: "a" }]);
  assert.deepStrictEqual({ ...(await lowest) }, { key: "scores", value: "a", score: 1 });

  await client.xGroupCreate("events", "g", "0", { MKSTREAM: true });
  const id = await client.xAdd("events", "*", { f: "v" });
  const read = await client.xReadGroup("g", "me", { key: "events", id: ">" }, { COUNT: 5 });
  assert.strictEqual(read[0].messages[0].id, id);
  assert.strictEqual((await client.xPending("events", "g")).pending, 1);
  assert.strictEqual(await client.xAck("events", "g", id), 1);

  const listener = client.duplicate();
  await listener.connect();
  const heard = [];
  await listener.subscribe("news", (text) => heard.push(text));
  await listener.pSubscribe("n*", (text, channel) => heard.push(channel));
  await client.publish("news", "hello");
  for (let n = 0; n < 500 && heard.length < 2; n++) await new Promise((it) => setTimeout(it, 10));
  assert.deepStrictEqual(heard.sort(), ["hello", "news"]);

  const found = new Set();
  for await (const key of client.scanIterator({ MATCH: "p:*", COUNT: 50 })) found.add(key);
  assert.strictEqual(found.size, 500);
  await client.hSet("h", { a: "1", b: "2" });
  assert.deepStrictEqual({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
  await client.rPush("list", ["3", "1", "2"]);
  await client.mSet({ w_1: "3", w_2: "2", w_3: "1" });
  assert.deepStrictEqual(await client.sort("list", { BY: "w_*", GET: "#" }), ["3", "2", "1"]);
  assert.deepStrictEqual(await client.sendCommand(["SORT_RO", "list", "DESC"]), ["3", "2", "1"]);
  await assert.rejects(client.incr("list"), /WRONGTYPE/);

  await listener.disconnect();
  await client.quit();
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
