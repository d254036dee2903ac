// What programs do with ioredis. Run as `node ioredis.js HOST PORT`; says `ok` at its end.
const assert = require("assert");
const Redis = require("ioredis");
const [host, port] = [process.argv[2], Number(process.argv[3])];
const connect = () => new Redis({ host, port });

async function main() {
  const redis = connect();
  await redis.flushall();

  // A lock that only its owner releases.
  redis.defineCommand("unlock", {
    numberOfKeys: 1,
    lua: "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0",
  });
  assert.strictEqual(await redis.set("lock", "me", "PX", 10000, "NX"), "OK");
  assert.strictEqual(await redis.set("lock", "other", "PX", 10000, "NX"), null);
  assert.strictEqual(await redis.unlock("lock", "other"), 0);
  assert.strictEqual(await redis.unlock("lock", "me"), 1);

  // Pipelines, and transactions.
  const pipeline = redis.pipeline();
  for (let n = 0; n < 500; n++) pipeline.set(`p:${n}`, n).incr(`p:${n}`);
  const results = await pipeline.exec();
  assert.strictEqual(results.length, 1000);
  assert.deepStrictEqual(results[999], [null, 500]);
  assert.deepStrictEqual(await redis.multi().incr("a").incr("{x}b").mget("a", "{x}b").exec(), [
    [null, 1], [null, 1], [null, ["1", "1"]],
  ]);
  const other = connect();
  await redis.watch("p:1");
  await other.set("p:1", "changed");
  assert.strictEqual(await redis.multi().set("p:1", "lost").exec(), null);

  // A queue with a blocked worker.
  const worker = connect();
  const taken = worker.brpop("none", "queue", 5);
  await redis.lpush("queue", "job");
  assert.deepStrictEqual(await taken, ["queue", "job"]);
  const popped = worker.bzpopmin("none", "scores", 5);
  await redis.zadd("scores", 2, "b", 1, "a");
  assert.deepStrictEqual(await popped, ["scores", "a", "1"]);

  // A stream with a group.
  await redis.xgroup("CREATE", "events", "g", "$", "MKSTREAM");
  const read = worker.xreadgroup("GROUP", "g", "me", "COUNT", 10, "BLOCK", 5000, "STREAMS", "events", ">");
  const id = await redis.xadd("events", "*", "f", "v");
  assert.deepStrictEqual(await read, [["events", [[id, ["f", "v"]]]]]);
  assert.strictEqual(await redis.xack("events", "g", id), 1);

  // Messages.
  const listener = connect();
  const heard = [];
  listener.on("message", (channel, text) => heard.push([channel, text]));
  listener.on("pmessage", (pattern, channel, text) => heard.push([pattern, channel, text]));
  await listener.subscribe("news");
  await listener.psubscribe("n*");
  assert.strictEqual(await redis.publish("news", "hello"), 2);
  for (let n = 0; n < 500 && heard.length < 2; n++) await new Promise((it) => setTimeout(it, 10));
  assert.deepStrictEqual(heard, [["news", "hello"], ["n*", "news", "hello"]]);

  // Walks, binary values, sorting.
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "p:*", count: 50 })) keys.forEach((it) => found.add(it));
  assert.strictEqual(found.size, 500);
  const bytes = Buffer.from([0, 13, 10, 255]);
  await redis.set("binary", bytes);
  assert.ok(bytes.equals(await redis.getBuffer("binary")));
  await redis.rpush("list", 3, 1, 2);
  await redis.mset({ w_1: 3, w_2: 2, w_3: 1 });
  assert.deepStrictEqual(await redis.sort("list", "BY", "w_*", "GET", "#"), ["3", "2", "1"]);
  await redis.restore("copy", 0, await redis.dumpBuffer("list"));
  assert.deepStrictEqual(await redis.lrange("copy", 0, -1), ["3", "1", "2"]);
  await assert.rejects(redis.incr("list"), /WRONGTYPE/);

  [redis, other, worker, listener].forEach((it) => it.disconnect());
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
