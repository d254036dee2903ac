// A programme that writes all the time, whatever becomes of the servers behind it. Run as
// `node writer.js HOST PORT cluster|sentinel ioredis|redis`; a line on its input ends it. Says `ok` at its end: in a
// cluster only if everything that was acknowledged is there.
const assert = require("assert");
const [host, port, mode, library] = [process.argv[2], Number(process.argv[3]), ...process.argv.slice(4)];
const PATIENCE = 100_000;

const pause = (ms) => new Promise((it) => setTimeout(it, ms));

async function againAndAgain(what) {
  const end = Date.now() + PATIENCE;
  for (;;) {
    try {
      return await what();
    } catch (error) {
      if (Date.now() > end) throw error;
      console.error(String(error));
      await pause(50);
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
    mode === "cluster"
      ? new Redis.Cluster([{ host, port }])
      : new Redis({ sentinels: [{ host, port }], name: "m", commandTimeout: 2000 });
  client.on("error", () => {});
  return client;
}

async function main() {
  let stopped = false;
  process.stdin.once("data", () => (stopped = true));
  const client = await againAndAgain(connect);
  const kept = new Map();
  for (let n = 0; !stopped; n++) {
    const [key, value] = [`${process.pid}:${n % 500}`, `${n}`];
    await againAndAgain(() => client.set(key, value));
    kept.set(key, value);
    await pause(1);
  }
  for (const [key, value] of kept) {
    const found = await againAndAgain(() => client.get(key));
    if (mode === "cluster") assert.strictEqual(found, value, key);
  }
  console.log("ok");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
