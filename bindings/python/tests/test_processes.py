"""Fork, the end of the interpreter, kill -9, threads, garbage and memory."""

import gc
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from typing import Any

import atomkv
import pytest

Table = Any


def python(code: str, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_forked_child_is_told(db: atomkv.Database, t: Table, path: pathlib.Path) -> None:
    t["k"] = "v"
    scan, snapshot = t.scan(), db.snapshot()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            refused = 0
            for call in (lambda: t["k"], lambda: t.put("k", "x"), lambda: list(scan), lambda: snapshot[t]["k"],
                         lambda: db.close()):
                try:
                    call()
                except atomkv.ForkedError:
                    refused += 1
            with atomkv.open(path.parent / "own") as own:
                own["t"]["k"] = "child"
            del scan, snapshot
            gc.collect()
            status = 0 if refused == 5 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    t["k"] = "w"
    assert t["k"] == b"w"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method: str, path: pathlib.Path) -> None:
    code = """
        import multiprocessing, sys, atomkv
        def work(number):
            with atomkv.open(sys.argv[1] + str(number)) as db:
                db["t"]["k"] = str(number)
            return number
        if __name__ == "__main__":
            multiprocessing.set_start_method(sys.argv[2])
            db = atomkv.open(sys.argv[1])
            db["t"]["k"] = "parent"
            with multiprocessing.Pool(2) as pool:
                print(sum(pool.map(work, range(4))))
    """
    script = path.parent / "work.py"
    script.write_text(textwrap.dedent(code))
    run = subprocess.run([sys.executable, str(script), str(path), method], capture_output=True, text=True, timeout=60)
    assert run.stdout == "6\n", run.stderr
    with atomkv.open(path) as db:
        assert db["t"]["k"] == b"parent"


def test_the_interpreter_ends_with_everything_open(path: pathlib.Path) -> None:
    code = """
        import asyncio, sys, threading, atomkv
        db = atomkv.open(sys.argv[1])
        t = db["t"]
        t.put_many((str(n), "v" * 100) for n in range(2000))
        scan, items, watch = t.scan(), iter(t.items()), db.watch()
        next(scan), next(items)
        snapshot, transaction, view, batch = db.snapshot(), db.transaction(), t.view("1"), db.batch()
        stream = t.stream("s", "w"); stream.write(b"x")
        bad = db.table("h", validator=atomkv.Validator("v", lambda key: None))
        bad["x"] = "y"
        threading.Thread(target=lambda: [t.put("a", "b") for _ in iter(int, 1)], daemon=True).start()
        threading.Thread(target=lambda: watch.next(), daemon=True).start()
        async def main():
            task = asyncio.ensure_future(db.watch().__anext__())
            await asyncio.sleep(0)
            await t.aput("k", "v")
            task.cancel()
        asyncio.run(main())
        print("end")
    """
    for _ in range(3):
        process = python(code, str(path))
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "end\n"), err
    with atomkv.open(path) as db:
        assert db["t"]["k"] == b"v" and "s" not in db["t"]
        # It was closed at the end, so there is next to nothing to replay.
        assert db.stats()["replayed_records"] < 100


def test_nothing_acknowledged_is_lost_to_kill(path: pathlib.Path) -> None:
    code = """
        import sys, atomkv
        t = atomkv.open(sys.argv[1])["t"]
        number = int(sys.argv[2])
        while True:
            t[str(number)] = "v%d" % number
            sys.stdout.write("%d\\n" % number); sys.stdout.flush()
            number += 1
    """
    start = 0
    for _ in range(4):
        process = python(code, str(path), str(start))
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(random.uniform(0.02, 0.2))
        process.send_signal(signal.SIGKILL)
        acknowledged = process.stdout.read().split("\n")
        process.communicate()
        last = int([line for line in acknowledged[:-1] if line][-1]) if len(acknowledged) > 1 else start
        with atomkv.open(path, timeout=10) as db:
            t = db["t"]
            for number in range(last + 1):
                assert t.get(str(number)) == b"v%d" % number
            start = len(t)


def test_ctrl_c_ends_a_wait(path: pathlib.Path) -> None:
    code = """
        import signal, sys, atomkv
        # Whoever runs the tests in the background of a shell has it ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch = atomkv.open(sys.argv[1]).watch()
        print("waits", flush=True)
        watch.next()
    """
    process = python(code, str(path))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]


def test_threads(db: atomkv.Database, t: Table, ordered: Table) -> None:
    failures = []
    numbers = db.table("numbers", serializer="json")
    numbers["n"] = 0

    @db.transact
    def add(transaction: atomkv.Transaction) -> None:
        transaction[numbers]["n"] += 1

    scan_of_all = ordered.scan()

    def work(seed: int) -> None:
        try:
            for number in range(1500):
                key = b"%d-%d" % (seed, number)
                t[key] = key
                assert t[key] == key
                ordered[key] = key
                if number % 100 == 0:
                    add()
                    assert len(dict(ordered.items())) >= number
                    t.modify("m", lambda value: b"%d" % (int(value or 0) + 1))
                    next(scan_of_all, None)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert numbers["n"] == 60 and t["m"] == b"60" and len(t) == 6001 and len(list(ordered)) == 6000


def test_threads_share_what_they_pop(ordered: Table) -> None:
    ordered.put_many((b"%04d" % number, b"%d" % number) for number in range(5000))
    popped: Any = []
    failures = []

    def drain() -> None:
        try:
            while ordered:
                popped.append(ordered.popitem())
        except KeyError as empty:
            if empty.args != ("popitem(): the table is empty",):
                failures.append(empty)

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and not ordered
    assert sorted(popped) == [(b"%04d" % number, b"%d" % number) for number in range(5000)]


def test_closing_while_others_work(path: pathlib.Path) -> None:
    db = atomkv.open(path)
    t = db["t"]
    ends = []

    def work() -> None:
        number = 0
        try:
            while True:
                t[str(number)] = "v"
                list(t.scan(limit=10))
                number += 1
        except atomkv.ClosedError:
            ends.append(number)

    def wait() -> None:
        try:
            db.watch(db["quiet"]).next()
        except atomkv.ClosedError:
            ends.append(0)

    threads = [threading.Thread(target=work) for _ in range(3)] + [threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    db.close()
    for thread in threads:
        thread.join(30)
    assert len(ends) == 4
    atomkv.open(path).close()


def test_other_threads_go_on_while_one_waits(db: atomkv.Database, t: Table) -> None:
    watch, counted = db.watch(), []
    thread = threading.Thread(target=lambda: counted.append(watch.next(20)))
    thread.start()
    t["k"] = "v"
    thread.join(20)
    assert counted[0].key == b"k"


def test_cycles_are_collected(path: pathlib.Path) -> None:
    db = atomkv.open(path)

    class Codec:
        table: Any = None

        def dumps(self, value: Any) -> bytes:
            return bytes(value)

        def loads(self, value: bytes) -> bytes:
            return value

    codec = Codec()
    table = db.table("t", serializer=(codec.dumps, codec.loads))
    codec.table = table
    table["k"] = b"v"
    assert table["k"] == b"v"
    gone = weakref.ref(codec)
    del codec, table
    db._tables.clear()
    gc.collect()
    assert gone() is None
    whole = weakref.ref(db)
    db["t2"]["k"] = "v"
    db.me = db  # type: ignore[attr-defined]
    del db
    gc.collect()
    assert whole() is None
    # Its last handle is gone, and so it is closed.
    atomkv.open(path).close()


def resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_million_operations_leak_nothing(db: atomkv.Database, t: Table) -> None:
    keys = [b"%d" % number for number in range(1000)]

    def round_() -> None:
        for key in keys:
            t.put(key, key)
            t.get(key)
            t.get(b"absent")
            t[key]
        t.get_many(keys)
        t.put_many((key, key) for key in keys)
        for _ in t.items():
            pass
        for _ in t.scan(limit=100):
            pass
        for key in keys[:50]:
            t.view(key)
            t.get_entry(key)
            try:
                t.put(key, b"", expect="absent")
            except atomkv.ConflictError:
                pass
            with db.snapshot() as snapshot:
                snapshot[t].get(key)
            with db.transaction() as transaction:
                transaction.get(t, key)
            with db.batch() as batch:
                batch.put(t, key, key)

    def measure() -> int:
        db.compact()
        gc.collect()
        return resident()

    for _ in range(30):
        round_()
    before = measure()
    for _ in range(150):
        round_()
    grown = measure() - before
    # A leak of 40 bytes in each of a million calls would show; segments come and go meanwhile.
    assert grown < 40 << 20, f"{grown} bytes more after a million operations"


def test_objects_are_counted_right(t: Table) -> None:
    key, value = b"k" * 20, b"v" * 50
    counts = sys.getrefcount(key), sys.getrefcount(value), sys.getrefcount(None)
    for _ in range(10_000):
        t.put(key, value)
        t[key] = value
        t.get(key)
        t.get(b"nix")
        t.get_many([key])
        t.put_many([(key, value)])
        key in t
    after = sys.getrefcount(key), sys.getrefcount(value), sys.getrefcount(None)
    assert all(abs(now - before) < 100 for now, before in zip(after, counts))
