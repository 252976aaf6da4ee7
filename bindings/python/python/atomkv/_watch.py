"""The change feed."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, AsyncIterator, Deque, Iterator, List, Optional

from . import _atomkv
from ._errors import ClosedError, WatchTimeoutError
from ._types import Change

#: So long a thread waits for a change on behalf of an event loop before it looks whether it is still wanted.
_SLICE = 0.05


class Watch(_atomkv.Watch):
    """The committed changes, in the order of the commits, each once. Made by ``db.watch(...)`` and ``table.watch(...)``.

    An iterator that waits for what comes, an asynchronous iterator, and a context manager.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     users = db["users"]
    ...     with users.watch() as changes:
    ...         users["ada"] = "1815"
    ...         change = changes.next(timeout=5)
    >>> change.kind, change.key, change.value
    ('put', b'ada', b'1815')
    """

    _ready: Deque[Change]
    _executor: Optional[ThreadPoolExecutor]
    _is_closed: bool

    def __init__(self, database: "_atomkv.Database", *_: Any) -> None:
        # Keeps the database open.
        self._database = database
        self._ready = deque()
        self._executor = None
        self._is_closed = False

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Change:
        """The next change. Waits for ever, or for so many seconds: then :class:`WatchTimeoutError`."""
        if self._ready:
            return self._ready.popleft()
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout must not be negative, but is {timeout}")
        found = self._next(timeout)
        if found is None:
            raise WatchTimeoutError(f"no change has come within {timeout} seconds")
        return Change(*found)

    def poll(self) -> Optional[Change]:
        """The next change, if there is one already."""
        if self._ready:
            return self._ready.popleft()
        found = self._next(0.0)
        return None if found is None else Change(*found)

    def close(self) -> None:
        """Ends the watch; the log need not be kept for it any more."""
        self._is_closed = True
        super().close()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        while not self._ready:
            if self._is_closed:
                raise ClosedError("the watch was closed")
            if self._executor is None:
                # One of its own, so that waiting watches never take the threads that others need.
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="atomkv-watch")
            # What comes is kept even if the task that waits is cancelled meanwhile.
            await asyncio.get_running_loop().run_in_executor(self._executor, self._gather)
        return self._ready.popleft()

    def _gather(self) -> None:
        if not self._ready:
            self._ready.extend(self._changes())

    def _changes(self) -> List[Change]:
        return [Change(*found) for found in self._some(_SLICE, 256)]
