"""Calls off the event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

R = TypeVar("R")
_Sync = Optional[Callable[[], None]]
_Job = Tuple["asyncio.Future[Any]", Callable[..., Any], Tuple[Any, ...], _Sync]
_Done = Tuple["asyncio.Future[Any]", Any, Optional[BaseException]]


class _Executor(ThreadPoolExecutor):
    """Its threads are begun behind the call that they are for: one that cannot be begun is missed only where there is none."""

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


class Queue:
    """Calls of one turn of an event loop go to a thread together and come back together: a thread's turn costs tens of
    microseconds, the calls themselves a fraction of one. One sync serves all of them that ask for it."""

    def __init__(self) -> None:
        self._executor: Optional[_Executor] = None
        self._pending: Dict[asyncio.AbstractEventLoop, List[_Job]] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()

    def call(self, function: Callable[..., R], *arguments: Any, sync: _Sync = None) -> "asyncio.Future[R]":
        """The result of a call, to be awaited. With ``sync``, which syncs the database, it comes after that."""
        loop = asyncio.get_running_loop()
        future: "asyncio.Future[R]" = loop.create_future()
        jobs = self._pending.get(loop)
        if jobs is None:
            self._pending[loop] = jobs = []
            loop.call_soon(self._send, loop)
        jobs.append((future, function, arguments, sync))
        return future

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        turn = [self._pending.pop(loop)]
        try:
            with self._lock:
                if self._executor is None or self._pid != os.getpid():
                    self._pid = os.getpid()
                    self._executor = _Executor(4, thread_name_prefix="atomkv")
                # Not behind the lock: the executor might be shut down meanwhile, and nobody would ever answer.
                self._executor.submit(_run, loop, turn)
        except Exception as error:
            # No thread could be begun, or the interpreter ends. The executor may have kept them for a later thread.
            _deliver([(future, None, error) for future, *_ in _taken(turn)])

    def close(self) -> None:
        """No more calls come."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None and self._pid == os.getpid():
            executor.shutdown(wait=False)


def _taken(turn: List[List[_Job]]) -> List[_Job]:
    """The calls of a turn, for the first who asks: they are done, or refused, and never both."""
    try:
        return turn.pop()
    except IndexError:
        return []


def _run(loop: asyncio.AbstractEventLoop, turn: List[List[_Job]]) -> None:
    done: List[_Done] = []
    to_sync: List[int] = []
    sync_all: _Sync = None
    for future, function, arguments, sync in _taken(turn):
        if future.cancelled():
            continue
        try:
            result = function(*arguments)
        except BaseException as error:
            done.append((future, None, error))
            continue
        if sync is not None:
            sync_all = sync
            to_sync.append(len(done))
        done.append((future, result, None))
    if sync_all is not None:
        try:
            sync_all()
        except BaseException as error:
            for place in to_sync:
                done[place] = (done[place][0], None, error)
    try:
        loop.call_soon_threadsafe(_deliver, done)
    except RuntimeError:
        # The loop was closed: nobody waits any more.
        pass


def _deliver(done: List[_Done]) -> None:
    for future, result, error in done:
        if future.done():
            continue
        if error is None:
            future.set_result(result)
        elif isinstance(error, StopIteration):
            future.set_exception(RuntimeError("a call has raised StopIteration"))
        else:
            future.set_exception(error)
