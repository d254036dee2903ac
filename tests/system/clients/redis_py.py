"""What programs do with redis-py: locks, queues, streams with groups, pipelines, scripts, pub/sub.

Run as `python redis_py.py HOST PORT PROTOCOL`; says `ok` at its end.
"""

import sys
import threading
import time

import redis

HOST, PORT, PROTOCOL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def connect(**options):
    return redis.Redis(HOST, PORT, protocol=PROTOCOL, decode_responses=True, **options)


def locks(r):
    counter = [0]

    def work():
        mine = connect()
        for _ in range(20):
            with mine.lock("lock:counter", timeout=10, sleep=0.001):
                seen = counter[0]
                time.sleep(0.0005)
                counter[0] = seen + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    [it.start() for it in threads]
    [it.join() for it in threads]
    assert counter[0] == 80, counter
    lock = r.lock("lock:other", timeout=5)
    assert lock.acquire(blocking=False)
    assert not r.lock("lock:other", timeout=5).acquire(blocking=False)
    lock.extend(10)
    lock.reacquire()
    lock.release()
    try:
        lock.release()
        raise AssertionError("released twice")
    except redis.exceptions.LockError:
        pass


def queues(r):
    done = []

    def worker():
        mine = connect()
        while True:
            item = mine.blmove("queue", "working", 5, "LEFT", "RIGHT")
            if item == "stop":
                return
            done.append(item)
            assert mine.lrem("working", 1, item) == 1

    threads = [threading.Thread(target=worker) for _ in range(3)]
    [it.start() for it in threads]
    for n in range(100):
        r.rpush("queue", n)
    for _ in threads:
        r.rpush("queue", "stop")
    [it.join() for it in threads]
    assert sorted(map(int, done)) == list(range(100))
    r.zadd("delayed", {"a": 1, "b": 2, "c": 3})
    assert r.bzpopmin(["none", "delayed"], 1)[1] == "a"
    assert r.bzpopmax("delayed", 1)[1] == "c"
    assert r.zmpop(2, ["none", "delayed"], min=True)[0] == "delayed"
    assert r.blpop(["none"], 0.05) is None


def streams(r):
    r.xgroup_create("events", "workers", id="0", mkstream=True)
    ids = [r.xadd("events", {"n": n, "text": "x" * n}) for n in range(30)]
    seen = []
    for consumer in ("one", "two", "three"):
        read = r.xreadgroup("workers", consumer, {"events": ">"}, count=10)
        entries = read["events"][0] if isinstance(read, dict) else read[0][1]
        seen += [it[0] for it in entries]
        if consumer != "three":
            assert r.xack("events", "workers", *[it[0] for it in entries]) == 10
    assert seen == ids
    pending = r.xpending("events", "workers")
    assert pending["pending"] == 10 and pending["consumers"][0]["name"] == "three"
    assert len(r.xpending_range("events", "workers", "-", "+", 100)) == 10
    claimed = r.xautoclaim("events", "workers", "one", min_idle_time=0, count=4)
    assert len(claimed[1]) == 4
    assert r.xtrim("events", maxlen=5, approximate=False) == 25
    info = r.xinfo_stream("events")
    assert info["length"] == 5 and info["groups"] == 1
    assert len(r.xinfo_consumers("events", "workers")) == 3
    assert r.xrevrange("events", count=1)[0][0] == ids[-1]


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"p:{n}", n)
            pipe.incr(f"p:{n}")
        assert pipe.execute()[1::2] == list(range(1, 1001))
    with r.pipeline() as pipe:
        pipe.hset("h", mapping={"a": 1, "b": 2}).hgetall("h").expire("h", 100).zadd("z", {"m": 1.5})
        assert pipe.execute() == [2, {"a": "1", "b": "2"}, True, 1]

    def transfer(pipe):
        balance = int(pipe.get("p:10"))
        pipe.multi()
        pipe.set("p:10", balance - 1)
        pipe.incr("p:11")

    assert r.transaction(transfer, "p:10", "p:11") == [True, 13]
    try:
        with r.pipeline() as pipe:
            pipe.watch("p:12")
            connect().set("p:12", "changed")
            pipe.multi()
            pipe.set("p:12", "lost")
            pipe.execute()
        raise AssertionError("a watched key had changed")
    except redis.WatchError:
        pass


def scripts(r):
    add = r.register_script("return redis.call('incrby', KEYS[1], ARGV[1])")
    assert add(keys=["s"], args=[5]) == 5
    r.script_flush()
    assert add(keys=["s"], args=[5]) == 10
    r.function_load("#!lua name=mylib\nredis.register_function('twice', function(k, a) return a[1] * 2 end)", replace=True)
    assert r.fcall("twice", 0, 21) == 42
    try:
        r.eval("return redis.error_reply('MY error')", 0)
        raise AssertionError("no error")
    except redis.ResponseError as error:
        assert "MY error" in str(error)


def messages(r):
    listener = r.pubsub()
    listener.subscribe("news")
    listener.psubscribe("n*s")
    got = []
    end = time.time() + 10
    while len(got) < 2 and time.time() < end:
        got += [it for it in [listener.get_message(timeout=0.1)] if it and it["type"].endswith("subscribe")]
    assert connect().publish("news", "hello") == 2
    heard = []
    while len(heard) < 2 and time.time() < end:
        heard += [it for it in [listener.get_message(timeout=0.1)] if it and it["type"].endswith("message")]
    assert sorted(it["type"] for it in heard) == ["message", "pmessage"], heard
    listener.close()


def the_rest(r):
    r.rpush("sortme", 3, 1, 2)
    r.mset({"w_1": 3, "w_2": 2, "w_3": 1})
    assert r.sort("sortme", by="w_*", get=["#", "w_*"]) == ["3", "1", "2", "2", "1", "3"]
    payload = redis.Redis(HOST, PORT, protocol=PROTOCOL).dump("sortme")
    r.restore("copied", 0, payload, replace=True)
    assert r.lrange("copied", 0, -1) == ["3", "1", "2"]
    assert r.geoadd("places", (13.361389, 38.115556, "Palermo")) == 1
    assert r.geosearch("places", longitude=15, latitude=37, radius=200, unit="km") == ["Palermo"]
    assert r.pfadd("hll", "a", "b") == 1 and r.pfcount("hll") == 2
    assert sum(1 for _ in r.scan_iter("p:*", count=100)) == 1000
    assert r.object("encoding", "h") == "listpack"
    assert r.info("server")["redis_mode"] == "standalone"
    assert "get" in r.command() and r.client_list()
    assert r.config_get("maxmemory") == {"maxmemory": "0"}


def main():
    r = connect()
    r.flushall()
    for part in (locks, queues, streams, pipelines, scripts, messages, the_rest):
        part(r)
    print("ok")


main()
