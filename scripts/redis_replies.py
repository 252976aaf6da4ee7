#!/usr/bin/env python3
"""Sends the same commands to Redis and to AtomKV and tells where the replies differ, byte by byte.

    scripts/redis_replies.py REDIS_PORT ATOMKV_PORT

Both are emptied. Each line below is a command in words; a line `--` begins a new connection. What differs on purpose
(docs/redis.md) is not in the list. Ends with 1 if a reply differs.
"""
import socket
import sys

COMMANDS = r"""
PING
PING hello
PING a b
ECHO hi
ECHO
NOSUCH a b c
NOSUCH
SET k v
GET k
GET
GET a b
SET k v EX 10
TTL k
SET k v EX 0
SET k v EX -1
SET k v EX abc
SET k v EX 9223372036854775807
SET k v PX 9223372036854775807
SET k v EX
SET k v EX 10 PX 10
SET k v EX 10 KEEPTTL
SET k v NX XX
SET k v NX
SET k v XX
SET k2 v XX
SET k2 v NX
SET k w GET
SET k3 w GET
GET k3
SET k3 x NX GET
SET k3 x XX GET
SET k3 x BOGUS
SET k3 x EX 100
SET k3 y KEEPTTL
TTL k3
SET k3 z
TTL k3
SET gone v PXAT 1
GET gone
SET gone v EXAT 1
EXISTS gone
DEL f
INCRBYFLOAT f 10.50
INCRBYFLOAT f 0.1
INCRBYFLOAT f -5
INCRBYFLOAT f 5.0e3
INCRBYFLOAT f abc
INCRBYFLOAT f
INCRBYFLOAT f nan
SET f 5.0e3 EX 100
INCRBYFLOAT f 2.0e2
TTL f
SET f x
INCRBYFLOAT f 1
DEL f
SET m v EX 100
MOVE m 0
MOVE m 16
MOVE m x
MOVE m 5
MOVE m 5
SELECT 5
TTL m
MOVE m 0
SELECT 0
GET m
DEL m
SETNX k v
SETNX new v
SETEX k 0 v
SETEX k 10 v
SETEX k x v
SETEX k 10
PSETEX k 10000 v
PSETEX k -1 v
TTL k
GETSET k w
TTL k
GETSET absent w
GETDEL absent
GETDEL absent
GETEX k
GETEX k EX 100
TTL k
GETEX k PERSIST
TTL k
GETEX k EX 0
GETEX k BOGUS
GETEX k EX
GETEX k PERSIST EX 10
GETEX nothere EX 10
GETEX nothere EX 0
MGET k new nothere
MGET
MSET a 1 b 2
MSET a 1 b
MSET a
MSETNX a 1 c 2
MSETNX c 1 d 2
MSETNX e
MGET a b c d
APPEND a xyz
APPEND ap xyz
STRLEN a
STRLEN nothere
GETRANGE a 0 -1
GETRANGE a 1 2
GETRANGE a -3 -1
GETRANGE a -1 -3
GETRANGE a 5 3
GETRANGE a 0 100
GETRANGE a 100 200
GETRANGE a -100 1
GETRANGE a x 1
GETRANGE nothere 0 -1
SUBSTR a 0 1
SETRANGE a 1 QQ
GET a
SETRANGE sr 5 abc
GET sr
SETRANGE sr -1 abc
SETRANGE sr 99999999999 abc
SETRANGE sr x abc
SETRANGE nothere 10 ""
EXISTS nothere
SETRANGE sr 1 ""
INCR n
INCR n
INCRBY n 10
DECR n
DECRBY n 5
INCRBY n abc
INCRBY n 1.5
INCR a
SET n 9223372036854775807
INCR n
DECRBY n -9223372036854775808
DECRBY n -1
SET n -9223372036854775808
DECR n
SET n " 1"
INCR n
SET n 01
INCR n
SET n 10
EXPIRE n 100
INCR n
TTL n
DEL n
DEL n nothere
DEL
DEL a a b
UNLINK c
EXISTS d d nothere
EXISTS
TOUCH d d nothere
TYPE d
TYPE nothere
SET x 1
RENAME x y
RENAME nothere y
RENAME y y
RENAMENX y z
RENAMENX nothere z
SET y 2
RENAMENX y z
RENAMENX y y
COPY y w
COPY y w
COPY y w REPLACE
COPY y y
COPY y y DB 1
COPY y y DB 99
COPY y y DB x
COPY nothere w
COPY y w BOGUS
EXPIRE y 100
COPY y w REPLACE
TTL w
EXPIRE y 100 NX
EXPIRE y 200 XX
EXPIRE y 100 GT
EXPIRE y 300 GT
EXPIRE y 400 LT
EXPIRE y 50 LT
PERSIST y
PERSIST y
PERSIST nothere
EXPIRE y 100 GT
EXPIRE y 100 XX
EXPIRE y 100 LT
EXPIRE y 100 NX XX
EXPIRE y 100 GT LT
EXPIRE y 100 NX GT
EXPIRE y 100 BOGUS
EXPIRE y abc
EXPIRE y 9223372036854775807
EXPIRE y -9223372036854775808
EXPIRE y 9223372036854775
PEXPIRE y 9223372036854775807
EXPIREAT y 9223372036854775807
EXPIRE y
EXPIRE nothere 10
EXPIREAT y 4102444800
EXPIRETIME y
PEXPIRETIME y
PEXPIREAT y 4102444800123
PEXPIRETIME y
EXPIRETIME y
EXPIRETIME nothere
PEXPIRETIME z
TTL z
PTTL z
TTL nothere
PTTL nothere
TTL
EXPIRE y 0
EXISTS y
SET y 1
EXPIRE y -1
EXISTS y
SET y 1
PEXPIREAT y 1
GET y
FLUSHDB
DBSIZE
MSET key:1 a key:2 b other c
DBSIZE
KEYS nothing*
KEYS oth*
KEYS key:[^1]
KEYS ?ther
KEYS
SCAN 0 MATCH oth* COUNT 1000
SCAN 0 COUNT 1000 TYPE list
SCAN abc
SCAN 0 COUNT 0
SCAN 0 COUNT x
SCAN 0 BOGUS
SCAN 0 MATCH
SCAN
RANDOMKEY x
SELECT 1
GET other
SET other in1
SELECT 0
GET other
SELECT 99
SELECT -1
SELECT abc
SELECT
COPY other copied DB 1
SELECT 1
GET copied
FLUSHDB SYNC
FLUSHDB ASYNC
FLUSHDB BOGUS
SELECT 0
MULTI
SET m 1
INCR m
GET m
MULTI
WATCH m
GET m
EXEC
EXEC
DISCARD
EXEC x
MULTI x
WATCH
UNWATCH x
MULTI
SET m 5
DISCARD
GET m
MULTI
NOSUCH
SET m 7
EXEC
MULTI
SET m
EXEC
GET m
MULTI
SET m abc
INCR m
GET m
EXEC
MULTI
EXEC
WATCH m
SET m changed
MULTI
GET m
EXEC
WATCH m
SET m again
UNWATCH
MULTI
GET m
UNWATCH
EXEC
WATCH m
MULTI
SET m inside
EXEC
GET m
MULTI
SELECT 1
SET inone 1
DBSIZE
SELECT 0
EXISTS inone
EXEC
MULTI
PING
ECHO hi
MGET m nothere
DEL m
EXISTS m
SET m new EX 100
TTL m
RENAME m mm
GET mm
EXPIRE mm 0
EXISTS mm
MSET q 1 r 2
APPEND q x
STRLEN q
EXEC
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME "a b"
CLIENT SETNAME
CLIENT GETNAME x
CLIENT NO-EVICT on
CLIENT NO-EVICT bogus
CLIENT BOGUS
CLIENT
CONFIG GET maxmemory
CONFIG GET save
CONFIG GET nosuchsetting
CONFIG GET
CONFIG BOGUS
CONFIG
COMMAND BOGUS
COMMAND COUNT x
COMMAND LIST x
COMMAND INFO nosuch
AUTH secret
AUTH default secret
AUTH
AUTH a b c
HELLO 4
HELLO abc
HELLO 3 BOGUS
HELLO 3 SETNAME "a b"
HELLO 3 AUTH default
GETDEL
FLUSHALL
FLUSHALL x
TIME x
DBSIZE x
--
CLIENT SETNAME other
CLIENT GETNAME
RESET
CLIENT GETNAME
SET three 3
QUIT
--
GET nothere
GET three
"""
THIRD = r"""
GET nothere
SET three 3
SET three x NX
GETEX nothere
MGET three nothere
CONFIG GET maxmemory
MULTI
GET nothere
EXEC
WATCH three
SET three 4
MULTI
EXEC
CLIENT GETNAME
KEYS nothing
EXISTS three
COMMAND INFO nosuch
"""


def words(line):
    out, word, quoted, seen = [], "", False, False
    for char in line:
        if char == '"':
            quoted, seen = not quoted, True
        elif char == " " and not quoted:
            if word or seen:
                out.append(word)
            word, seen = "", False
        else:
            word += char
    if word or seen:
        out.append(word)
    return [w.encode() for w in out]


class Server:
    def __init__(self, port):
        self.port = port
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.file = self.socket.makefile("rb")

    def ask(self, command):
        parts = [b"*%d\r\n" % len(command)] + [b"$%d\r\n%s\r\n" % (len(w), w) for w in command]
        self.socket.sendall(b"".join(parts))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if not line:
            return b"(closed)"
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=" and rest != b"-1":
            return line + self.file.read(int(rest) + 2)
        if kind in b"*~%>" and rest != b"-1":
            count = int(rest) * (2 if kind == b"%" else 1)
            return line + b"".join(self.reply() for _ in range(count))
        return line


def main():
    redis, atomkv = Server(int(sys.argv[1])), Server(int(sys.argv[2]))
    both = (redis, atomkv)
    asked = differences = 0

    def compare(line):
        nonlocal asked, differences
        command = words(line)
        expected, found = (server.ask(command) for server in both)
        asked += 1
        if expected != found:
            differences += 1
            print(f"{line}\n    redis:  {expected!r}\n    atomkv: {found!r}")

    for server in both:
        server.ask([b"FLUSHALL"])
    for line in COMMANDS.strip().splitlines():
        if line == "--":
            for server in both:
                server.connect()
        else:
            compare(line)
    for server in both:
        server.connect()
        server.ask([b"HELLO", b"3"])
    for line in THIRD.strip().splitlines():
        compare(line)
    print(f"{asked} commands, {differences} replies differ")
    sys.exit(1 if differences else 0)


main()
