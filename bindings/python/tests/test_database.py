"""Opening, closing, batches, transactions, snapshots, services, care."""

import gc
import io
import os
import pathlib
import subprocess
import sys
import zlib
from typing import Any, List

import atomkv
import pytest

Table = Any


def test_a_database_has_one_owner(path: pathlib.Path) -> None:
    with atomkv.open(path) as db:
        assert repr(db) == f"<atomkv.Database {str(path)!r}>" and "2 keys" not in repr(db["t"])
        with pytest.raises(atomkv.LockedError) as raised:
            atomkv.open(path)
        assert raised.value.pid == os.getpid() and raised.value.path == str(path)
        with pytest.raises(TimeoutError):
            atomkv.open(path, timeout=0.05)
        db["t"]["k"] = "1"
        with atomkv.open(path, read_only=True) as reader:
            assert reader["t"]["k"] == b"1"
            with pytest.raises(atomkv.ReadOnlyError):
                reader["t"]["k"] = "2"
            assert reader.refresh() is None
            db["t"]["k"] = "2"
            newer = reader.refresh()
            assert newer is not None and newer["t"]["k"] == b"2" and reader["t"]["k"] == b"1"
            newer.close()
    with pytest.raises(atomkv.NotADatabaseError):
        atomkv.open(path.parent / "no", create=False)


def test_after_closing_everything_says_so(path: pathlib.Path) -> None:
    db = atomkv.open(path)
    t = db["t"]
    t.put_many((str(number), "x") for number in range(5000))
    scan, items, watch = t.scan(), iter(t.items()), db.watch()
    snapshot, transaction, batch = db.snapshot(), db.transaction(), db.batch()
    next(scan), next(items)
    batch.put(t, "a", "1")
    db.close()
    db.close()
    assert db.closed and "closed" in repr(db) and db.table_names() is not None
    for call in (
        lambda: t.get("1"), lambda: t["1"], lambda: t.put("1", "x"), lambda: t.scan(), lambda: list(scan),
        lambda: list(items), lambda: watch.next(1), lambda: snapshot[t].get("1"), lambda: transaction.get(t, "1"),
        lambda: batch.apply(), lambda: db.snapshot(), lambda: db["t"], lambda: db.sync(), lambda: t.get_many(["1"]),
        lambda: t.view("1"), lambda: db.backup(path.parent / "b"), lambda: t.stream("x", "w"), lambda: len(snapshot[t]),
    ):
        with pytest.raises(atomkv.ClosedError):
            call()


def test_batches(db: atomkv.Database, t: Table) -> None:
    other = db["other"]
    with db.batch(sync=True) as batch:
        batch.put(t, "a", "1")
        batch.put(other, "b", "2", ttl=60)
        batch.delete(t, "nix")
        assert len(batch) == 3 and "3" in repr(batch)
    assert batch.sequence and t["a"] == b"1" and other["b"] == b"2"
    with pytest.raises(RuntimeError, match="no"):
        with db.batch() as batch:
            batch.put(t, "a", "2")
            raise RuntimeError("no")
    with pytest.raises(atomkv.ConflictError):
        with db.batch() as batch:
            batch.put(t, "a", "2")
            batch.expect(t, "a", "absent")
    assert t["a"] == b"1" and len(batch) == 2
    with db.batch() as batch:
        pass
    assert batch.sequence is None


def test_transactions(db: atomkv.Database, t: Table) -> None:
    t.update({"a": "1", "b": "2"})
    with db.transaction() as transaction:
        view = transaction[t]
        view["c"] = "3"
        del view["a"]
        assert view["c"] == b"3" and sorted(view) == [b"b", b"c"] and len(view) == 2 and "a" not in view
        assert transaction.scan(t, part="values", glob="c") == [b"3"] and view.pop("b") == b"2"
        with pytest.raises(KeyError):
            view["nix"]
    assert dict(t) == {b"c": b"3"} and transaction.committed and not transaction.is_open
    with pytest.raises(atomkv.ClosedError):
        transaction.get(t, "a")
    with pytest.raises(atomkv.ConflictError):
        with db.transaction() as transaction:
            transaction.get(t, "c")
            t["c"] = "4"
            transaction.put(t, "c", "5")
    with pytest.raises(ZeroDivisionError):
        with db.transaction() as transaction:
            transaction.put(t, "c", "5")
            1 / 0
    assert t["c"] == b"4"


def test_a_transaction_function_is_tried_again(db: atomkv.Database, t: Table) -> None:
    calls: List[int] = []

    @db.transact
    def add(transaction: atomkv.Transaction, amount: int) -> int:
        """Adds."""
        calls.append(amount)
        number = int(transaction.get(t, "n", b"0")) + amount
        if len(calls) < 3:
            t["n"] = str(len(calls) * 100)
        transaction.put(t, "n", str(number))
        return number

    assert add(7) == 207 and calls == [7, 7, 7] and t["n"] == b"207"
    assert add.__name__ == "add" and add.__doc__ == "Adds."

    @db.transact(attempts=2, sync=True)
    def never(transaction: atomkv.Transaction) -> None:
        transaction.get(t, "n")
        t["n"] = "0"
        transaction.put(t, "n", "1")

    with pytest.raises(atomkv.ConflictError):
        never()

    @db.transact
    def fails(transaction: atomkv.Transaction) -> None:
        transaction.put(t, "n", "9")
        raise LookupError("own")

    with pytest.raises(LookupError, match="own"):
        fails()
    tries = 0
    for attempt in db.attempts():
        with attempt as transaction:
            tries += 1
            transaction.get(t, "n")
            if tries == 1:
                t["n"] = "5"
            transaction.put(t, "n", "6")
    assert tries == 2 and t["n"] == b"6"
    with pytest.raises(atomkv.ConflictError):
        for attempt in db.attempts(2):
            with attempt as transaction:
                transaction.get(t, "n")
                t["n"] = "7"
                transaction.put(t, "n", "8")


def test_snapshots(db: atomkv.Database, t: Table) -> None:
    t.update({"a": "1", "b": "2"})
    with db.snapshot() as snapshot:
        t.update({"a": "9", "c": "3"})
        view = snapshot[t]
        assert dict(view) == {b"a": b"1", b"b": b"2"} and len(view) == 2 and "c" not in view
        assert view.get_many(["a", "c"]) == [b"1", None] and view.get_entry("a").version == 1
    with pytest.raises(atomkv.ClosedError):
        view["a"]


def test_documents(path: pathlib.Path) -> None:
    document = {"name": "Adä", "list": [1, 2.5, None, True]}
    upper = atomkv.Serializer("upper", lambda text: text.upper(), bytes.decode, version=2)
    with atomkv.open(path) as db:
        for name in ("json", "orjson", "msgpack", "pickle"):
            if name != "json" and name != "pickle":
                pytest.importorskip(name)
            with pytest.warns(atomkv.PickleWarning) if name == "pickle" else io.BytesIO():
                t = db.table(name, serializer=name, text_keys=True)
            t["k"] = document
            assert t["k"] == document and list(t.items()) == [("k", document)] and db[name] is t
            assert t.get_many(["k"]) == [document] and t.get_entry("k").value == document
            assert list(t.scan(part="values")) == [document] and list(t) == ["k"]
            with db.snapshot() as snapshot:
                assert snapshot[t]["k"] == document
            with t.watch(state_first=True) as watch:
                assert watch.next(1)[1:4] == ("k", "state", document)
        by_number = {1: "a", 2.5: {None: "b"}}
        db["msgpack"]["numbers"] = by_number
        assert db["msgpack"]["numbers"] == by_number
        json_table = db["json"]
        with pytest.raises(TypeError):
            json_table["x"] = object()
        with pytest.raises(ValueError):
            json_table["x"] = float("nan")
        json_table["null"] = None
        assert json_table.get("null", 5) is None and "null" in json_table
        assert db.table("json")["k"] == '{"name":"Adä","list":[1,2.5,null,true]}'.encode()
        db.table("upper", serializer=upper)["k"] = "abc"
        assert db["upper"]["k"] == "ABC"
        pair = db.table("pair", serializer=(lambda number: b"%d" % number, int))
        pair["n"] = 41
        assert pair["n"] == 41
    with atomkv.open(path) as db:
        with pytest.raises(atomkv.ServicesMismatchError, match="upper/2"):
            db["upper"]
        assert db.table("upper", serializer=upper)["k"] == "ABC"
        with pytest.raises(atomkv.ServicesMismatchError):
            db.table("json", serializer=upper)


def test_services_in_python(path: pathlib.Path) -> None:
    services = {
        "hasher": atomkv.Hasher("crc", lambda seed, key: zlib.crc32(key) * 0x9E3779B97F4A7C15 - 1),
        "sharder": atomkv.Sharder("first", lambda key, hash: key[0]),
        "validator": atomkv.Validator("short", lambda key: "too long" if len(key) > 8 else None),
        "compressor": atomkv.Compressor("zlib", zlib.compress, zlib.decompress),
    }
    with atomkv.open(path) as db:
        t = db.table("t", **services)
        t.put_many((str(number), "x" * number) for number in range(1, 500))
        assert t["7"] == b"x" * 7 and t.get_many(["400"]) == [b"x" * 400] and t.slot("A") == 65
        with pytest.raises(atomkv.InvalidKeyError, match="too long"):
            t["123456789"] = "x"
        db.compact()
    with atomkv.open(path) as db:
        assert len(dict(db.table("t", **services))) == 499
        with pytest.raises(atomkv.ServicesMismatchError):
            db.table("t")


def test_what_a_service_raises_comes_out(db: atomkv.Database) -> None:
    def bad(*_: Any) -> Any:
        raise LookupError("from the service")

    def of(name: str, **services: Any) -> Any:
        return db.table(name, **services)

    for number, services in enumerate((
        {"hasher": atomkv.Hasher("h", bad)},
        {"hasher": atomkv.Hasher("h", bad), "sharder": "redis-slots"},
        {"hasher": atomkv.Hasher("h", lambda seed, key: "no int")},
        {"sharder": atomkv.Sharder("s", bad)},
        {"sharder": atomkv.Sharder("s", lambda key, hash: 20_000)},
        {"validator": atomkv.Validator("v", bad)},
        {"validator": atomkv.Validator("v", lambda key: 5)},
        {"compressor": atomkv.Compressor("c", bad, bad)},
        {"serializer": atomkv.Serializer("z", bad, bad)},
    )):
        t = of(f"t{number}", **services)
        for write in (lambda: t.put("k", "v" * 100), lambda: t.put_many({"k": "v" * 100})):
            with pytest.raises((LookupError, TypeError, ValueError)) as raised:
                write()
            assert not isinstance(raised.value, atomkv.AtomKVError), raised.value
        assert len(t) == 0
    loads = of("loads", serializer=("".join and (lambda x: x), bad))
    loads["k"] = "v"
    with pytest.raises(LookupError):
        loads["k"]
    with pytest.raises(LookupError):
        dict(loads)
    unpack = of("unpack", compressor=atomkv.Compressor("c", lambda value: value[:5], bad))
    unpack["k"] = "v" * 100
    with pytest.raises(LookupError, match="from the service"):
        unpack["k"]


def test_watches(db: atomkv.Database, t: Table) -> None:
    with db.watch() as watch, t.watch(prefix="a") as ours:
        t["a1"] = "1"
        db["u"]["b"] = "2"
        del t["a1"]
        kinds = [(change.table, change.kind, change.key, change.value) for change in
                 (watch.next(5), watch.next(5), watch.next(5))]
        assert kinds == [("t", "put", b"a1", b"1"), ("u", "put", b"b", b"2"), ("t", "delete", b"a1", None)]
        assert watch.poll() is None
        with pytest.raises(TimeoutError):
            watch.next(0.01)
        with pytest.raises(ValueError):
            watch.next(-1)
        assert [ours.next(5).kind, ours.next(5).kind] == ["put", "delete"]
        start = watch.resume_from
    with pytest.raises(atomkv.ClosedError):
        watch.next(1)
    t["a2"] = "3"
    with db.watch(start=start) as watch:
        change = next(iter(watch))
        assert change.key == b"a2" and change.last_of_commit and change.expires_at is None and change.time


def test_polling_passes_over_what_is_not_watched(db: atomkv.Database, t: Table) -> None:
    with t.watch() as polled, t.watch() as asked:
        db["other"].put_many((str(number), os.urandom(10_000)) for number in range(300))
        t["a"] = "1"
        change = polled.poll()
        assert change is not None and change.key == b"a" and polled.poll() is None
        assert asked.next(0).key == b"a"


def test_care(db: atomkv.Database, t: Table, path: pathlib.Path) -> None:
    t.put_many((b"%05d" % number, b"v" * 100) for number in range(20_000))
    told: List[atomkv.Progress] = []
    report = db.backup(path.parent / "backup", progress=told.append, verify=True)
    assert report.files > 0 and told and told[-1].bytes > 0
    assert db.backup(path.parent / "backup").files_kept > 0
    stream = io.BytesIO()
    assert db.backup_stream(stream).bytes > 0
    stream.seek(0)
    atomkv.restore(path.parent / "backup", path.parent / "one")
    atomkv.restore(stream, path.parent / "two")
    for copy in ("one", "two"):
        with atomkv.open(path.parent / copy) as restored:
            assert dict(restored["t"]) == dict(t)
    with pytest.raises(FileExistsError):
        atomkv.restore(path.parent / "backup", path.parent / "one")
    assert db.verify().is_clean and db.verify(threads=1).records >= 20_000
    assert atomkv.verify(path.parent / "one").is_clean
    assert atomkv.salvage(path.parent / "one", path.parent / "saved").documents == 20_000
    assert t.resize(64).partitions == 64 and t.partitions == 64 and 0 <= t.partition("1") < 64
    with db.pause_compaction():
        db.checkpoint()
    db.sync()
    assert db.stats()["keys"] == 20_000 and t.stats()["partitions"] == 64
    db["t"].put_many((b"%05d" % number, b"w") for number in range(10_000))
    for cancelled in [
        lambda: db.verify(progress=lambda progress: False),
        lambda: db.compact(progress=lambda progress: False),
        lambda: db.backup(path.parent / "cancelled", progress=lambda progress: False),
    ]:
        with pytest.raises(atomkv.OperationCancelledError):
            cancelled()
    with pytest.raises(ZeroDivisionError):
        db.backup(path.parent / "failed", progress=lambda progress: 1 / 0 == 0)
    t.put_many((b"%05d" % number, b"x" * 100) for number in range(10_000))
    job = atomkv.tracked(db.compact)
    list(job)
    assert job.result.records_moved > 0


def test_export_and_import(db: atomkv.Database, t: Table, path: pathlib.Path) -> None:
    t.update({"a": '{"x":1}', "b": b"\xff"})
    text = io.BytesIO()
    assert t.export(text).records == 2
    text.seek(0)
    assert db["copy"].load(text).records == 2 and dict(db["copy"]) == dict(t)
    place = path.parent / "t.csv"
    t.export(place, "csv", key_encoding="hex", value_encoding="hex")
    assert db["copy2"].load(place, "csv", key_encoding="hex", value_encoding="hex").records == 2
    assert db["copy2"]["b"] == b"\xff"
    db.dump(path.parent / "dump", tables=["t"])
    with atomkv.memory() as other:
        assert other.load_dump(path.parent / "dump").records == 2 and other["t"]["b"] == b"\xff"
    with pytest.raises(atomkv.InputError, match="record 1"):
        db["copy"].load(io.BytesIO(b'{"key":"a"}\n'))
    with pytest.raises(FileNotFoundError):
        db["copy"].load(path.parent / "nix")
    with pytest.raises(TypeError, match="binary"):
        db["copy"].load(io.StringIO("x"))
    with pytest.raises(TypeError, match="no setting"):
        t.export(text, colour=1)

    class Broken(io.RawIOBase):
        def write(self, part: Any) -> int:
            raise LookupError("full")

    with pytest.raises(LookupError, match="full"):
        t.export(Broken())


def test_unmapped_and_releasing(path: pathlib.Path) -> None:
    for number, options in enumerate(({"mapped": False}, {"release_gil": True})):
        with atomkv.open(path.parent / str(number), **options) as db:  # type: ignore[arg-type]
            db["t"]["k"] = "v"
            assert db["t"]["k"] == b"v" and "x" not in db["t"]
        with atomkv.open(path.parent / str(number)) as db:
            assert db["t"]["k"] == b"v"


def test_the_module_hands_over_to_the_command_line(tmp_path: pathlib.Path) -> None:
    env = {**os.environ, "PATH": str(tmp_path)}
    run = [sys.executable, "-m", "atomkv", "--version"]
    missing = subprocess.run(run, env=env, capture_output=True, text=True)
    assert missing.returncode == 127 and "not installed" in missing.stderr
    program = tmp_path / "atomkv"
    program.write_text('#!/bin/sh\necho "asked for $1"\n')
    program.chmod(0o755)
    assert subprocess.run(run, env=env, capture_output=True, text=True).stdout == "asked for --version\n"


def test_what_comes_of_a_database_keeps_it_open(path: pathlib.Path) -> None:
    for number, get in enumerate((
        lambda db: db["t"].scan(), lambda db: iter(db["t"].items()), lambda db: db["t"].watch(state_first=True),
    )):
        def opened() -> Any:
            db = atomkv.open(path.parent / str(number))
            db["t"].put_many((str(key), "v") for key in range(5000))
            return get(db)

        found = opened()
        assert sum(1 for _, _ in zip(range(5000), found)) == 5000
    with pytest.raises(atomkv.LockedError):
        atomkv.open(path.parent / "2")
    del found
    gc.collect()
    atomkv.open(path.parent / "2").close()
    with atomkv.open(path.parent / "3")["t"].stream("k", "w") as stream:
        gc.collect()
        stream.write(b"v")
    del stream
    gc.collect()
    with atomkv.open(path.parent / "3") as db:
        assert db["t"]["k"] == b"v"
