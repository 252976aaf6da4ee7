"""asyncio: nothing blocks the loop."""

import asyncio
import pathlib
import threading
import time
from datetime import timedelta
from typing import Any, List

import atomkv
import pytest


def test_calls(path: pathlib.Path) -> None:
    async def main() -> None:
        async with atomkv.open(path) as db:
            t = db.table("t", ordered=True)
            written = await t.aput("a", "1", sync=True)
            assert written.version == 1 and await t.aget("a") == b"1" and await t.aget("x", 5) == 5
            many = await asyncio.gather(*(t.aput(str(number), str(number)) for number in range(1000)))
            assert len({w.sequence for w in many}) == 1000
            assert await t.aget_many(["1", "x"]) == [b"1", None]
            assert await t.aput_many({"p": "q"}) == 1
            assert await t.adelete("p") is not None
            with pytest.raises(atomkv.ConflictError):
                await t.aput("a", "2", expect="absent")
            with pytest.raises(TypeError):
                await t.aget(5)
            assert [key async for key in t.ascan(part="keys", prefix="99")] == [b"99"] + [b"99%d" % n for n in range(10)]
            assert (await db.run(db.compact)).segments_damaged == 0
        with pytest.raises(atomkv.ClosedError):
            await t.aget("a")

    asyncio.run(main())


def test_scans_of_every_part(path: pathlib.Path) -> None:
    async def main() -> None:
        async with atomkv.open(path) as db:
            t = db.table("t", ordered=True)
            t.put_many((f"{number:04}", f"{number}") for number in range(1000))
            for part in ("keys", "values", "items", "entries"):
                found = [one async for one in t.ascan(part=part)]
                assert found == list(t.scan(part=part)) and len(found) == 1000

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_is_put_is_read_on_the_thread_of_the_loop(path: pathlib.Path) -> None:
    async def main() -> None:
        async with atomkv.open(path) as db:
            t, readers = db["t"], set()

            def pairs() -> Any:
                for number in range(10):
                    readers.add(threading.get_ident())
                    yield str(number), "v"

            assert await t.aput_many(pairs()) == 10
            assert readers == {threading.get_ident()}
            documents = {str(number): "w" for number in range(10)}
            put = asyncio.ensure_future(t.aput_many(documents))
            documents.clear()
            assert await put == 10 and t["5"] == b"w"
            rows = [("10", "x")]
            waits = t.aput_many(rows)
            rows[0] = ("11", "x")
            assert await waits == 1 and t["10"] == b"x" and "11" not in t
            with pytest.raises(TypeError):
                await t.aput_many(5)  # type: ignore[arg-type]
            assert await db["other"].aput_many(t) == 11

    asyncio.run(main())


def test_calls_for_which_there_is_no_thread_raise(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with atomkv.open(path) as db:
            t = db["t"]
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", start)
                for outcome in await asyncio.gather(t.aput("a", "1"), t.aget("a"), return_exceptions=True):
                    assert isinstance(outcome, RuntimeError) and "thread" in str(outcome)
            assert await t.aput("b", "2") and await t.aget("b") == b"2"
            # What was refused is not done later.
            assert await t.aget("a") is None

    asyncio.run(asyncio.wait_for(main(), 60))


def test_calls_wait_for_a_thread_that_is_there_where_none_can_be_begun(
    path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        with atomkv.open(path) as db:
            t, is_over = db["t"], threading.Event()
            slow = db.table("slow", serializer=(lambda value: value if is_over.wait(60) else b"", bytes))
            busy = asyncio.ensure_future(slow.aput("k", b"v"))
            await asyncio.sleep(0.01)
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", start)
                put = asyncio.ensure_future(t.aput("a", "1"))
                await asyncio.sleep(0.01)
                is_over.set()
                assert (await put).version == (await busy).version == 1

    asyncio.run(asyncio.wait_for(main(), 60))


def test_many_pairs_are_put_without_holding_all_of_them(path: pathlib.Path) -> None:
    async def main() -> None:
        async with atomkv.open(path) as db:
            t, readers = db["t"], set()

            def loads(value: bytes) -> bytes:
                readers.add(threading.get_ident())
                return value

            def pairs() -> Any:
                for number in range(5000):
                    assert len(t) > number - 2048
                    yield f"{number}", b"v"

            turns = asyncio.ensure_future(asyncio.sleep(0))
            assert await t.aput_many(pairs(), sync=True) == 5000 == len(t)
            assert turns.done() and await t.aput_many(iter([])) == 0
            source = db.table("source", serializer=(bytes, loads))
            source.put_many(t)
            with db.snapshot() as snapshot:
                for items in (source, source.items(), source.scan(), snapshot[source], snapshot[source].items()):
                    assert await db["copy"].aput_many(items) == 5000
            assert readers and threading.get_ident() not in readers

    asyncio.run(asyncio.wait_for(main(), 60))


def test_the_loop_goes_on(path: pathlib.Path) -> None:
    async def main() -> None:
        with atomkv.open(path) as db:
            slow = db.table("slow", serializer=(lambda v: time.sleep(0.3) or v, bytes))
            turns = 0

            async def turn() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0.001)

            task = asyncio.ensure_future(turn())
            await slow.aput("k", b"v")
            task.cancel()
            assert turns > 10

    asyncio.run(main())


def test_one_sync_serves_a_turn(path: pathlib.Path) -> None:
    async def main() -> None:
        with atomkv.open(path, sync_interval=timedelta(hours=1)) as db:
            t, always = db["t"], db.table("always", sync=True)

            def synced() -> int:
                return db.stats()["syncs"]

            before = synced()
            await asyncio.gather(*(t.aput(str(number), "v") for number in range(200)))
            unsynced = synced() - before
            before = synced()
            await asyncio.gather(*(t.aput(str(number), "v", sync=True) for number in range(200)),
                                 *(always.aput(str(number), "v") for number in range(200)),
                                 always.adelete("1"), t.aput_many({"a": "b"}, sync=True))
            assert unsynced <= 2 and 1 <= synced() - before <= 10
            with pytest.raises(TypeError, match="sync must be True or False, not int"):
                await t.aput("k", "v", sync=1)  # type: ignore[arg-type]

    asyncio.run(main())


def test_a_watch_is_followed(path: pathlib.Path) -> None:
    async def main() -> None:
        with atomkv.open(path) as db:
            t, seen = db["t"], []  # type: ignore[var-annotated]
            watch = t.watch()

            async def follow() -> None:
                async for change in watch:
                    seen.append(change.key)

            task = asyncio.ensure_future(follow())
            for number in range(500):
                await t.aput(str(number), "v")
            while len(seen) < 500:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # What comes while nobody waits is not lost, nor what a cancelled wait has got.
            waiting = asyncio.ensure_future(watch.__anext__())
            await asyncio.sleep(0.01)
            waiting.cancel()
            await t.aput("last", "v")
            change = await asyncio.wait_for(watch.__anext__(), 10)
            assert change.key == b"last" and seen == [str(number).encode() for number in range(500)]
            waiting = asyncio.ensure_future(watch.__anext__())
            await asyncio.sleep(0.01)
            watch.close()
            with pytest.raises(atomkv.ClosedError):
                await waiting

    asyncio.run(main())


def test_cancelled_calls_harm_nobody(path: pathlib.Path) -> None:
    async def main() -> None:
        with atomkv.open(path) as db:
            t = db["t"]
            tasks: List[Any] = [asyncio.ensure_future(t.aput(str(number), "v")) for number in range(10)]
            await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert sum(isinstance(outcome, atomkv.Written) for outcome in done) == 5

    asyncio.run(main())
