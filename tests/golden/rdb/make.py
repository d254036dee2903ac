"""Does the work of make.sh, which says what is made. Speaks RESP itself: values are binary."""

import hashlib, os, shutil, socket, struct, subprocess, sys, tempfile, time

HERE, SERVER = sys.argv[1], sys.argv[2]
FAR = 4102444800000  # 2100-01-01: the files must not age


class Server:
    def __init__(self, rdb=None):
        self.dir = tempfile.mkdtemp(prefix="rdb-golden-")
        if rdb:
            shutil.copy(rdb, os.path.join(self.dir, "dump.rdb"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir,
             "--enable-debug-command", "yes", "--stream-node-max-entries", "3",
             "--hash-max-listpack-entries", "4", "--zset-max-listpack-entries", "4",
             "--set-max-intset-entries", "4", "--list-max-listpack-size", "3"],
            stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                self.socket = socket.create_connection(("127.0.0.1", port))
                self.file = self.socket.makefile("rb")
                # Never talk to somebody else's server that took the port first.
                if self("CONFIG", "GET", "dir")[1].decode() == os.path.realpath(self.dir):
                    return
            except (OSError, RuntimeError):
                time.sleep(0.05)
        raise SystemExit("the server does not start")

    def __call__(self, *args):
        args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.socket.sendall(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args))
        return self.reply()

    def reply(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest)
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]

    def save(self, name):
        self("SAVE")
        shutil.copy(os.path.join(self.dir, "dump.rdb"), os.path.join(HERE, name + ".rdb"))
        self.describe(name)

    def describe(self, name):
        with open(os.path.join(HERE, name + ".digest"), "w") as out:
            out.write(self("DEBUG", "DIGEST").decode() + "\n")
        with open(os.path.join(HERE, name + ".answers"), "w") as out:
            for db in range(16):
                self("SELECT", db)
                for key in sorted(self("KEYS", "*")):
                    kind = self("TYPE", key).decode()
                    value = self("GET", key) if kind == "string" else b""
                    long = len(value) > 300
                    value = "sha1:" + hashlib.sha1(value).hexdigest() if long else value.hex()
                    expiry = self("PEXPIRETIME", key)
                    print(db, key.hex() or "-", kind, value or "-", expiry, file=out)
            self("SELECT", 0)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir)


def strings():
    redis = Server()
    for bits in (0, 7, 8, 15, 16, 31, 32, 63):
        for number in range(2**bits - 2, 2**bits + 2):
            for n in (number, -number):
                redis("SET", f"number:{n}", n)
                redis("SET", str(n), "a number as its key")
    for text in ("", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "1e3", "9" * 30):
        redis("SET", "text:" + text, text)
    for length in (*range(0, 70), 127, 128, 255, 256, 263, 264, 265, 1000, 16382, 16383, 16384, 70000):
        redis("SET", f"run:{length}", "a" * length)
        pattern = (b"the quick brown fox %d " % length) * (length // 16 + 1)
        redis("SET", f"packs:{length}", pattern[:length])
        if length <= 1000:
            noise = bytes((i * i * 31 + i * 7 + length) * 2654435761 >> 13 & 0xFF for i in range(length))
            redis("SET", f"noise:{length}", noise)
    for length in (21, 63, 64, 300, 20000):
        redis("SET", (b"a long key " * length)[:length], "v")
    redis("SET", "", "the empty key")
    redis("SET", bytes(range(256)), bytes(range(255, -1, -1)))
    for db in (0, 1, 9, 15):
        redis("SELECT", db)
        redis("SET", "expires", "v", "PXAT", FAR + db)
        redis("SET", "expires:number", 12345, "PXAT", FAR * 3)
        redis("SET", f"only:{db}", db)
    redis("SELECT", 0)
    redis.save("strings")
    with open(os.path.join(HERE, "digests.answers"), "w") as out:
        for key in sorted(redis("KEYS", "*")):
            print(key.hex() or "-", redis("DEBUG", "DIGEST-VALUE", key)[0].decode(), file=out)
    redis.stop()


def plain():
    redis = Server()
    redis("SET", "a", "text")
    redis("SET", "n", -300)
    redis("SET", "packed", "abc" * 20)
    redis("SELECT", 3)
    redis("SET", "e", "v", "PXAT", FAR)
    redis.save("plain")
    redis.stop()


def types():
    redis = Server()
    redis("SET", "first", "a string before")
    redis("RPUSH", "list:quicklist2", *("item %d" % i for i in range(9)), "x" * 9000)
    redis("SADD", "set:intset", 1, 2, 70000)
    redis("SADD", "set", "a", "b", "c", "d", "e" * 50)
    redis("HSET", "hash:listpack", "f", "v")
    redis("HSET", "hash", *(x for i in range(9) for x in ("f%d" % i, i)))
    redis("ZADD", "zset:listpack", 1.5, "a", "-inf", "b")
    redis("ZADD", "zset", *(x for i in range(9) for x in (i / 3, "m%d" % i)), "inf", "top")
    redis("PFADD", "hll", *range(100))
    redis("XADD", "stream:empty", "1-1", "a", "b")
    redis("XDEL", "stream:empty", "1-1")
    for i in range(1, 11):
        redis("XADD", "stream", f"{i}-{i}", "field", "value %d" % i)
    redis("XDEL", "stream", "3-3")
    redis("XGROUP", "CREATE", "stream", "idle", "0")
    for group in ("g1", "g2"):
        redis("XGROUP", "CREATE", "stream", group, "0")
        for consumer in ("alice", "bob"):
            redis("XREADGROUP", "GROUP", group, consumer, "COUNT", 3, "STREAMS", "stream", ">")
        redis("XGROUP", "CREATECONSUMER", "stream", group, "nothing-pending")
    redis("PEXPIREAT", "stream", FAR)
    redis("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    redis("SET", "zz:last", "a string after")
    redis.save("types")
    redis.stop()


def length(n):
    return bytes([n]) if n < 64 else struct.pack(">H", 0x4000 | n)


def string(b):
    return length(len(b)) + b


def crc64(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def ziplist(*entries):
    body, before = b"", 0
    for e in entries:
        entry = bytes([before, len(e)]) + e
        body, before = body + entry, len(entry)
    tail = 10 + len(body) - before
    return struct.pack("<IIH", 11 + len(body), tail, len(entries)) + body + b"\xff"


def old_types():
    intset = struct.pack("<II", 2, 3) + struct.pack("<hhh", 1, 2, 3)
    zipmap = b"\x02\x01a\x01\x00x\x01b\x01\x00y\xff"
    values = [
        (1, b"list", length(2) + string(b"a") + string(b"b")),
        (3, b"zset-text", length(4) + string(b"a") + b"\x031.5" + string(b"b") + b"\xfe"
            + string(b"c") + b"\xff" + string(b"d") + b"\x02-7"),
        (9, b"hash-zipmap", string(zipmap)),
        (10, b"list-ziplist", string(ziplist(b"a", b"bb"))),
        (11, b"set-intset", string(intset)),
        (12, b"zset-ziplist", string(ziplist(b"a", b"1", b"b", b"2"))),
        (13, b"hash-ziplist", string(ziplist(b"f", b"v"))),
        (14, b"list-quicklist", length(2) + string(ziplist(b"a")) + string(ziplist(b"b", b"c"))),
    ]
    # Seconds of expiry, idle time and frequency appear as other settings and versions write them.
    rdb = b"REDIS0009" + b"\xfa" + string(b"redis-bits") + b"\xc0\x40" + b"\xfe\x00"
    rdb += b"\xfd" + struct.pack("<i", 2**31 - 1) + b"\x00" + string(b"seconds") + string(b"v")
    rdb += b"\xf8" + length(1000) + b"\x00" + string(b"idle") + string(b"v")
    rdb += b"\xf9\x07\x00" + string(b"freq") + string(b"v")
    for code, key, value in values:
        rdb += bytes([code]) + string(key) + value
    rdb += b"\x00" + string(b"zz") + b"\xc1\x39\x30" + b"\xff"
    rdb += struct.pack("<Q", crc64(rdb))
    path = os.path.join(HERE, "old-types.rdb")
    with open(path, "wb") as out:
        out.write(rdb)
    redis = Server(path)
    assert redis("DBSIZE") == len(values) + 4, "the real server must accept it"
    redis.describe("old-types")
    redis.stop()


for make in (strings, plain, types, old_types):
    make()
