"""AtomKV beside other embedded stores of Python: single calls, many at once, iteration, threads.

usage: compare.py [--keys N] [--repeat N] [STORE...]

Values of 100 random bytes, keys of 16, read and written in random order; the best of some repetitions, which takes turns
between the stores, so that what else the machine does falls on all. None syncs within the measurement. Prints a table in
Markdown, nanoseconds an operation. Stores that are not installed are left out, and it says so.
"""

import argparse
import datetime
import os
import platform
import random
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

COLUMNS = ["get", "put", "get, many", "put, many", "iterate", "get, 2 threads"]


class AtomKV:
    name = "atomkv"

    def __init__(self, path):
        import atomkv

        self.db = atomkv.open(path)
        self.table = self.db["t"]

    def get(self, keys):
        get = self.table.get
        for key in keys:
            get(key)

    def put(self, pairs):
        put = self.table.put
        for key, value in pairs:
            put(key, value)

    def get_many(self, keys):
        self.table.get_many(keys)

    def put_many(self, pairs):
        self.table.put_many(pairs)

    def iterate(self):
        for _ in self.table.items():
            pass

    def close(self):
        self.db.close()


class Lmdb:
    name = "lmdb, a transaction each"

    def __init__(self, path):
        import lmdb

        self.env = lmdb.open(path, map_size=4 << 30, sync=False)

    def get(self, keys):
        begin = self.env.begin
        for key in keys:
            with begin() as transaction:
                transaction.get(key)

    def put(self, pairs):
        begin = self.env.begin
        for key, value in pairs:
            with begin(write=True) as transaction:
                transaction.put(key, value)

    def get_many(self, keys):
        with self.env.begin() as transaction, transaction.cursor() as cursor:
            cursor.getmulti(keys)

    def put_many(self, pairs):
        with self.env.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs)

    def iterate(self):
        with self.env.begin() as transaction:
            for _ in transaction.cursor():
                pass

    def close(self):
        self.env.close()


class LmdbOne(Lmdb):
    name = "lmdb, one transaction"

    def get(self, keys):
        with self.env.begin() as transaction:
            get = transaction.get
            for key in keys:
                get(key)

    def put(self, pairs):
        with self.env.begin(write=True) as transaction:
            put = transaction.put
            for key, value in pairs:
                put(key, value)


class RocksDict:
    name = "rocksdict"

    def __init__(self, path):
        from rocksdict import Options, Rdict, WriteBatch

        self.batch = WriteBatch
        self.db = Rdict(path, Options(raw_mode=True))

    def get(self, keys):
        db = self.db
        for key in keys:
            db[key]

    def put(self, pairs):
        db = self.db
        for key, value in pairs:
            db[key] = value

    def get_many(self, keys):
        for start in range(0, len(keys), 1000):
            self.db[keys[start : start + 1000]]

    def put_many(self, pairs):
        for start in range(0, len(pairs), 1000):
            batch = self.batch(raw_mode=True)
            for key, value in pairs[start : start + 1000]:
                batch.put(key, value)
            self.db.write(batch)

    def iterate(self):
        for _ in self.db.items():
            pass

    def close(self):
        self.db.close()


class Plyvel:
    name = "plyvel"

    def __init__(self, path):
        import plyvel

        self.db = plyvel.DB(path, create_if_missing=True)

    def get(self, keys):
        get = self.db.get
        for key in keys:
            get(key)

    def put(self, pairs):
        put = self.db.put
        for key, value in pairs:
            put(key, value)

    get_many = None

    def put_many(self, pairs):
        for start in range(0, len(pairs), 1000):
            with self.db.write_batch() as batch:
                for key, value in pairs[start : start + 1000]:
                    batch.put(key, value)

    def iterate(self):
        for _ in self.db:
            pass

    def close(self):
        self.db.close()


class Sqlite:
    name = "sqlite3 (WAL)"

    def __init__(self, path):
        os.makedirs(path)
        self.db = sqlite3.connect(path + "/db", isolation_level=None, check_same_thread=False)
        self.db.execute("pragma journal_mode=wal")
        self.db.execute("pragma synchronous=normal")
        self.db.execute("create table t (key blob primary key, value blob) without rowid")

    def get(self, keys):
        execute = self.db.execute
        for key in keys:
            execute("select value from t where key = ?", (key,)).fetchone()

    def put(self, pairs):
        execute = self.db.execute
        for pair in pairs:
            execute("insert or replace into t values (?, ?)", pair)

    get_many = None

    def put_many(self, pairs):
        self.db.execute("begin")
        self.db.executemany("insert or replace into t values (?, ?)", pairs)
        self.db.execute("commit")

    def iterate(self):
        for _ in self.db.execute("select key, value from t"):
            pass

    def close(self):
        self.db.close()


class Dbm:
    def __init__(self, path):
        import dbm

        os.makedirs(path)
        self.db = dbm.open(path + "/db", "c")
        self.name = "dbm"

    name = "dbm"

    def get(self, keys):
        db = self.db
        for key in keys:
            db[key]

    def put(self, pairs):
        db = self.db
        for key, value in pairs:
            db[key] = value

    get_many = put_many = None

    def iterate(self):
        db = self.db
        for key in db.keys():
            db[key]

    def close(self):
        self.db.close()


class DiskCache:
    name = "diskcache"

    def __init__(self, path):
        import diskcache

        self.db = diskcache.Cache(path, eviction_policy="none")

    def get(self, keys):
        get = self.db.get
        for key in keys:
            get(key)

    def put(self, pairs):
        put = self.db.set
        for key, value in pairs:
            put(key, value)

    get_many = None

    def put_many(self, pairs):
        with self.db.transact():
            self.put(pairs)

    def iterate(self):
        for key in self.db:
            self.db[key]

    def close(self):
        self.db.close()


#: The share of the keys with which the slow ones are measured.
STORES = [(AtomKV, 1), (LmdbOne, 1), (Lmdb, 1), (RocksDict, 1), (Plyvel, 1), (Sqlite, 4), (Dbm, 20), (DiskCache, 20)]


def timed(count, call, *arguments):
    begin = time.perf_counter_ns()
    call(*arguments)
    return (time.perf_counter_ns() - begin) / count


def in_two_threads(store, keys):
    half = len(keys) // 2
    threads = [threading.Thread(target=store.get, args=(part,)) for part in (keys[:half], keys[half:])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(kind, pairs, keys, directory):
    store = kind(os.path.join(directory, kind.__name__))
    found = {}
    try:
        found["put"] = timed(len(pairs), store.put, pairs)
        found["get"] = timed(len(keys), store.get, keys)
        if store.get_many:
            found["get, many"] = timed(len(keys), store.get_many, keys)
        found["iterate"] = timed(len(keys), store.iterate)
        found["get, 2 threads"] = timed(len(keys), in_two_threads, store, keys)
    finally:
        store.close()
    if store.put_many:
        store = kind(os.path.join(directory, kind.__name__ + "-many"))
        try:
            found["put, many"] = timed(len(pairs), store.put_many, pairs)
        finally:
            store.close()
    return found


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("store", nargs="*", help="only these")
    arguments = parser.parse_args()
    random.seed(1)
    values = [random.randbytes(100) for _ in range(1000)]
    pairs = [(b"%016d" % number, values[number % 1000]) for number in range(arguments.keys)]
    random.shuffle(pairs)
    keys = [key for key, _ in pairs]
    random.shuffle(keys)
    best = {}
    for _ in range(arguments.repeat):
        for kind, share in STORES:
            if arguments.store and not any(name in kind.name for name in arguments.store):
                continue
            some = pairs[: len(pairs) // share]
            chosen = {key for key, _ in some}
            directory = tempfile.mkdtemp()
            try:
                found = measure(kind, some, [key for key in keys if key in chosen], directory)
            except ImportError as error:
                print(f"{kind.name} is left out: {error}", file=sys.stderr)
                continue
            finally:
                shutil.rmtree(directory, ignore_errors=True)
            kept = best.setdefault(kind.name, {})
            for column, ns in found.items():
                kept[column] = min(ns, kept.get(column, ns))
    hash_map = dict(pairs)
    floor = min(timed(len(keys), lambda: [hash_map.get(key) for key in keys]) for _ in range(arguments.repeat))
    print(
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} processors, Python {platform.python_version()}; "
        f"{arguments.keys:,} keys, best of {arguments.repeat}; ns an operation; a dict takes {floor:.0f} a get\n"
    )
    print("| store | " + " | ".join(COLUMNS) + " |")
    print("| --- |" + " ---: |" * len(COLUMNS))
    for name, found in best.items():
        print(f"| {name} | " + " | ".join(f"{found[c]:,.0f}" if c in found else "–" for c in COLUMNS) + " |")


if __name__ == "__main__":
    main()
