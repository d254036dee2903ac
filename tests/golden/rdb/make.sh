#!/bin/sh
# Makes the files of this folder with a real redis-server (7.0.15 made those that are kept here):
#
#   strings.rdb       strings of all lengths and encodings, expiries, several databases
#   types.rdb         one key of every type and encoding that 7.0 writes, and a function library
#   plain.rdb         a few strings, small enough to be damaged at every byte
#   old-types.rdb     the types that 7.0 only reads, put together by hand and accepted by it
#   *.digest          DEBUG DIGEST of that data, one line
#   *.answers         what that server answered: db, hex of key, type, hex of value
#                     (its SHA1 if it is long, `-` if it is empty or no string), PEXPIRETIME
#   digests.answers   hex of key, DEBUG DIGEST-VALUE of the keys of strings.rdb's database 0
#
# Usage: make.sh [redis-server], in this folder. Needs python3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/make.py" "$here" "${1:-redis-server}"
