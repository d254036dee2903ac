// A programme that writes all the time, whatever becomes of the servers behind it. Run as
// `node writer.js HOST PORT cluster|killed|sentinel ioredis|redis`; a line on its input ends it. Says `ok` at its end: in
// a cluster only if everything that was acknowledged is there, where a node of it is killed what was so after that line.
const assert = require("assert");
const [host, port, mode, library] = [process.argv[2], Number(process.argv[3]), ...process.argv.slice(4)];
const PATIENCE = 100_000;

const pause = (ms) => new Promise((it) => setTimeout(it, ms));

async function againAndAgain(what, heal = async () => {}) {
  const end = Date.now() + PATIENCE;
  for (let tries = 1; ; tries++) {
    try {
      return await what();
    } catch (error) {
      if (Date.now() > end) throw error;
      console.error(String(error));
      await pause(50);
      if (error instanceof TypeError && tries % 20 === 0) await heal();
    }
  }
}

async function connect() {
  if (library === "redis") {
    const { createCluster } = require("redis");
    const client = createCluster({ rootNodes: [{ url: `redis://${host}:${port}` }] });
    client.on("error", () => {});
    await client.connect();
    return client;
  }
  const Redis = require("ioredis");
  const client =
    mode !== "sentinel"
      ? new Redis.Cluster([{ host, port }])
      : new Redis({ sentinels: [{ host, port }], name: "m", commandTimeout: 2000 });
  client.on("error", () => {});
  return client;
}

async function main() {
  let stopped = false;
  process.stdin.once("data", () => (stopped = true));
  let client = await againAndAgain(connect);
  // node-redis that asked a node in the middle of a change may keep a hole in its slots for ever, and throws a
  // TypeError there instead of asking again: then whoever uses it connects anew.
  const heal = async () => (client = await againAndAgain(connect));
  const kept = new Map();
  let left = mode === "killed" ? 500 : 0;
  for (let n = 0; left > 0 || !stopped; n++) {
    if (stopped) left--;
    const [key, value] = [`${process.pid}:${n % 500}`, `${n}`];
    await againAndAgain(() => client.set(key, value), heal);
    kept.set(key, value);
    await pause(1);
  }
  for (const [key, value] of kept) {
    const found = await againAndAgain(() => client.get(key), heal);
    if (mode !== "sentinel") assert.strictEqual(found, value, key);
  }
  console.log("ok");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
