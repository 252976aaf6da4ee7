"""Long calls as iterators."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, Iterator, Optional

from ._types import Progress

_END = object()


class Tracked:
    """A long call that runs on a thread of its own while this iterator tells how far it is; see :func:`tracked`."""

    def __init__(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        self._queue: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        self._stop = threading.Event()
        self._result: Any = None
        self._error: Optional[BaseException] = None
        self._last = Progress(0, 0, 0, 0.0)

        def told(progress: Progress) -> bool:
            self._queue.put(progress)
            return not self._stop.is_set()

        def run() -> None:
            try:
                self._result = call(*arguments, progress=told, **named)
            except BaseException as error:
                self._error = error
            self._queue.put(_END)

        self._thread = threading.Thread(target=run, name="atomkv-tracked", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Progress]:
        while True:
            progress = self._queue.get()
            if progress is _END:
                self._queue.put(_END)
                if self._error is not None:
                    raise self._error
                return
            self._last = progress
            yield progress

    @property
    def result(self) -> Any:
        """What the call has returned; waits for it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result

    def cancel(self) -> None:
        """Ends the call as soon as it looks: it raises :class:`OperationCancelledError`."""
        self._stop.set()

    def __enter__(self) -> "Tracked":
        return self

    def __exit__(self, *_: Any) -> None:
        self.cancel()
        self._thread.join()


def tracked(call: Callable[..., Any], *arguments: Any, **named: Any) -> Tracked:
    """Runs a call that takes ``progress`` on a thread, and iterates over how far it is.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     _ = db["t"].put_many((str(number), "x") for number in range(1000))
    ...     job = atomkv.tracked(db.compact)
    ...     for progress in job:
    ...         pass
    ...     job.result.records_moved
    1000
    """
    return Tracked(call, *arguments, **named)


def bar(of: Any) -> Callable[[Progress], None]:
    """A ``progress`` callback that moves a bar of ``tqdm``: ``db.backup(place, progress=atomkv.bar(tqdm(unit="B")))``."""
    done = 0

    def told(progress: Progress) -> None:
        nonlocal done
        if progress.bytes_total and of.total != progress.bytes_total:
            of.total = max(progress.bytes_total, progress.bytes)
        of.update(progress.bytes - done)
        done = progress.bytes

    return told
