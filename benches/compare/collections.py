#!/usr/bin/env python3
"""Collections beside redis-server: CPU of the server per command, and bytes per element.

Both servers run on CPU 0, one after the other in each round, with redis-benchmark on CPU 1. The CPU is
user and system time of the server process from /proc; memory is what its RSS grew by.

Usage: collections.py RINGFOLD [REDIS_SERVER [ROUNDS [PART]]]   (prints tables in Markdown)
PART is all, cpu, cpu1 (pipeline 1), cpu16 or memory.
"""

import os
import socket
import statistics
import subprocess
import sys
import time

PORT = 22100
CONNECTIONS = 50
VALUE = "0123456789abcdef"
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

# Name, what is there before, the command.
COMMANDS = [
    ("LPUSH to 1,000 lists", [], ["LPUSH", "list:__rand_int__", VALUE]),
    ("RPUSH to 1,000 lists", [], ["RPUSH", "list:__rand_int__", VALUE]),
    ("LRANGE of 10 of 1,000", ["list"], ["LRANGE", "l", "0", "9"]),
    ("LRANGE of 100 of 1,000", ["list"], ["LRANGE", "l", "0", "99"]),
    ("HSET in 1,000 hashes of 10", ["hashes"], ["HSET", "hash:__rand_int__", "field:5", VALUE]),
    ("HSET in a hash of 1,000", ["hash"], ["HSET", "h", "field:__rand_int__", VALUE]),
    ("HGETALL of 10", ["hashes"], ["HGETALL", "hash:__rand_int__"]),
    ("HGETALL of 100", ["hashes"], ["HGETALL", "hash100"]),
    ("SADD to 1,000 growing sets", [], ["SADD", "set:__rand_int__", "member:__rand_int__"]),
    ("SISMEMBER of 10", ["sets"], ["SISMEMBER", "set:__rand_int__", "member:5"]),
    ("SISMEMBER of 1,000", ["sets"], ["SISMEMBER", "s1000", "member:__rand_int__"]),
    ("ZADD to 1,000 growing sorted sets", [], ["ZADD", "zset:__rand_int__", "__rand_int__", "member:__rand_int__"]),
    ("ZADD in a sorted set of 1,000", ["zset"], ["ZADD", "z", "__rand_int__", "member:__rand_int__"]),
    ("ZRANGE of 10", ["zsets"], ["ZRANGE", "zset:__rand_int__", "0", "-1"]),
    ("ZRANGE of 10 of 1,000", ["zset"], ["ZRANGE", "z", "500", "509"]),
    ("ZRANGE of 100 of 1,000, with scores", ["zset"], ["ZRANGE", "z", "500", "599", "WITHSCORES"]),
    ("XADD to 1,000 streams", [], ["XADD", "stream:__rand_int__", "*", "field", VALUE]),
    ("XREAD of 10 of 1,000", ["stream"], ["XREAD", "COUNT", "10", "STREAMS", "s", "0-950"]),
    ("XRANGE of 10 of 1,000", ["stream"], ["XRANGE", "s", "0-500", "+", "COUNT", "10"]),
]


class Server:
    def __init__(self, name, command):
        self.name = name
        os.makedirs("/tmp/collections-bench", exist_ok=True)
        command = ["taskset", "-c", "0", *command, "--port", str(PORT), "--save", "", "--dir", "/tmp/collections-bench"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                self.socket = socket.create_connection(("127.0.0.1", PORT))
                self.file = self.socket.makefile("rb")
                self.pipe([["PING"]])
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{name} does not answer")

    def pipe(self, requests):
        """Sends requests and waits for as many one-line or bulk replies."""
        out = b"".join(
            b"*%d\r\n" % len(it) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in it) for it in requests)
        self.socket.sendall(out)
        for _ in requests:
            line = self.file.readline()
            assert line[:1] in b"+:$", line
            if line[:1] == b"$" and line != b"$-1\r\n":
                self.file.read(int(line[1:]) + 2)

    def cpu_ns(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK_NS

    def rss(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024

    def stop(self):
        self.process.terminate()
        self.process.wait()


def fill(server, what):
    if "list" in what:
        server.pipe([["RPUSH", "l"] + [VALUE] * 100 for _ in range(10)])
    if "stream" in what:
        server.pipe([["XADD", "s", f"0-{n}", "field", VALUE] for n in range(1, 1001)])


    def pairs(name, first, count):
        return [word for n in range(first, first + count) for word in (f"{name}:{n:012}", VALUE)]

    if "hash" in what:
        server.pipe([["HSET", "h", *pairs("field", first, 100)] for first in range(0, 1000, 100)])
    if "hashes" in what:
        server.pipe([["HSET", f"hash:{key:012}", "field:5", VALUE, *pairs("field", 0, 9)] for key in range(1000)])
        server.pipe([["HSET", "hash100", *pairs("field", 0, 100)]])
    if "sets" in what:
        server.pipe([["SADD", f"set:{key:012}", "member:5", *pairs("member", 0, 9)[::2]] for key in range(1000)])
        server.pipe([["SADD", "s1000", *pairs("member", 0, 1000)[::2]]])
    if "zset" in what:
        server.pipe([["ZADD", "z", str(n), f"member:{n:012}"] for n in range(1000)])
    if "zsets" in what:
        server.pipe([["ZADD", f"zset:{key:012}", str(n), f"member:{n}"] for key in range(1000) for n in range(10)])


def cpu(command, before, pipeline, number):
    server = Server(*command)
    fill(server, before[1])
    bench = ["taskset", "-c", "1", "redis-benchmark", "-p", str(PORT), "-c", str(CONNECTIONS), "-P", str(pipeline),
             "-r", "1000", "-q"]
    subprocess.run([*bench, "-n", "2000", *before[2]], stdout=subprocess.DEVNULL, check=True)
    start = server.cpu_ns()
    subprocess.run([*bench, "-n", str(number), *before[2]], stdout=subprocess.DEVNULL, check=True)
    spent = server.cpu_ns() - start
    server.stop()
    return spent / number


def memory(command, kind, elements, keys):
    """What the second half of twice as many keys takes: what a server takes but once is not counted."""
    server = Server(*command)
    grow(server, kind, elements, range(keys))
    time.sleep(0.3)
    before = server.rss()
    grow(server, kind, elements, range(keys, 2 * keys))
    time.sleep(0.3)
    each = (server.rss() - before) / (keys * elements)
    server.stop()
    return each


def grow(server, kind, elements, keys):
    batch = []
    for key in keys:
        for first in range(0, elements, 100):
            names = [f"member:{n:09}" for n in range(first, min(first + 100, elements))]
            if kind == "list":
                batch.append(["RPUSH", f"key:{key}"] + [VALUE] * len(names))
            elif kind == "hash":
                batch.append(["HSET", f"key:{key}", *(word for name in names for word in (name, VALUE))])
            elif kind == "set":
                batch.append(["SADD", f"key:{key}", *names])
            elif kind == "set of integers":
                batch.append(["SADD", f"key:{key}", *(str(n * 1000) for n in range(first, first + len(names)))])
            elif kind == "sorted set":
                pairs = (word for n, name in enumerate(names, first) for word in (str(n * 7), name))
                batch.append(["ZADD", f"key:{key}", *pairs])
            else:
                batch += [["XADD", f"key:{key}", f"1-{first + n + 1}", "field", VALUE] for n in range(len(names))]
            if len(batch) >= 100:
                server.pipe(batch)
                batch = []
    server.pipe(batch)


def table(title, rows, names, digits=0):
    print(f"\n| {title} | {names[0]} | {names[1]} | ratio |\n|---|---|---|---|")
    for name, ours, theirs in rows:
        print(f"| {name} | {ours:,.{digits}f} | {theirs:,.{digits}f} | {ours / theirs:.2f} |", flush=True)


def main():
    ringfold = ("Ringfold", [sys.argv[1], "--cores", "1"])
    redis = ("redis-server", [sys.argv[2] if len(sys.argv) > 2 else "redis-server"])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    part = sys.argv[4] if len(sys.argv) > 4 else "all"
    names = [ringfold[0], redis[0]]
    for pipeline, number in ((1, 60_000), (16, 300_000)):
        if part in ("all", "cpu", f"cpu{pipeline}"):
            rows = []
            for before in COMMANDS:
                spent = {name: [] for name in names}
                for _ in range(rounds):
                    for command in (ringfold, redis):
                        spent[command[0]].append(cpu(command, before, pipeline, number))
                rows.append((before[0], *(statistics.median(spent[name]) for name in names)))
            table(f"ns of CPU per command, pipeline {pipeline}, {CONNECTIONS} connections", rows, names)
    if part in ("all", "memory"):
        rows = []
        for kind in ("list", "hash", "set", "set of integers", "sorted set", "stream"):
            for elements, keys in ((10, 50_000), (1_000, 500), (1_000_000, 1)):
                sizes = [memory(command, kind, elements, keys) for command in (ringfold, redis)]
                rows.append((f"{kind} of {elements:,}, {keys:,} keys", *sizes))
        table("bytes per element of 16 bytes (RSS)", rows, names, 1)


main()
