"""A programme that writes all the time, whatever becomes of the servers behind it.

Run as `python writer.py HOST PORT cluster|killed|sentinel`; a line on its input ends it. Says `ok` at its end: in a
cluster only if everything that was acknowledged is there, where a node of it is killed what was so after that line.
"""

import os
import sys
import threading
import time

import redis
from redis.sentinel import Sentinel

HOST, PORT, MODE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PATIENCE = 100


def connect():
    if MODE in ("cluster", "killed"):
        return redis.RedisCluster(HOST, PORT, decode_responses=True)
    sentinel = Sentinel([(HOST, PORT)], socket_timeout=2)
    return sentinel.master_for("m", socket_timeout=2, decode_responses=True)


def again_and_again(what):
    end = time.time() + PATIENCE
    while True:
        try:
            return what()
        except Exception as error:  # whatever a library makes of it
            if time.time() > end:
                raise
            print(repr(error), file=sys.stderr)
            time.sleep(0.05)


def main():
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    client = again_and_again(connect)
    kept, n = {}, 0
    left = 500 if MODE == "killed" else 0
    while left > 0 or not stop.is_set():
        left -= stop.is_set()
        key, value = f"{os.getpid()}:{n % 500}", str(n)
        again_and_again(lambda: client.set(key, value))
        kept[key] = value
        n += 1
        time.sleep(0.001)
    for key, value in kept.items():
        found = again_and_again(lambda: client.get(key))
        if MODE != "sentinel":
            assert found == value, (key, found, value)
    print("ok")


main()
