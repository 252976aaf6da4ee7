"""Databases."""

from __future__ import annotations

import atexit
import functools
import inspect
import json
import os
import time
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, TypeVar, Union, overload

from . import _atomkv
from ._aio import Queue
from ._errors import AtomKVError, ConflictError, LockedError, LockTimeoutError
from ._services import (
    Compressor,
    Hasher,
    SerializerLike,
    Sharder,
    Validator,
    serializer_of,
    service_of,
)
from ._table import Table, _told
from ._transaction import ATTEMPTS, Batch, Snapshot, Transaction, back_off
from ._types import (
    BackupReport,
    CompactionReport,
    Damage,
    Key,
    RestoreReport,
    SalvageReport,
    Seconds,
    TransferReport,
    VerifyReport,
    LostKey,
)
from ._watch import Watch

if TYPE_CHECKING:
    from typing_extensions import Concatenate, ParamSpec

    P = ParamSpec("P")
    R = TypeVar("R")

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Told = Optional[Callable[..., Any]]

#: Closed when the interpreter ends, so that the next opening has nothing to replay.
_open: "weakref.WeakSet[Database]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for database in list(_open):
        try:
            database.close()
        except AtomKVError:
            # Of another process, or failed before; nothing that was acknowledged is lost.
            pass


class Database(_atomkv.Database):
    """An open database: one directory, owned by this process until it is closed. Made by :func:`atomkv.open`.

    A context manager; ``db["name"]`` is a table, made if there is none. May be used by many threads at once. A forked child
    gets :class:`ForkedError` from whatever its parent has opened.
    """

    _tables: Dict[str, "Table[Any, Any]"]
    _aio: Queue
    _is_closed: bool

    def __init__(self, *_: Any) -> None:
        self._tables = {}
        self._aio = Queue()
        self._is_closed = False
        _open.add(self)

    def table(
        self,
        name: str,
        *,
        serializer: Optional[SerializerLike] = None,
        ordered: Optional[bool] = None,
        partitions: Union[int, str, None] = None,
        retention: Any = None,
        ttl: Optional[Seconds] = None,
        sync: Optional[bool] = None,
        text_keys: bool = False,
        hasher: Union[str, Hasher, None] = None,
        sharder: Union[str, Sharder, None] = None,
        validator: Union[str, Validator, None] = None,
        compressor: Union[str, Compressor, None] = None,
    ) -> "Table[Any, Any]":
        """Opens a table, or creates it.

        - ``serializer``: what values are. ``"bytes"`` (default); ``"json"``; ``"orjson"`` (faster, also JSON, but
          NaN and infinity become ``null`` and integers beyond 64 bits are refused or read as ``float``) and ``"msgpack"``, where
          those packages are installed; ``"pickle"`` (with a :class:`PickleWarning`); an :class:`atomkv.Serializer`; or a pair of
          callables.
        - ``ordered``: the table knows the order of its keys, for ranges, prefixes and reverse scans.
        - ``partitions``: of a new table, 1 to 16,384, or ``"auto"``; a table that exists keeps what it has.
        - ``retention``: which versions of a key are kept: a number, a ``timedelta``, or ``"all"``.
        - ``ttl``: after how long documents expire whose writers do not say.
        - ``sync``: whether writes that do not say are on stable storage when they return.
        - ``text_keys``: keys come back as ``str``.
        - ``hasher``, ``sharder``, ``validator``, ``compressor``: names of built-in ones, or of Python's (:class:`atomkv.Hasher`
          and so on); the calls of Python cost some hundred nanoseconds each.

        Order, retention and services are stored when the table is created; :class:`TableMismatchError` and
        :class:`ServicesMismatchError` if it is opened with others.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     people = db.table("people", serializer="json", ordered=True, text_keys=True)
        ...     people["ada"] = {"born": 1815}
        ...     list(people.items())
        [('ada', {'born': 1815})]
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be str, not {type(name).__name__}")
        for argument, flag in (("ordered", ordered), ("sync", sync), ("text_keys", text_keys)):
            if flag is not None and not isinstance(flag, bool):
                raise TypeError(f"{argument} must be True or False, not {type(flag).__name__}")
        found = serializer_of(serializer)
        settings = {
            "ordered": ordered,
            "partitions": partitions,
            "retention": retention,
            "ttl": ttl,
            "sync": sync,
            "hasher": service_of("hasher", Hasher, hasher),
            "sharder": service_of("sharder", Sharder, sharder),
            "validator": service_of("validator", Validator, validator),
            "compressor": service_of("compressor", Compressor, compressor),
        }
        functions = None if found is None else (found.functions[0], found.functions[1])
        identity = None if found is None else (found.name, found.version)
        table: Table[Any, Any] = Table(self._table(name, settings, text_keys, functions, identity), self)
        self._tables[name] = table
        return table

    def __getitem__(self, name: str) -> "Table[Any, Any]":
        """The table as it was opened before, else with plain bytes; made if there is none."""
        table = self._tables.get(name)
        if table is None:
            return self.table(name)
        self._check()
        return table

    def __contains__(self, name: object) -> bool:
        return name in self.table_names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.table_names())

    def __len__(self) -> int:
        return len(self.table_names())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<atomkv.Database {self.path!r}{', closed' if self.closed else ''}>"

    # --- life ---

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    def close(self) -> None:
        """Writes everything out and gives the directory free. Everything that came of the database raises
        :class:`ClosedError` from then on; views stay valid. Closing again does nothing."""
        self._aio.close()
        super()._close()
        self._is_closed = True
        self._tables.clear()
        _open.discard(self)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    async def aclose(self) -> None:
        """:meth:`close` without blocking the event loop."""
        import asyncio

        await asyncio.get_running_loop().run_in_executor(None, self.close)

    async def __aenter__(self) -> "Database":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.aclose()

    async def run(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Calls a function, such as ``db.backup``, on a thread, without blocking the event loop."""
        import asyncio

        call = functools.partial(function, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(None, call)

    def refresh(self) -> Optional["Database"]:
        """Of a database that was opened with ``read_only=True``: one of its newest state, or ``None`` if nothing was committed
        since. This one goes on showing its own, so that each is consistent for as long as it is used."""
        newer = self._refresh()
        return None if newer is None else Database(newer, False, True, False, {})

    # --- many changes as one ---

    def batch(self, *, sync: bool = False) -> Batch:
        """A batch, see :class:`Batch`."""
        batch = Batch(self)
        batch._sync = sync
        return batch

    def snapshot(self) -> Snapshot:
        """The whole database as it is now, see :class:`Snapshot`."""
        return Snapshot(self)

    def transaction(self, *, sync: bool = False) -> Transaction:
        """A transaction, see :class:`Transaction`. To have it tried again after a conflict, use :meth:`transact` or
        :meth:`attempts`."""
        transaction = Transaction(self)
        transaction._sync = sync
        return transaction

    @overload
    def transact(self, function: "Callable[Concatenate[Transaction, P], R]") -> "Callable[P, R]": ...
    @overload
    def transact(
        self, *, attempts: int = ..., sync: bool = ...
    ) -> "Callable[[Callable[Concatenate[Transaction, P], R]], Callable[P, R]]": ...
    def transact(self, function: Any = None, *, attempts: int = ATTEMPTS, sync: bool = False) -> Any:
        """Makes a function a transaction: it is called with a :class:`Transaction` before its own arguments, and again from the
        beginning if others have changed meanwhile what it has read. It must have no other effects. What it raises comes
        out of the call, and nothing is written.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     accounts = db.table("accounts", serializer="json")
        ...     accounts.update({"alice": 100, "bob": 0})
        ...
        ...     @db.transact
        ...     def pay(t, payer, payee, amount):
        ...         if t[accounts][payer] < amount:
        ...             raise ValueError("not enough money")
        ...         t[accounts][payer] -= amount
        ...         t[accounts][payee] += amount
        ...
        ...     pay("alice", "bob", 30)
        ...     accounts["alice"], accounts["bob"]
        (70, 30)
        """
        if function is None:
            return functools.partial(self.transact, attempts=attempts, sync=sync)
        if not callable(function):
            raise TypeError(f"transact makes a transaction of a function, not of {type(function).__name__}")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            # It would be committed before its first statement is run.
            raise TypeError("transact makes a transaction of a plain function: await Database.run(function) calls it elsewhere")
        _check_attempts(attempts)

        @functools.wraps(function)
        def transacted(*arguments: Any, **named: Any) -> Any:
            for attempt in range(attempts):
                with Transaction(self) as transaction:
                    # Committed here, so that a conflict that the function raises itself comes out.
                    result = function(transaction, *arguments, **named)
                    if not transaction.is_open:
                        return result
                    try:
                        transaction.commit(sync=sync)
                    except ConflictError:
                        if attempt + 1 == attempts:
                            raise
                    else:
                        return result
                back_off(attempt)

        return transacted

    def attempts(self, attempts: int = ATTEMPTS, *, sync: bool = False) -> Iterator[Transaction]:
        """Transactions until one is committed, for code that is no function; :class:`ConflictError` after so many.

        Let the ``with`` block run to its end. ``return`` and ``break`` inside it end the loop whether or not the commit has
        met a conflict, which then is only reported as an ignored exception: use :meth:`transact` for code that returns.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     counters = db.table("counters", serializer="json")
        ...     for attempt in db.attempts():
        ...         with attempt as t:
        ...             t[counters]["visits"] = t[counters].get("visits", 0) + 1
        ...     counters["visits"]
        1
        """
        _check_attempts(attempts)
        for attempt in range(attempts):
            transaction = Transaction(self)
            transaction._sync = sync
            transaction._keeps_conflict = True
            try:
                yield transaction
            except GeneratorExit:
                # The loop was left from within the block: it is too late to try again, and must not stay unsaid.
                if transaction.conflict is not None:
                    raise transaction.conflict
                raise
            if transaction.conflict is None:
                return
            if attempt + 1 == attempts:
                raise transaction.conflict
            back_off(attempt)

    def watch(
        self,
        *tables: "Table[Any, Any]",
        prefix: Optional[Key] = None,
        start: Optional[int] = None,
        state_first: bool = False,
    ) -> Watch:
        """The changes of these tables, or of all, that are committed from now on, or from an earlier sequence on (``start``: an
        earlier watch's ``resume_from``). With ``state_first`` every key that is there comes first. See :class:`Watch`.

        Only tables that are given have their changes deserialized; those of others are ``bytes``."""
        return Watch(self, list(tables), prefix, start, state_first)

    # --- care ---

    def stats(self) -> Dict[str, Any]:
        """Counters and sizes by name; docs/statistics.md explains them."""
        stats: Dict[str, Any] = json.loads(self._stats())
        return stats

    def compact(self, *, progress: Told = None) -> CompactionReport:
        """Settles everything now and gives the space of what is dead back; readers and writers go on."""
        return CompactionReport(**self._compact(_told(progress)))

    def pause_compaction(self) -> "CompactionPause":
        """Asks the background for quiet until the ``with`` block ends."""
        return CompactionPause(self._pause_compaction())

    def backup(
        self, destination: Path, *, link: bool = False, verify: bool = False, progress: Told = None
    ) -> BackupReport:
        """Copies the database, as of one moment, to a directory, while everybody goes on. The next backup to the same place
        copies what is new. ``link`` makes hard links where it can; ``verify`` checks every record on the way.

        ``progress``, here and elsewhere, is called some times a second with a :class:`Progress`; it ends the call by
        returning ``False`` (:class:`OperationCancelledError`) or by raising. It must not close the database or ask for its
        compaction, a checkpoint or a backup: these may wait for the call. :func:`atomkv.tracked` makes an iterator of any such call.
        """
        return BackupReport(**self._backup(destination, _told(progress), link, verify))

    def backup_stream(self, file: Any, *, progress: Told = None) -> BackupReport:
        """The same as a tar stream, to a path or a binary file."""
        return BackupReport(**self._backup_stream(file, _told(progress)))

    def verify(self, *, threads: Optional[int] = None, progress: Told = None) -> VerifyReport:
        """Reads and checks every byte of every file, while everybody goes on."""
        return _verified(self._verify(_told(progress), threads))

    def dump(self, file: Any, *, tables: Optional[List[str]] = None, progress: Told = None) -> TransferReport:
        """Writes tables, all or those that are named, with their definitions to a path or a binary file, checksummed."""
        return TransferReport(**self._dump(file, tables, _told(progress)))

    def load_dump(self, file: Any, *, progress: Told = None, **settings: Any) -> TransferReport:
        """Reads what :meth:`dump` has written. Settings as those of :meth:`Table.load`."""
        return TransferReport(**self._load_dump(file, _told(progress), settings))


class CompactionPause:
    """See :meth:`Database.pause_compaction`."""

    def __init__(self, pause: "_atomkv.CompactionPause") -> None:
        self._pause = pause

    def __enter__(self) -> "CompactionPause":
        return self

    def __exit__(self, *_: Any) -> None:
        self._pause.end()


def _check_attempts(attempts: int) -> None:
    if isinstance(attempts, bool) or not isinstance(attempts, int):
        raise TypeError(f"attempts must be int, not {type(attempts).__name__}")
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, but is {attempts}")


def open(
    path: Path,
    *,
    read_only: bool = False,
    create: bool = True,
    timeout: Optional[Seconds] = None,
    release_gil: bool = False,
    mapped: bool = True,
    **settings: Any,
) -> Database:
    """Opens the database in a directory, or makes one there if the directory is missing or empty.

    - ``read_only``: beside the process that has it open for writing, if there is one; :meth:`Database.refresh` follows.
    - ``create``: ``False`` makes a missing database an error.
    - ``timeout``: for how long to wait, in seconds, while it is open elsewhere; else :class:`LockedError` at once.
    - ``release_gil``: every read lets other threads go on, for data that is larger than memory: a page that has to come
      from the disk is not waited for by the whole program. Costs some 50 ns a read.
    - ``mapped``: ``False`` reads and writes by system calls: slower, but a failing device gives an error, not a signal.

    Further settings, as in the engine: ``sync_interval``, ``sync_bytes``, ``segment_bytes``, ``checkpoint_bytes``,
    ``dead_ratio``, ``large_value_bytes``, ``verify_checksums``, ``compaction_rate``, ``skip_damaged_log``, ``reap_expired``,
    ``hash_seed``, ``feed_bytes``, ``background``.

    >>> import atomkv, tempfile
    >>> directory = tempfile.TemporaryDirectory()
    >>> with atomkv.open(directory.name + "/data") as db:
    ...     db["users"]["ada"] = "1815"
    >>> with atomkv.open(directory.name + "/data") as db:
    ...     db["users"]["ada"]
    b'1815'
    >>> directory.cleanup()
    """
    settings.update(read_only=read_only, create=create)
    deadline = None if timeout is None else time.monotonic() + _in_seconds(timeout)
    while True:
        try:
            return Database(_path(path), False, mapped, release_gil, settings)
        except LockedError as locked:
            if deadline is None:
                raise
            if time.monotonic() >= deadline:
                late = LockTimeoutError(str(locked))
                late.path, late.pid = locked.path, locked.pid
                raise late from None
            time.sleep(0.01)


def memory(**settings: Any) -> Database:
    """A new, empty database in memory, for tests and caches: everything works as on a disk, and all of it goes with it.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     db["cache"]["key"] = b"value"
    ...     len(db["cache"])
    1
    """
    return Database(":memory:", True, True, False, settings)


def restore(source: Any, destination: Path, *, verify: bool = True, progress: Told = None) -> RestoreReport:
    """Makes a database of a backup: a directory, or a binary file that :meth:`Database.backup_stream` has written."""
    return RestoreReport(**_atomkv.restore(source, _path(destination), _told(progress), verify))


def verify(path: Path, *, threads: Optional[int] = None, progress: Told = None) -> VerifyReport:
    """Reads and checks every byte of a database that is not open; changes nothing."""
    return _verified(_atomkv.verify(_path(path), _told(progress), threads))


def salvage(source: Path, destination: Path, *, progress: Told = None) -> SalvageReport:
    """Makes a new database of whatever can still be read of a damaged one, which is not changed."""
    found = _atomkv.salvage(_path(source), _path(destination), _told(progress))
    found["damages"] = [Damage(*damage) for damage in found["damages"]]
    for name in ("lost", "older", "undecodable"):
        found[name] = [LostKey(*key) for key in found[name]]
    return SalvageReport(**found)


def _verified(found: Dict[str, Any]) -> VerifyReport:
    found["damages"] = [Damage(*damage) for damage in found["damages"]]
    return VerifyReport(**found)


def _path(path: Path) -> str:
    return os.fsdecode(path)


def _in_seconds(time: Seconds) -> float:
    if isinstance(time, timedelta):
        return time.total_seconds()
    if isinstance(time, bool) or not isinstance(time, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or a timedelta, not {type(time).__name__}")
    if not time >= 0:
        raise ValueError(f"timeout must not be negative, but is {time}")
    return float(time)
