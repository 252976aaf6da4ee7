"""Follows the changes of a table with asyncio, and goes on after a restart where it was."""

import asyncio
import tempfile
from typing import Dict

import atomkv


async def follow(db: atomkv.Database, copy: Dict[str, int], changes: int) -> None:
    stock, marks = db["stock"], db["marks"]
    mark = marks.get("follower")
    # From the mark, or first all that is there. A table's feed_bytes says how long the log is kept for who comes back.
    watch = stock.watch(start=int(mark)) if mark is not None else stock.watch(state_first=True)
    with watch:
        async for change in watch:
            if change.kind == "delete":
                copy.pop(change.key, None)
            else:
                copy[change.key] = change.value
            if change.last_of_commit and change.kind != "state":
                await marks.aput("follower", str(watch.resume_from))
            changes -= 1
            if changes == 0:
                return


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with atomkv.open(directory + "/stock", feed_bytes=16 << 20) as db:
            stock = db.table("stock", serializer="json", text_keys=True)
            copy: Dict[str, int] = {}
            await stock.aput("apples", 3)
            task = asyncio.ensure_future(follow(db, copy, 3))
            await asyncio.sleep(0.1)
            await stock.aput("pears", 5)
            await stock.adelete("apples")
            await task
            print(copy)
            await stock.aput("plums", 7)  # nobody follows now
            await follow(db, copy, 1)
            print(copy)
            assert copy == {"pears": 5, "plums": 7}


asyncio.run(main())
