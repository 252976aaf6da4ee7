"""The change feed."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, AsyncIterator, Deque, Iterator, Optional, Tuple

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

    #: What an event loop's thread has read ahead: a change, or what was raised by its key or its value, and where a watch
    #: begins that is to be given what comes behind it.
    _ready: Deque[Tuple[Any, int]]
    #: Where a watch begins that is to be given what is ready, if anything was read ahead.
    _position: Optional[int]
    _executor: Optional[ThreadPoolExecutor]
    _is_closed: bool

    def __init__(self, database: "_atomkv.Database", *_: Any) -> None:
        # Keeps the database open.
        self._database = database
        self._ready = deque()
        self._position = None
        self._lock = Lock()
        self._pid = os.getpid()
        self._executor = None
        self._is_closed = False

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        return self.next()

    def next(self, timeout: Optional[float] = None) -> Change:
        """The next change. Waits for ever, or for so many seconds: then :class:`WatchTimeoutError`."""
        if timeout is not None:
            if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
                raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
            if not timeout >= 0:
                raise ValueError(f"timeout must not be negative, but is {timeout}")
        ready = self._pop()
        if ready is not None:
            return ready
        found = self._next(timeout)
        if found is None:
            raise WatchTimeoutError(f"no change has come within {timeout} seconds")
        return Change(*found)

    def poll(self) -> Optional[Change]:
        """The next change, if there is one already."""
        ready = self._pop()
        if ready is not None:
            return ready
        found = self._next(0.0)
        return None if found is None else Change(*found)

    @property
    def resume_from(self) -> int:
        """Where to begin after a restart, to be given every change that was not handed over yet: for ``watch(start=...)``."""
        self._check_process()
        position = self._position
        if position is None:
            # Not while the thread of an event loop reads ahead.
            with self._lock:
                position = super().resume_from if self._position is None else self._position
        return position

    def _check_process(self) -> None:
        """Raises :class:`ForkedError` in a forked child, where the thread that reads ahead is missing."""
        if self._executor is not None and self._pid != os.getpid():
            self._database._check()

    def _pop(self) -> Optional[Change]:
        """The first change that was read ahead, if one was; if not, the engine's own position is right again."""
        self._check_process()
        if self._executor is None:
            return None
        # Waits for the thread, which may just be reading ahead.
        with self._lock:
            if not self._ready:
                self._position = None
                return None
            found, self._position = self._ready.popleft()
        if isinstance(found, BaseException):
            raise found
        return Change(*found)

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
        self._check_process()
        while True:
            # Not while the thread reads ahead, for which the loop would have to wait.
            ready = self._pop() if self._ready else None
            if ready is not None:
                return ready
            if self._is_closed:
                raise ClosedError("the watch was closed")
            if self._executor is None:
                # One of its own, so that waiting watches never take the threads that others need.
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="atomkv-watch")
            # What comes is kept even if the task that waits is cancelled meanwhile.
            await asyncio.get_running_loop().run_in_executor(self._executor, self._gather)

    def _gather(self) -> None:
        with self._lock:
            if not self._ready:
                self._position = super().resume_from
                found = self._some(_SLICE, 256)
                self._ready.extend(found)
                if not found:
                    self._position = None
