"""The cases that every language's binding must pass, see conformance/README.md."""

import json
import pathlib
import time
from datetime import timedelta
from typing import Any, Dict

import atomkv
import pytest

HERE = pathlib.Path(__file__).resolve()
CASES = json.loads((HERE.parents[3] / "conformance" / "cases.json").read_text("utf-8"))["cases"]
ERRORS = {
    "conflict": atomkv.ConflictError,
    "invalid_argument": atomkv.InvalidArgumentError,
    "version_not_found": atomkv.VersionNotFoundError,
    "version_compacted": atomkv.VersionCompactedError,
    "compacted": atomkv.CompactedError,
    "merge": atomkv.MergeError,
    "closed": atomkv.ClosedError,
    "table_mismatch": atomkv.TableMismatchError,
    "key_empty": atomkv.KeyEmptyError,
    "key_too_long": atomkv.KeyTooLongError,
}


def data(value: Any) -> bytes:
    if isinstance(value, dict):
        return data(value["repeat"]) * int(value["times"])
    return bytes.fromhex(value[4:]) if value.startswith("hex:") else value.encode()


def shown(value: Any) -> Any:
    if value is None:
        return None
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        return "hex:" + value.hex()
    return "hex:" + value.hex() if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in text) else text


class World:
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.db = atomkv.open(path)
        self.tables: Dict[str, Any] = {}
        self.saved: Dict[str, Any] = {}

    def number(self, value: Any) -> int:
        if isinstance(value, str):
            name, part = value[1:].split(".")
            saved = self.saved[name]
            return saved if isinstance(saved, int) else int(getattr(saved, part))
        return int(value)

    def refer(self, value: Any) -> Any:
        return self.saved[value[1:]] if isinstance(value, str) and value.startswith("$") else None

    def expect(self, value: Any) -> Any:
        if isinstance(value, dict):
            if "version" in value:
                return self.number(value["version"])
            return atomkv.Written(0, self.number(value["sequence"]))
        return self.refer(value) or value

    def options(self, step: Dict[str, Any]) -> Dict[str, Any]:
        options: Dict[str, Any] = {}
        if "expect" in step:
            options["expect"] = self.expect(step["expect"])
        if "ttl_ms" in step:
            options["ttl"] = step["ttl_ms"] / 1000
        if "expires_at_ms" in step:
            options["expires_at"] = step["expires_at_ms"] / 1000
        if step.get("never"):
            options["ttl"] = float("inf")
        return options

    def keep(self, step: Dict[str, Any], written: Any) -> Any:
        if "save" in step and written is not None:
            self.saved[step["save"]] = written
        if written is None:
            return None
        if isinstance(written, int):
            return {"sequence": written}
        return {"version": written.version, "sequence": written.sequence}

    def run(self, step: Dict[str, Any]) -> Any:
        return getattr(self, "do_" + step["do"])(step)

    def do_table(self, step: Dict[str, Any]) -> None:
        retention = step.get("retention")
        if isinstance(retention, dict):
            retention = timedelta(milliseconds=retention["ms"])
        options = {
            "ordered": step.get("ordered"),
            "partitions": step.get("partitions"),
            "ttl": step["ttl_ms"] / 1000 if "ttl_ms" in step else None,
            "retention": retention,
        }
        self.tables[step["name"]] = (self.db.table(step["name"], **options), options)

    def of(self, step: Dict[str, Any]) -> Any:
        table = self.tables[step["table"]][0]
        inside = self.refer(step.get("in"))
        return table if inside is None else inside[table]

    def do_put(self, step: Dict[str, Any]) -> Any:
        key, value = data(step["key"]), data(step["value"])
        table = self.tables[step["table"]][0]
        inside = self.refer(step.get("in"))
        if inside is not None:
            return inside.put(table, key, value, **self.options(step))
        return self.keep(step, table.put(key, value, **self.options(step)))

    def do_put_if_changed(self, step: Dict[str, Any]) -> Any:
        written, is_new = self.of(step).put_if_changed(data(step["key"]), data(step["value"]))
        return self.keep(step, written) if is_new else {"version": written.version, "unchanged": True}

    def do_delete(self, step: Dict[str, Any]) -> Any:
        table = self.tables[step["table"]][0]
        inside = self.refer(step.get("in"))
        if inside is not None:
            return inside.delete(table, data(step["key"]))
        return self.keep(step, table.delete(data(step["key"]), **self.options(step)))

    def do_set_expiry(self, step: Dict[str, Any]) -> Any:
        return self.keep(step, self.of(step).set_expiry(data(step["key"]), **self.options(step)))

    def do_get(self, step: Dict[str, Any]) -> Any:
        return shown(self.of(step).get(data(step["key"])))

    def do_contains(self, step: Dict[str, Any]) -> Any:
        return data(step["key"]) in self.of(step)

    def do_get_many(self, step: Dict[str, Any]) -> Any:
        return [shown(value) for value in self.of(step).get_many([data(key) for key in step["keys"]])]

    def do_entry(self, step: Dict[str, Any]) -> Any:
        entry = self.of(step).get_entry(data(step["key"]))
        if entry is None:
            return None
        return {"value": shown(entry.value), "version": entry.version, "sequence": entry.sequence}

    def do_len(self, step: Dict[str, Any]) -> Any:
        return len(self.of(step))

    def do_merge(self, step: Dict[str, Any]) -> Any:
        table, key = self.of(step), data(step["key"])
        if "add_integer" in step:
            return shown(table.merge(key, add_integer=step["add_integer"]))
        if "add_decimal" in step:
            return shown(table._merge(key, "add_decimal", step["add_decimal"])[1])
        if "append" in step:
            return shown(table.merge(key, append=data(step["append"])))
        return shown(table.merge(key, json_patch=data(step["json_merge_patch"])))

    def do_history(self, step: Dict[str, Any]) -> Any:
        return [[v.version, shown(v.value)] for v in self.of(step).history(data(step["key"]))]

    def do_get_version(self, step: Dict[str, Any]) -> Any:
        return shown(self.of(step).get_version(data(step["key"]), self.number(step["version"])).value)

    def do_get_at(self, step: Dict[str, Any]) -> Any:
        version = self.of(step).get_at(data(step["key"]), self.number(step["sequence"]))
        return None if version is None else shown(version.value)

    def do_batch(self, step: Dict[str, Any]) -> Any:
        batch = self.db.batch()
        for part in step["steps"]:
            table, key = self.tables[part["table"]][0], data(part["key"])
            if part["do"] == "put":
                batch.put(table, key, data(part["value"]), **self.options(part))
            elif part["do"] == "delete":
                batch.delete(table, key, **self.options(part))
            else:
                batch.expect(table, key, self.expect(part["expect"]))
        return self.keep(step, batch.apply())

    def do_snapshot(self, step: Dict[str, Any]) -> None:
        self.saved[step["save"]] = self.db.snapshot()

    def do_drop(self, step: Dict[str, Any]) -> None:
        dropped = self.saved.pop(step["name"])
        getattr(dropped, "release", getattr(dropped, "close", lambda: None))()

    def do_begin(self, step: Dict[str, Any]) -> None:
        self.saved[step["save"]] = self.db.transaction()

    def do_commit(self, step: Dict[str, Any]) -> Any:
        sequence = self.saved.pop(step["in"][1:]).commit()
        return None if sequence is None else {"sequence": sequence}

    def do_abort(self, step: Dict[str, Any]) -> None:
        self.saved.pop(step["in"][1:]).abort()

    def do_scan(self, step: Dict[str, Any]) -> Any:
        arguments: Dict[str, Any] = {}
        for ours, theirs in (("start", "from"), ("stop", "to")):
            if "from" in step:
                arguments[ours] = data(step[theirs])
        for name in ("prefix", "contains", "glob"):
            if name in step:
                arguments[name] = data(step[name])
        arguments["limit"] = step.get("limit")
        arguments["reverse"] = bool(step.get("reverse"))
        keys_only = bool(step.get("keys_only"))
        if self.refer(step.get("after")) is not None:
            arguments["after"] = self.refer(step["after"])
        scan = self.of(step).scan(part="keys" if keys_only else "items", **arguments)
        found = list(scan)
        if "save_token" in step and scan.token is not None:
            self.saved[step["save_token"]] = scan.token
        if step.get("any_order"):
            found.sort()
        return [shown(row) if keys_only else [shown(part) for part in row] for row in found]

    def do_watch(self, step: Dict[str, Any]) -> None:
        tables = [self.tables[step["table"]][0]] if "table" in step else []
        self.saved[step["save"]] = self.db.watch(
            *tables,
            prefix=data(step["prefix"]) if "prefix" in step else None,
            start=self.number(step["from"]) if "from" in step else None,
            state_first=bool(step.get("state_first")),
        )

    def do_changes(self, step: Dict[str, Any]) -> Any:
        watch, changes = self.refer(step["in"]), []
        while True:
            try:
                change = watch.next(timeout=0.02)
            except atomkv.WatchTimeoutError:
                return changes
            changes.append([change.kind, shown(change.key), shown(change.value)])

    def do_write_stream(self, step: Dict[str, Any]) -> Any:
        writer: Any = self.of(step).stream(data(step["key"]), "w", **self.options(step))
        for part in step["parts"]:
            writer.write(data(part))
        if step.get("finish") is False:
            return writer.abort()
        writer.close()
        return self.keep(step, writer.written)

    def do_read_stream(self, step: Dict[str, Any]) -> Any:
        try:
            reader = self.of(step).stream(data(step["key"]))
        except KeyError:
            return None
        with reader:
            reader.seek(self.number(step["offset"]))
            return shown(reader.read(self.number(step["length"])))

    def do_wait_ms(self, step: Dict[str, Any]) -> None:
        time.sleep(step["ms"] / 1000)

    def do_compact(self, step: Dict[str, Any]) -> None:
        self.db.compact()

    def do_checkpoint(self, step: Dict[str, Any]) -> None:
        self.db.checkpoint()

    def do_close(self, step: Dict[str, Any]) -> None:
        self.db.close()

    def do_reopen(self, step: Dict[str, Any]) -> None:
        lasting = (atomkv.Written, int, bytes)
        self.saved = {name: saved for name, saved in self.saved.items() if isinstance(saved, lasting)}
        self.db.close()
        self.db = atomkv.open(self.path)
        for name, (_, options) in list(self.tables.items()):
            self.tables[name] = (self.db.table(name, **options), options)

    def agrees(self, expected: Any, found: Any) -> bool:
        if isinstance(expected, dict) and isinstance(found, dict):
            return all(name in found and self.agrees(value, found[name]) for name, value in expected.items())
        if isinstance(expected, str) and expected.startswith("$") and isinstance(found, int):
            return found == self.number(expected)
        return bool(expected == found)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case: Dict[str, Any], path: pathlib.Path) -> None:
    world = World(path)
    for number, step in enumerate(case["steps"]):
        where = f"step {number}: {step}"
        if "error" in step:
            with pytest.raises(ERRORS[step["error"]]) as raised:
                world.run(step)
            if "found" in step:
                found = raised.value.found  # type: ignore[attr-defined]
                assert found == world.refer(step["found"]), where
            continue
        found = world.run(step)
        if "gives" in step:
            assert world.agrees(step["gives"], found), f"{where}: gives {found!r}"
    world.db.close()


def test_there_are_cases() -> None:
    assert len(CASES) >= 20
