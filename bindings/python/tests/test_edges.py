"""What nobody plans: loops that are left early, forks in the middle, functions that call back, paths and pairs of all kinds."""

import asyncio
import copy
import errno
import functools
import gc
import math
import operator
import os
import pathlib
import sys
import threading
import zlib
from typing import Any, Callable, Iterator, List

import atomkv
import pytest

Table = "atomkv.Table[Any, Any]"


def test_a_watch_of_a_loop_resumes_behind_what_was_handed_over(db: atomkv.Database, t: Table) -> None:
    async def some(count: int, start: int) -> Any:
        with t.watch(start=start) as changes:
            keys = []
            async for change in changes:
                keys.append(change.key)
                if len(keys) == count:
                    return keys, changes.resume_from
        raise AssertionError("the watch has ended")

    start = t.put("first", "1").sequence
    for number in range(10):
        t[f"k{number}"] = "v"
    keys, start = asyncio.run(some(4, start))
    assert keys == [b"first", b"k0", b"k1", b"k2"]
    keys, start = asyncio.run(some(7, start))
    assert keys == [f"k{number}".encode() for number in range(3, 10)]


def test_a_watch_that_was_read_ahead_may_be_polled(t: Table) -> None:
    async def main() -> None:
        with t.watch() as changes:
            for number in range(5):
                t[f"k{number}"] = "v"
            assert (await changes.__anext__()).key == b"k0"
            resume_from = changes.resume_from
            assert [change.key for change in iter(changes.poll, None)] == [b"k1", b"k2", b"k3", b"k4"]
            assert changes.resume_from > resume_from
            t["k5"] = "v"
            assert changes.next(5).key == b"k5"
            with t.watch(start=changes.resume_from) as later:
                assert later.poll() is None

    asyncio.run(main())


def test_threads_share_a_watch_that_was_read_ahead(t: Table) -> None:
    async def read_ahead(changes: atomkv.Watch) -> bytes:
        return (await changes.__anext__()).key  # type: ignore[no-any-return]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            with t.watch() as changes:
                t.put_many((f"{number:03}", "v") for number in range(200))
                found = [asyncio.run(read_ahead(changes))]
                failures: List[BaseException] = []

                def poll() -> None:
                    try:
                        found.extend(change.key for change in iter(changes.poll, None))
                    except BaseException as failure:
                        failures.append(failure)

                threads = [threading.Thread(target=poll) for _ in range(4)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            assert failures == [] and sorted(found) == [b"%03d" % number for number in range(200)]
    finally:
        sys.setswitchinterval(interval)


def test_a_change_that_cannot_be_read_takes_no_other_with_it(db: atomkv.Database) -> None:
    texts = db.table("texts", text_keys=True)

    async def main() -> List[Any]:
        found: List[Any] = []
        with texts.watch() as changes:
            for key in (b"a", b"\xff", b"b", b"c"):
                texts[key] = "v"
            while len(found) < 4:
                try:
                    found.append((await changes.__anext__()).key)
                except UnicodeDecodeError as error:
                    found.append(type(error))
        return found

    assert asyncio.run(main()) == ["a", UnicodeDecodeError, "b", "c"]


def test_a_watch_of_a_loop_tells_of_state_that_cannot_be_read(db: atomkv.Database) -> None:
    def decompress(value: bytes) -> bytes:
        plain = zlib.decompress(value)
        if plain.startswith(b"5"):
            raise ZeroDivisionError("bad value")
        return plain

    table = db.table("compressed", compressor=atomkv.Compressor("zlib", zlib.compress, decompress))
    table.put_many((f"{number}", f"{number}" * 1000) for number in range(10))

    async def main() -> List[Any]:
        found: List[Any] = []
        with table.watch(state_first=True) as changes:
            while len(found) < 10:
                try:
                    async for change in changes:
                        found.append(change.key.decode())
                        if len(found) == 10:
                            break
                except ZeroDivisionError:
                    found.append("raised")
        return found

    assert sorted(asyncio.run(asyncio.wait_for(main(), 60))) == [*"012346789", "raised"]


def test_a_loop_of_attempts_that_is_left_tells_of_its_conflict(db: atomkv.Database) -> None:
    counters = db.table("counters", serializer="json")
    counters["visits"] = 0
    unraisable: List[Any] = []

    def left() -> None:
        for attempt in db.attempts():
            with attempt as t:
                t[counters]["visits"] += 1
                counters["visits"] = 100
                return

    hook = sys.unraisablehook
    sys.unraisablehook = lambda found: unraisable.append(found.exc_type)
    try:
        left()
        gc.collect()
    finally:
        sys.unraisablehook = hook
    assert counters["visits"] == 100 and unraisable == [atomkv.ConflictError]


def test_transactions_are_made_of_plain_functions(db: atomkv.Database, t: Table) -> None:
    async def later(transaction: atomkv.Transaction) -> None:
        transaction.put(t, "a", "b")

    def parts(transaction: atomkv.Transaction) -> Iterator[int]:
        yield 1

    for function in (later, parts):
        with pytest.raises(TypeError, match="plain function"):
            db.transact(function)


def test_clearing_within_a_transaction(db: atomkv.Database, ordered: Table) -> None:
    ordered.put_many((f"{number:03}", "v") for number in range(100))
    with db.transaction() as transaction:
        seen = transaction[ordered]
        assert seen.popitem() == (b"000", b"v")
        assert len(seen) == 99
        seen.clear()
        with pytest.raises(KeyError):
            seen.popitem()
        assert len(ordered) == 100
    assert not ordered


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_is_told_of_what_its_parent_was_just_using(db: atomkv.Database, t: Table) -> None:
    changes = t.watch()
    done = threading.Event()

    def wait() -> None:
        while not done.is_set():
            try:
                changes.next(0.5)
            except atomkv.WatchTimeoutError:
                pass

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                try:
                    changes.poll()
                except atomkv.ForkedError:
                    os._exit(0)
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join()
        changes.close()


def test_a_service_may_not_use_what_has_called_it(db: atomkv.Database) -> None:
    calls: List[Callable[[], Any]] = []

    def decompress(value: bytes) -> bytes:
        for call in calls:
            call()
        return zlib.decompress(value)

    table = db.table("compressed", compressor=atomkv.Compressor("zlib", zlib.compress, decompress))
    table["a"] = "x" * 1000
    scan, transaction, changes = table.scan(), db.transaction(), table.watch(start=0)
    for call in (lambda: next(scan), lambda: transaction.get(table, "a"), changes.poll):
        calls[:] = [call]
        with pytest.raises(RuntimeError, match="cannot use it itself"):
            call()
        calls.clear()
    transaction.abort()
    changes.close()


def test_what_is_put_into_a_batch_while_it_is_applied_is_kept(db: atomkv.Database) -> None:
    calls: List[Callable[[], Any]] = []

    def compress(value: bytes) -> bytes:
        for call in calls:
            call()
        return zlib.compress(value)

    table = db.table("compressed", compressor=atomkv.Compressor("zlib", compress, zlib.decompress))
    batch = db.batch()
    batch.put(table, "a", "1" * 1000)
    calls[:] = [lambda: batch.put(table, "b", "2")]
    with pytest.raises(RuntimeError, match="cannot use it itself"):
        batch.apply()
    assert len(batch) == 1
    threads: List[threading.Thread] = []

    def put_meanwhile() -> None:
        threads.append(threading.Thread(target=batch.put, args=(table, "c", "3")))
        threads[-1].start()
        # It may not be there before this call has failed, but begins to wait most times.
        threads[-1].join(0.05)
        raise ZeroDivisionError

    calls[:] = [put_meanwhile]
    with pytest.raises(ZeroDivisionError):
        batch.apply()
    threads[0].join()
    assert len(batch) == 2 and len(table) == 0
    calls.clear()
    assert batch.apply() is not None and len(batch) == 0
    assert sorted(table.items()) == [(b"a", b"1" * 1000), (b"c", b"3")]


def test_what_a_service_raises_belongs_to_the_scan_that_called_it(db: atomkv.Database) -> None:
    bad: List[bytes] = []

    def decompress(value: bytes) -> bytes:
        plain = zlib.decompress(value)
        if plain in bad:
            raise ZeroDivisionError("bad value")
        return plain

    table = db.table("compressed", ordered=True, compressor=atomkv.Compressor("zlib", zlib.compress, decompress))
    table.put_many((f"{number}", f"{number}" * 1000) for number in range(3))
    bad.append(b"1" * 1000)
    scan = table.scan(part="values")
    assert next(scan) == b"0" * 1000
    with pytest.raises(atomkv.InvalidArgumentError, match="partitions"):
        db.table("none", partitions=0)
    with pytest.raises(ZeroDivisionError):
        next(scan)


def test_a_scan_reads_some_large_values_ahead(db: atomkv.Database) -> None:
    read: List[int] = []

    def decompress(value: bytes) -> bytes:
        read.append(1)
        return zlib.decompress(value)

    table = db.table("compressed", compressor=atomkv.Compressor("zlib", zlib.compress, decompress))
    table.put_many((f"{number}", b"%03d" % number * 40_000) for number in range(200))
    for part in ("items", "entries"):
        read.clear()
        with table.scan(part=part) as scan:
            for _ in range(49):
                next(scan)
        assert 49 <= len(read) < 64


def test_what_a_serializer_raises_takes_no_other_entries(db: atomkv.Database) -> None:
    def loads(value: bytes) -> int:
        if value == b"5":
            raise ZeroDivisionError("bad value")
        return int(value)

    table = db.table("numbers", ordered=True, serializer=(lambda number: b"%d" % number, loads))
    table.put_many((f"{number}", number) for number in range(10))
    for found in (table.items(), table.values()):
        seen: List[Any] = []
        with pytest.raises(ZeroDivisionError):
            seen.extend(found)
        # list.extend keeps what came before.
        assert len(seen) == 5
    entries: List[Any] = []

    async def main() -> None:
        async for entry in table.ascan(part="entries"):
            entries.append(entry[1])

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert entries == [0, 1, 2, 3, 4]
    chunks = table._chunks("values", atomkv.ScanArguments())
    assert next(chunks) == [0, 1, 2, 3, 4]
    with pytest.raises(ZeroDivisionError):
        next(chunks)
    assert next(chunks) == [6, 7, 8, 9] and list(chunks) == []


def test_paths_of_all_kinds(tmp_path: pathlib.Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff"
    with atomkv.open(odd + b"1") as db:
        assert os.fsencode(db.path) == odd + b"1"
        with pytest.raises(atomkv.LockedError) as locked:
            atomkv.open(db.path)
        assert os.fsencode(locked.value.path) == odd + b"1"
        t = db["t"]
        t["a"] = "b"
        db.backup(odd + b"2")
        db.backup_stream(odd + b"3")
        t.export(odd + b"4")
        assert t.load(odd + b"4").records == 1
    assert atomkv.verify(odd + b"2").damage_count == 0
    atomkv.restore(odd + b"2", odd + b"5")
    atomkv.salvage(odd + b"2", odd + b"6")
    with atomkv.open(odd + b"5") as restored:
        assert restored["t"]["a"] == b"b"


def test_files_that_cannot_be_opened(t: Table, tmp_path: pathlib.Path) -> None:
    missing = tmp_path / "missing" / "file"
    for call in (t.export, t.load):
        with pytest.raises(FileNotFoundError) as raised:
            call(missing)
        assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(missing))


def test_pairs_are_what_dict_takes(t: Table) -> None:
    t.update([["a", "1"], ("b", "2"), iter(("c", "3"))])
    assert dict(t) == {b"a": b"1", b"b": b"2", b"c": b"3"}
    for pair, error in (("ab", TypeError), (b"ab", TypeError), (5, TypeError), ((1, 2, 3), ValueError), (["a"], ValueError)):
        with pytest.raises(error, match="pairs of a key and a value"):
            t.put_many([pair])


def test_mappings_are_what_dict_takes(t: Table) -> None:
    sqlite3 = pytest.importorskip("sqlite3")
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row = connection.execute("select 'x' as a, 'y' as b").fetchone()
    connection.close()
    t.update(row)
    assert dict(t) == {b"a": b"x", b"b": b"y"}

    class Keyed:
        def keys(self) -> List[str]:
            return ["c", "d"]

        def __getitem__(self, key: str) -> str:
            return key * 2

    assert t.put_many(Keyed()) == 2 and t.get_many(["c", "d"]) == [b"cc", b"dd"]  # type: ignore[arg-type]


def test_arguments_are_named(db: atomkv.Database, t: Table, path: pathlib.Path) -> None:
    for timeout, error in (("5", TypeError), (True, TypeError), (math.nan, ValueError), (-1, ValueError)):
        with pytest.raises(error, match="timeout"):
            atomkv.open(path, timeout=timeout)  # type: ignore[arg-type]
        with t.watch() as changes, pytest.raises(error, match="timeout"):
            changes.next(timeout)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text_keys"):
        db.table("new", text_keys=1)  # type: ignore[arg-type]
    released = memoryview(b"abc")
    released.release()
    with pytest.raises(ValueError, match="released"):
        t["a"] = released


def test_none_is_a_document(db: atomkv.Database) -> None:
    documents = db.table("documents", serializer="json")
    assert documents.setdefault("a", None) is None
    assert "a" in documents and documents.setdefault("a", 5) is None
    with pytest.warns(atomkv.PickleWarning):
        pickled = db.table("pickled", serializer="pickle", retention=5)
    for past in (db.table("past", serializer="json", retention=5), pickled):
        past["a"] = None
        past.delete("a")
        assert [(version.value, version.is_tombstone) for version in past.history("a")] == [(None, True), (None, False)]
        assert not past.get_version("a", 1).is_tombstone


def has_turns(call: Callable[[], Any]) -> bool:
    """Whether another thread has turns during a call."""
    turns: List[int] = []
    ended = threading.Event()

    def count() -> None:
        while not ended.is_set():
            turns.append(1)

    thread = threading.Thread(target=count)
    thread.start()
    # The interpreter itself gives the other a turn between two of its steps, so these are one; before, the other comes to ask.
    steps = functools.partial(sum, range(1_000_000)), turns.__len__, call, turns.__len__
    has_had_turns = False
    # On a machine with much else to do the other thread may not be woken in time.
    for _ in range(30):
        _, before, _, after = map(operator.methodcaller("__call__"), steps)
        has_had_turns = after > before
        if has_had_turns:
            break
    ended.set()
    thread.join()
    return has_had_turns


def test_other_threads_go_on_while_many_keys_are_removed(t: Table) -> None:
    assert has_turns(functools.partial(t.delete_many, [b"none"] * 100_000))
    assert has_turns(functools.partial(t.delete_many, [b"none"]))
    assert has_turns(functools.partial(t.delete, b"none"))


def test_other_threads_go_on_while_a_key_is_modified(db: atomkv.Database, t: Table) -> None:
    class Holder:
        value = b"v"

    # Called with what is there, which is what getattr gives if there is no value.
    function = functools.partial(getattr, Holder, "value")
    for table in (t, db.table("synced", sync=True)):
        assert has_turns(functools.partial(table.modify, "a", function))


def test_keys_before_one_that_is_none_are_removed(t: Table) -> None:
    t.update({"a": "1", "b": "2", "c": "3"})
    with pytest.raises(TypeError, match="key must be"):
        t.delete_many(["a", "b", 5, "c"])
    assert list(t) == [b"c"]


def test_keys_of_an_iterator_are_removed_as_they_come(t: Table) -> None:
    t.update({"a": "1", "b": "2", "c": "3"})

    def keys() -> Iterator[bytes]:
        for key in (b"a", b"b"):
            yield key
            assert key not in t

    assert t.delete_many(keys()) == 2
    assert t.delete_many(t.scan(part="keys")) == 1 and len(t) == 0


def test_popitem_raises_what_a_deserializer_raises(db: atomkv.Database) -> None:
    def loads(_: bytes) -> Any:
        raise KeyError("no such schema")

    documents = db.table("documents", serializer=(bytes, loads))
    documents["a"] = b"1"
    with pytest.raises(KeyError, match="no such schema"):
        documents.popitem()
    assert len(documents) == 1


def test_streams_are_not_copied(t: Table) -> None:
    with t.stream("a", "w") as writer:
        writer.write(b"x")
        with pytest.raises(TypeError, match="pickle"):
            copy.copy(writer)
        writer.write(b"y")
    assert t["a"] == b"xy"


def test_looking_for_a_value_minds_no_key_that_goes(db: atomkv.Database) -> None:
    documents = db.table("documents", serializer="json")
    documents.update({"a": 1, "b": 2, "c": 3})

    class Remover:
        """Removes everything when it is compared."""

        def __eq__(self, other: object) -> bool:
            documents.clear()
            return other == 5

    assert 2 in documents.values() and 4 not in documents.values()
    assert Remover() not in documents.values()
    assert len(documents) == 0
