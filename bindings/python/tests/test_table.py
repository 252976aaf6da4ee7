"""What a table does, and what it refuses."""

import array
import collections.abc
import io
import math
import pickle
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import atomkv
import pytest

Table = Any


def test_it_is_a_mutable_mapping(t: Table) -> None:
    assert isinstance(t, collections.abc.MutableMapping)
    t["a"] = "1"
    t[b"b"] = b"2"
    t[bytearray(b"c")] = memoryview(b"3")
    t[array.array("H", [1, 2])] = array.array("H", [3])
    assert dict(t) == {b"a": b"1", b"b": b"2", b"c": b"3", b"\1\0\2\0": b"\3\0"}
    assert sorted(t) == sorted(t.keys()) == [b"\1\0\2\0", b"a", b"b", b"c"]
    assert sorted(t.values()) == [b"\3\0", b"1", b"2", b"3"]
    assert "a" in t and b"x" not in t and b"b" in t.keys() and (b"a", b"1") in t.items()
    assert len(t) == 4 and t and t.get("x") is None and t.get("x", 7) == 7
    assert t.pop("a") == b"1" and t.pop("a", None) is None
    assert t.setdefault("d", "4") == b"4" and t.setdefault("d", "5") == b"4"
    t.update({"e": "5"}, f="6")
    assert t["e"] == b"5" and t["f"] == b"6"
    del t["e"]
    for missing in (lambda: t["e"], lambda: t.pop("e"), lambda: t.__delitem__("e")):
        with pytest.raises(KeyError) as raised:
            missing()
        assert raised.value.args == ("e",)
    key, value = t.popitem()
    assert key not in t
    t.clear()
    assert len(t) == 0 and not t and list(t) == []
    assert t == t and t != {} and hash(t) == hash(t)


def test_wrong_types_are_named(t: Table, db: atomkv.Database) -> None:
    for call, text in [
        (lambda: t.get(5), "key must be bytes, str or a bytes-like object, not int"),
        (lambda: t.put(None, b""), "key must be .* not NoneType"),
        (lambda: t.put("k", 5), "value must be .* not int"),
        (lambda: t.__setitem__("k", ["x"]), "value must be .* not list"),
        (lambda: t.get_many([b"a", 3]), "key must be .* not int"),
        (lambda: t.put_many([(b"a", 3)]), "value must be .* not int"),
        (lambda: t.scan(3), "start must be .* not int"),
        (lambda: t.put("k", "v", ttl="x"), "ttl must be a number of seconds or a timedelta, not str"),
        (lambda: t.put("k", "v", ttl=True), "ttl must be"),
        (lambda: t.put("k", "v", expires_at="x"), "expires_at must be a datetime"),
        (lambda: t.put("k", "v", ttl=1, expires_at=2e9), "not both"),
        (lambda: t.put("k", "v", expect=1.5), "expect must be"),
        (lambda: t.put("k", "v", sync="yes"), "sync must be True or False, not str"),
        (lambda: t.delete("k", sync=1), "sync must be True or False, not int"),
        (lambda: t.put_many([("k", "v")], sync=0), "sync must be True or False, not int"),
        (lambda: t.load(io.BytesIO(), sync="yes"), "sync: .*bool"),
        (lambda: t.load(io.BytesIO(), record_bytes_max="5"), "record_bytes_max: "),
        (lambda: t.load(io.BytesIO(), bookmark="k"), "bookmark: "),
        (lambda: t.export(io.BytesIO(), header="no"), "header: .*bool"),
        (lambda: t.export(io.BytesIO(), value_encoding=5), "value_encoding: .*str"),
        (lambda: t.put_if("k", "v", None), "expect"),
        (lambda: t.scan("a", prefix="b"), "not both"),
        (lambda: t.scan(limit="5"), "limit must be an int, not str"),
        (lambda: t.scan(reverse=1), "reverse must be True or False"),
        (lambda: t.merge("k"), "exactly one"),
        (lambda: t.merge("k", add=1.5), "add must be an int, not float"),
        (lambda: t.merge("k", add_integer="1"), "add_integer must be an int, not str"),
        (lambda: db.table(5), "name must be str, not int"),
        (lambda: db.table("x", ordered="yes"), "ordered must be True or False"),
        (lambda: db.table("x", serializer=5), "serializer must be"),
        (lambda: db.table("x", hasher=5), "hasher must be"),
        (lambda: db.table("x", partitions=1.5), "partitions must be"),
        (lambda: db.table("x", retention=1.5), "retention must be"),
        (lambda: db.batch().put("x", "k", "v"), "Table"),
        (lambda: db.transact(5), "transact"),
        (lambda: atomkv.open(5), "path|PathLike"),
        (lambda: atomkv.open("x", cache=5), "no setting named"),
        (lambda: atomkv.memory(sync_bytes="x"), "sync_bytes must be an int, not str"),
        (lambda: atomkv.memory(dead_ratio="x"), "dead_ratio must be a number, not str"),
        (lambda: db.compact(progress=5), "progress must be callable"),
    ]:
        with pytest.raises(TypeError, match=text):
            call()
    assert len(t) == 0


def test_values_out_of_range_are_refused(t: Table, db: atomkv.Database) -> None:
    for call, error in [
        (lambda: t.put("", "v"), atomkv.KeyEmptyError),
        (lambda: t.get("k" * 65_536), atomkv.KeyTooLongError),
        (lambda: t.put("k", "v", ttl=-1), ValueError),
        (lambda: t.put("k", "v", ttl=0), ValueError),
        (lambda: t.put("k", "v", ttl=math.nan), ValueError),
        (lambda: t.put("k", "v", expires_at=1.0), atomkv.InvalidArgumentError),
        (lambda: t.put("k", "v", expires_at=datetime.now()), ValueError),
        (lambda: t.put("k", "v", expires_at=10**30), ValueError),
        (lambda: t.put("k", "v", expires_at=253_402_300_801), ValueError),
        (lambda: t.put("k", "v", expect=10**30), OverflowError),
        (lambda: t.put("k", "v", expect=-1), OverflowError),
        (lambda: t.put("k", "v", expect="maybe"), ValueError),
        (lambda: t.get_version("k", 10**30), OverflowError),
        (lambda: t.get_at("k", -1), OverflowError),
        (lambda: t.scan(limit=-1), ValueError),
        (lambda: t.scan(part="rows"), ValueError),
        (lambda: t.scan(reverse=True), atomkv.InvalidArgumentError),
        (lambda: t.scan(after=b"no token"), atomkv.InvalidArgumentError),
        (lambda: t["a":"b":2], ValueError),
        (lambda: t.merge("k", add_integer=10**30), OverflowError),
        (lambda: t.merge("k", add=10**40), OverflowError),
        (lambda: t.resize(0), atomkv.InvalidArgumentError),
        (lambda: t.resize(10**30), OverflowError),
        (lambda: t.stream("k", "x"), ValueError),
        (lambda: t.put("\ud800", "v"), UnicodeEncodeError),
        (lambda: db.table(""), atomkv.InvalidArgumentError),
        (lambda: db.table("x", partitions=10**6), atomkv.InvalidArgumentError),
        (lambda: db.table("x", retention=0), atomkv.InvalidArgumentError),
        (lambda: db.table("x", serializer="xml"), ValueError),
        (lambda: db.table("x", compressor="xz"), atomkv.InvalidArgumentError),
        (lambda: db.watch(start=10**30), OverflowError),
        (lambda: atomkv.memory(sync_bytes=0), atomkv.InvalidArgumentError),
        (lambda: atomkv.key_space_v1_page("a b", 4), atomkv.InvalidKeyError),
    ]:
        with pytest.raises(error):
            call()
    assert len(t) == 0


def test_exceptions_are_the_built_in_ones_too(t: Table) -> None:
    for error, builtin in [
        (atomkv.ClosedError, ValueError),
        (atomkv.LockedError, OSError),
        (atomkv.LockTimeoutError, TimeoutError),
        (atomkv.WatchTimeoutError, TimeoutError),
        (atomkv.CorruptError, OSError),
        (atomkv.NoSpaceError, OSError),
        (atomkv.TableNotFoundError, KeyError),
        (atomkv.VersionNotFoundError, KeyError),
        (atomkv.KeyEmptyError, ValueError),
        (atomkv.AlreadyExistsError, FileExistsError),
        (atomkv.ReadOnlyError, PermissionError),
    ]:
        assert issubclass(error, builtin) and issubclass(error, atomkv.AtomKVError)
    with pytest.raises(atomkv.VersionNotFoundError) as raised:
        t.get_version("k", 3)
    assert str(raised.value) == "there is no version 3: the key is not there"


def test_conditions_and_tokens(t: Table) -> None:
    first = t.put("k", "1", expect="absent")
    version, sequence = first
    assert (version, sequence) == (first.version, first.sequence) and version == 1
    with pytest.raises(atomkv.ConflictError) as raised:
        t.put("k", "2", expect="absent")
    assert (raised.value.table, raised.value.key, raised.value.found) == ("t", b"k", first)
    entry = t.get_entry("k")
    assert entry is not None and entry.written == first and entry.value == b"1"
    assert abs(entry.time.timestamp() - time.time()) < 60 and entry.expires_at is None
    second = t.put("k", "2", expect=entry)
    assert second > first and t.put("k", "3", expect=2).version == 3
    assert pickle.loads(pickle.dumps(second)) == second and repr(second).startswith("Written(version=2, ")
    with pytest.raises(atomkv.ConflictError):
        t.delete_if("k", second)
    assert t.delete("k", expect="present").version == 4 and t.delete("k") is None
    assert t.put_if_changed("k", "x")[1] and not t.put_if_changed("k", "x")[1]


def test_expiry(db: atomkv.Database, t: Table) -> None:
    t.put("a", "1", ttl=timedelta(milliseconds=30))
    t.put("b", "1", ttl=3600)
    moment = datetime.now(timezone.utc) + timedelta(hours=1)
    t.put("c", "1", expires_at=moment)
    entry = t.get_entry("c")
    assert abs((entry.expires_at - moment).total_seconds()) < 0.01
    last = datetime.max.replace(tzinfo=timezone.utc)
    for settings in ({"expires_at": last}, {"ttl": 1e13}, {"ttl": timedelta.max}):
        t.put("d", "1", **settings)
        assert t.get_entry("d").expires_at == last and t["d"] == b"1"
    with t.watch(state_first=True) as watch:
        assert {change.expires_at for change in iter(watch.poll, None) if change.key == b"d"} == {last}
    t.put("d", "1", expires_at=253_402_300_799)
    assert t.get_entry("d").expires_at == last.replace(microsecond=0)
    assert t.set_expiry("b", ttl=math.inf) is not None and t.get_entry("b").expires_at is None
    time.sleep(0.05)
    assert t.get("a") is None and "a" not in t and t["b"] == b"1"
    cache = db.table("cache", ttl=0.03)
    cache["x"] = "1"
    cache.put("y", "1", ttl=math.inf)
    cache.put_many({"z": "1"}, ttl=60)
    time.sleep(0.05)
    assert sorted(cache) == [b"y", b"z"]


def test_scans(ordered: Table, t: Table) -> None:
    pairs = [(b"%04d" % number, b"%d" % number) for number in range(3000)]
    assert ordered.put_many(pairs) == 3000 and t.put_many(iter(pairs)) == 3000
    assert list(ordered.items()) == list(ordered.scan()) == pairs and sorted(t.items()) == pairs
    assert list(ordered["0010":"0012"]) == pairs[10:12] and list(ordered["2998":]) == pairs[2998:]
    assert list(ordered.prefix("001", part="keys")) == [key for key, _ in pairs[10:20]]
    assert list(ordered.prefix("001", reverse=True, limit=1)) == pairs[19:20]
    assert list(ordered.scan(glob="*99", part="values")) == [b"%d" % n for n in range(99, 3000, 100)]
    found = list(ordered.scan(limit=2, part="entries"))
    assert [entry[:3] for entry in found] == [(b"0000", b"0", 1), (b"0001", b"1", 1)]
    for table in (ordered, t):
        seen, token = [], None
        while True:
            page = table.scan(limit=700, after=token)
            rows = [next(page) for _ in range(min(700, 3000 - len(seen)))]
            seen += rows
            token = page.token
            if len(seen) == 3000:
                break
        assert sorted(seen) == pairs
        seen, token = [], None
        while len(seen) < 3000:
            with table.scan(paged=True, after=token) as page:
                seen += [next(page) for _ in range(500)]
            token = page.token
            page.close()
            assert page.token == token
        assert sorted(seen) == pairs
    with ordered.scan() as scan:
        assert next(scan) == pairs[0]
    assert list(scan) == []
    with pytest.raises(ValueError):
        ordered.scan().token
    assert t.get_many([b"0001", b"nix", b"2999"], 0) == [b"1", 0, b"2999"]
    assert t.get_many(key for key, _ in pairs) == [value for _, value in pairs]
    assert t.delete_many([b"0001", b"nix"]) == 1


def test_a_scan_shows_one_moment(ordered: Table) -> None:
    ordered.put_many((b"%04d" % number, b"old") for number in range(2000))
    scan, items = ordered.scan(), iter(ordered.items())
    next(scan), next(items)
    ordered.put_many((b"%04d" % number, b"new") for number in range(4000))
    assert {value for _, value in scan} == {b"old"}
    assert [value for _, value in items] == [b"old"] * 1999
    keys = iter(ordered)
    next(keys)
    ordered.clear()
    assert len(list(keys)) == 3999 and len(ordered) == 0


def test_the_past(db: atomkv.Database) -> None:
    t = db.table("past", retention=3)
    first = t.put("k", "1")
    for number in range(2, 6):
        t.put("k", str(number))
    t.delete("k")
    history = t.history("k")
    assert [(v.version, v.value, v.is_tombstone) for v in history] == [
        (6, None, True), (5, b"5", False), (4, b"4", False)
    ]
    assert t.get_version("k", 5).value == b"5"
    with pytest.raises(atomkv.VersionCompactedError):
        t.get_version("k", 2)
    with pytest.raises(atomkv.VersionCompactedError):
        t.get_at("k", first.sequence)
    assert t.get_at("k", history[1].sequence).value == b"5"


def test_changes_of_what_is_there(t: Table) -> None:
    assert t.merge("n", add=5) == b"5" and t.merge("n", add=-7) == b"-2"
    assert t.merge("i", add_integer=3) == (3).to_bytes(8, "little")
    assert t.merge("s", append="ab") == b"ab" and t.merge("s", append=b"c") == b"abc"
    assert t.merge("j", json_patch={"a": 1, "b": 2}) and t.merge("j", json_patch='{"b":null}') == b'{"a":1}'
    with pytest.raises(atomkv.MergeError):
        t.merge("s", add=1)
    assert t.modify("s", lambda value: value + b"!").version == 3 and t["s"] == b"abc!"
    assert t.modify("s", lambda value: None) is not None and "s" not in t
    with pytest.raises(ZeroDivisionError):
        t.modify("n", lambda value: 1 / 0)
    with pytest.raises(TypeError, match="value must be"):
        t.modify("n", lambda value: 5)
    assert t["n"] == b"-2"


def test_views_outlive_everything(path: Any) -> None:
    db = atomkv.open(path)
    t = db["t"]
    t["k"] = b"x" * 1000
    large = bytes(range(256)) * 8192
    t["large"] = large
    view, large_view = t.view("k"), t.view("large")
    assert view.readonly and len(view) == 1000 and t.view("nix") is None
    with pytest.raises(TypeError):
        view[0] = 1
    t["k"] = b"y"
    del t["large"]
    t.put_many((str(number), "z" * 1000) for number in range(5000))
    db.compact()
    db.close()
    assert view == b"x" * 1000 and large_view == large and bytes(view[:2]) == b"xx"


def test_streams(t: Table, db: atomkv.Database) -> None:
    part = bytes(range(256)) * 4096
    with t.stream("film", "w") as film:
        for _ in range(5):
            assert film.write(part) == len(part)
        assert "film" not in t
    assert film.written.version == 1
    with t.stream("film") as film:
        assert film.read() == part * 5
        film.seek(-4, 2)
        assert film.read() == part[-4:] and film.seek(256) == 256 and film.read(3) == b"\0\1\2"
        with pytest.raises(ValueError):
            film.seek(-1)
    with pytest.raises(RuntimeError, match="no"):
        with t.stream("film", "w") as film:
            film.write(b"x")
            raise RuntimeError("no")
    assert len(t["film"]) == 5 * len(part)
    with pytest.raises(TypeError):
        with t.stream("other", "w") as film:
            film.write("text")
    assert "other" not in t
    writer = t.stream("other", "w")
    writer.write(b"x")
    del writer
    assert "other" not in t
    with pytest.raises(KeyError):
        t.stream("nix")
    with pytest.raises(ValueError):
        film.write(b"x")
    for settings, error in (
        ({"ttl": "x"}, TypeError), ({"ttl": -1}, ValueError), ({"expect": 1.5}, TypeError), ({"sync": 1}, TypeError),
        ({"ttl": 1, "expires_at": 2e9}, TypeError),
    ):
        with pytest.raises(error):
            t.stream("other", "w", **settings)
    with t.stream("other", "w", ttl=60, expect="absent", sync=True) as film:
        film.write(b"x")
    entry = t.get_entry("other")
    assert abs(entry.expires_at_ms - entry.time_ms - 60_000) < 1000
    t["small"] = "abc"
    with t.stream("small") as small, db.snapshot() as snapshot:
        t["small"] = "d"
        assert small.read() == b"abc" and snapshot[t].stream("small").read() == b"abc"


def test_nothing_open_is_pickled(t: Table, db: atomkv.Database) -> None:
    for thing in (db, t, db.batch(), db.snapshot(), db.transaction(), db.watch(), t.scan()):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(thing)


def test_large_values(t: Table) -> None:
    value = bytes(range(256)) * 20_000
    t["k"] = value
    assert t["k"] == value and t.get_many(["k", "x"]) == [value, None]
    assert list(t.items()) == [(b"k", value)]
