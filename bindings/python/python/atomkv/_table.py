"""Tables."""

from __future__ import annotations

import io
from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView
from itertools import chain, islice
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncIterator,
    BinaryIO,
    Callable,
    Coroutine,
    Generic,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from . import _atomkv
from ._atomkv import Scan, Written
from ._stream import Reader, Writer
from ._types import (
    ALL,
    Entry,
    Expectation,
    Key,
    Moment,
    ResizeReport,
    ScanArguments,
    Seconds,
    TransferReport,
    Version,
    scan_arguments,
)
from ._watch import Watch

if TYPE_CHECKING:
    from ._database import Database

K = TypeVar("K")
V = TypeVar("V")


class _Keys(KeysView[K]):
    _mapping: "Table[K, Any]"

    def __iter__(self) -> Iterator[K]:
        return iter(self._mapping)


class _Values(ValuesView[V]):
    _mapping: "Table[Any, V]"

    def __iter__(self) -> Iterator[V]:
        return chain.from_iterable(self._mapping._chunks("values", ALL))

    # That of ValuesView reads each key again, which may be gone by then.
    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)


class _Items(ItemsView[K, V]):
    _mapping: "Table[K, V]"

    def __iter__(self) -> Iterator[Tuple[K, V]]:
        return chain.from_iterable(self._mapping._chunks("items", ALL))


class Table(_atomkv.Table[K, V], MutableMapping[K, V], Generic[K, V]):
    """A table of a database: a mutable mapping of keys to values, and more. Made by ``db["name"]`` and ``db.table(...)``.

    Keys are ``bytes``; ``str`` (as UTF-8) and other buffers are taken as well, and what comes back is ``bytes`` (``str``
    in tables with ``text_keys=True``). Values are ``bytes`` likewise, or whatever the table's serializer takes.
    Iterating shows the table as it was when the iteration began, whatever is written meanwhile: in the order of the keys
    if the table is ordered. May be used by many threads at once.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     users = db["users"]
    ...     users["ada"] = "countess"
    ...     users.update({"alan": "computer", "grace": "admiral"})
    ...     del users["alan"]
    ...     sorted(users.items()), "alan" in users, len(users)
    ([(b'ada', b'countess'), (b'grace', b'admiral')], False, 2)
    """

    __slots__ = ("_database",)

    _database: "Database"

    def __init__(self, of: _atomkv.Table[K, V], database: "Database") -> None:
        self._database = database

    def __new__(cls, of: _atomkv.Table[K, V], database: "Database") -> "Table[K, V]":
        return super().__new__(cls, of)  # type: ignore[return-value]

    def __init_subclass__(cls) -> None:
        raise TypeError("atomkv.Table cannot be subclassed: tables are made by Database.table")

    # Two handles are two objects: comparing the contents of tables is dict(a.items()) == dict(b.items()).
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<atomkv.Table {self.name!r} of {self._database.path!r}, {len(self)} keys>"

    @property
    def database(self) -> "Database":
        """The table's database."""
        return self._database

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(self._chunks("keys", ALL))

    def keys(self) -> KeysView[K]:
        return _Keys(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def items(self) -> ItemsView[K, V]:
        return _Items(self)

    def pop(self, key: Any, *default: Any) -> Any:
        """Removes a key and returns its value, atomically; ``default``, or ``KeyError`` if it is not there."""
        if len(default) > 1:
            raise TypeError(f"pop expected at most 2 arguments, got {1 + len(default)}")
        while True:
            entry = self.get_entry(key)
            if entry is None:
                if default:
                    return default[0]
                raise KeyError(key)
            try:
                if self.delete(key, expect=entry) is not None:
                    return entry.value
            except _errors.ConflictError:
                continue

    def popitem(self) -> Tuple[K, V]:
        """Removes some key, the first if the table is ordered, and returns it with its value, atomically; ``KeyError`` if there is
        none."""
        while True:
            for key in self:
                break
            else:
                raise KeyError("popitem(): the table is empty")
            value = self.pop(key, _MISSING)
            # Else somebody else was faster.
            if value is not _MISSING:
                return key, value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """The value of a key; stores ``default`` first, atomically, if the key is not there."""
        while True:
            value = self.get(key, _MISSING)
            if value is not _MISSING:
                return value
            try:
                self.put(key, default, expect="absent")
            except _errors.ConflictError:
                continue
            # As it is read, which may be another type than was given.
            return self.get(key, default)

    def update(self, *others: Any, **named: Any) -> None:
        """Stores all pairs of a mapping or an iterable, as :meth:`put_many`."""
        if len(others) > 1:
            raise TypeError(f"update expected at most 1 argument, got {len(others)}")
        for other in others:
            self.put_many(other)
        if named:
            self.put_many(named)

    def clear(self) -> None:
        """Removes every key that is there when it begins, one by one: not atomic as a whole."""
        for keys in self._chunks("keys", ALL):
            self.delete_many(keys)

    def _slice(self, key: slice) -> Scan:
        if key.step not in (None, 1):
            raise ValueError("a range of keys has no step; scan(start, stop, reverse=True) goes backward")
        return self.scan(key.start, key.stop)

    # --- single keys ---

    def put_if(self, key: Key, value: V, expect: Expectation, *, sync: Optional[bool] = None) -> Written:
        """Stores a value if what is expected is there, else raises :class:`ConflictError`: compare-and-set.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     stock = db["stock"]
        ...     seen = stock.put("apples", "3")
        ...     _ = stock.put("apples", "2")
        ...     try:
        ...         stock.put_if("apples", "4", seen)
        ...     except atomkv.ConflictError as conflict:
        ...         print(conflict.found.version)
        2
        """
        if expect is None:
            raise TypeError('put_if needs something to expect: "absent", "present", a version, or what a write returned')
        return self.put(key, value, sync=sync, expect=expect)

    def delete_if(self, key: Key, expect: Expectation, *, sync: Optional[bool] = None) -> Optional[Written]:
        """Removes a key if what is expected is there, else raises :class:`ConflictError`."""
        if expect is None:
            raise TypeError(
                'delete_if needs something to expect: "absent", "present", a version, or what a write returned'
            )
        return self.delete(key, sync=sync, expect=expect)

    def get_entry(self, key: Key) -> Optional[Entry[V]]:
        """The value of a key with its version, sequence, time and expiry; ``None`` if the key is not there."""
        found = self._entry(key)
        return None if found is None else Entry(*found)

    def merge(
        self,
        key: Key,
        *,
        add: Optional[int] = None,
        add_integer: Optional[int] = None,
        append: Optional[Key] = None,
        json_patch: Any = None,
    ) -> bytes:
        """Changes a stored value by an operator, atomically, and returns the new one as bytes.

        ``add`` adds to a decimal number that is written as text, ``add_integer`` to one of eight bytes, little-endian;
        ``append`` adds bytes to the end; ``json_patch`` (a document, or JSON text) is a JSON merge patch, RFC 7396.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     counters = db["counters"]
        ...     _ = counters.merge("visits", add=41)
        ...     counters.merge("visits", add=1)
        b'42'
        """
        given = [name for name, operand in (("add", add), ("add_integer", add_integer), ("append", append),
                                            ("json_patch", json_patch)) if operand is not None]
        if len(given) != 1:
            raise TypeError("merge needs exactly one of add, add_integer, append and json_patch")
        if add is not None:
            if isinstance(add, bool) or not isinstance(add, int):
                raise TypeError(f"add must be an int, not {type(add).__name__}")
            if not -(1 << 127) <= add < 1 << 127:
                raise OverflowError("add must lie between -2**127 and 2**127 - 1")
            return self._merge(key, "add_decimal", str(add))[1]
        if add_integer is not None:
            return self._merge(key, "add_integer", add_integer)[1]
        if append is not None:
            return self._merge(key, "append", append)[1]
        if not isinstance(json_patch, (str, bytes, bytearray, memoryview)):
            json_patch = _json_dumps(json_patch)
        return self._merge(key, "json_merge_patch", json_patch)[1]

    # --- the past ---

    def history(self, key: Key) -> List[Version[V]]:
        """The versions of a key that the table keeps (``retention``), newest first, deletions included.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     pages = db.table("pages", retention=10)
        ...     _ = pages.put("home", "old"), pages.put("home", "new"), pages.delete("home")
        ...     [(version.version, version.value) for version in pages.history("home")]
        [(3, None), (2, b'new'), (1, b'old')]
        """
        return [Version(*found) for found in self._history(key)]

    def get_version(self, key: Key, version: int) -> Version[V]:
        """The version of a key with this number; :class:`VersionNotFoundError`, :class:`VersionCompactedError`."""
        return Version(*self._version(key, version))

    def get_at(self, key: Key, sequence: int) -> Optional[Version[V]]:
        """What a key was after the commit with this sequence; ``None`` if it was not there then."""
        found = self._at(key, sequence)
        return None if found is None else Version(*found)

    # --- many keys ---

    def scan(
        self,
        start: Optional[Key] = None,
        stop: Optional[Key] = None,
        *,
        prefix: Optional[Key] = None,
        contains: Optional[Key] = None,
        glob: Optional[Key] = None,
        reverse: bool = False,
        limit: Optional[int] = None,
        after: Optional[bytes] = None,
        paged: bool = False,
        part: str = "items",
    ) -> Scan:
        """The keys from ``start`` to before ``stop``, or with a ``prefix``, with their values, as of one moment.

        ``part`` is ``"items"``, ``"keys"``, ``"values"`` or ``"entries"`` (key, value, version, sequence, time and expiry in ms).
        On a table that is not ordered, the keys come in no order and every key is looked at. ``after`` goes on behind an
        earlier scan's ``token``.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     notes = db.table("notes", ordered=True)
        ...     _ = notes.put_many({"a:1": "x", "a:2": "y", "b:1": "z"})
        ...     print(list(notes.scan("a:2")), list(notes.prefix("a:", reverse=True, part="keys")))
        ...     page = notes.scan(limit=2, part="keys")
        ...     print(list(page), list(notes.scan(after=page.token, part="keys")))
        [(b'a:2', b'y'), (b'b:1', b'z')] [b'a:2', b'a:1']
        [b'a:1', b'a:2'] [b'b:1']
        """
        arguments = scan_arguments(start, stop, prefix, contains, glob, reverse, limit, after, paged)
        return self._scan(part, arguments)

    def prefix(self, prefix: Key, *, reverse: bool = False, limit: Optional[int] = None, part: str = "items") -> Scan:
        """The keys that begin with these bytes, with their values: :meth:`scan`."""
        return self.scan(prefix=prefix, reverse=reverse, limit=limit, part=part)

    # --- streams and changes ---

    def stream(
        self,
        key: Key,
        mode: str = "r",
        *,
        sync: Optional[bool] = None,
        expect: Optional[Expectation] = None,
        ttl: Optional[Seconds] = None,
        expires_at: Optional[Moment] = None,
    ) -> BinaryIO:
        """Opens a document as a binary file, to be read (``"r"``) or written (``"w"``) by parts: up to 1 TiB.

        What is written is seen when the file is closed, and never if the ``with`` block raises. A reader shows the document
        as it is now, whatever becomes of the key. ``KeyError`` if there is none to read.

        >>> import atomkv
        >>> with atomkv.memory() as db:
        ...     films = db["films"]
        ...     with films.stream("the kid", "w") as film:
        ...         _ = [film.write(b"frame %d\\n" % number) for number in range(1000)]
        ...     with films.stream("the kid") as film:
        ...         _ = film.seek(-10, 2)
        ...         film.read()
        b'frame 999\\n'
        """
        if mode in ("r", "rb"):
            if sync is not None or expect is not None or ttl is not None or expires_at is not None:
                raise TypeError("sync, expect, ttl and expires_at are for writing")
            reader = self._read_stream(key)
            if reader is None:
                raise KeyError(key)
            return io.BufferedReader(Reader(reader), 1 << 16)
        if mode in ("w", "wb"):
            return Writer(self._write_stream(key, sync, expect, ttl, expires_at))  # type: ignore[return-value]
        raise ValueError(f'mode must be "r" or "w", not {mode!r}')

    def watch(
        self, *, prefix: Optional[Key] = None, start: Optional[int] = None, state_first: bool = False
    ) -> Watch:
        """The changes of this table, see :meth:`Database.watch`."""
        return self._database.watch(self, prefix=prefix, start=start, state_first=state_first)

    # --- care ---

    def resize(self, partitions: int) -> ResizeReport:
        """Gives the table another number of partitions, 1 to 16,384, while everybody goes on; takes milliseconds."""
        return ResizeReport(**self._resize(partitions))

    def export(
        self,
        file: Any,
        format: str = "jsonl",
        *,
        progress: Optional[Callable[..., Any]] = None,
        scan: ScanArguments = ALL,
        **settings: Any,
    ) -> TransferReport:
        """Writes the table to a path or a binary file as ``"jsonl"`` or ``"csv"`` (docs/transfer.md).

        Settings: ``key_encoding``, ``value_encoding``, ``delimiter``, ``header``, ``versions``, ``expiry``, ``skip_large``.
        """
        return TransferReport(**self._export(file, format, scan, _told(progress), settings))

    def load(
        self, file: Any, format: str = "jsonl", *, progress: Optional[Callable[..., Any]] = None, **settings: Any
    ) -> TransferReport:
        """Reads what :meth:`export` or another program has written, from a path or a binary file.

        Settings: ``key_encoding``, ``value_encoding``, ``delimiter``, ``if_exists`` (``"replace"``, ``"skip"``, ``"fail"``),
        ``skip_malformed``, ``keep_expiry``, ``sync``, ``resume``, ``record_bytes_max``, ``bookmark`` (a table and a key).
        """
        return TransferReport(**self._import(file, format, _told(progress), settings))

    # --- asyncio ---

    def _sync_later(self, sync: Optional[bool]) -> Optional[Callable[[], None]]:
        return self._database.sync if self._is_synced(sync) else None

    async def aget(self, key: Key, default: Any = None) -> Any:
        """:meth:`get` without blocking the event loop. Calls of one turn of the loop share a thread's turn."""
        return await self._database._aio.call(self.get, key, default)

    async def aput(
        self,
        key: Key,
        value: V,
        *,
        sync: Optional[bool] = None,
        expect: Optional[Expectation] = None,
        ttl: Optional[Seconds] = None,
        expires_at: Optional[Moment] = None,
    ) -> Written:
        """:meth:`put` without blocking the event loop. One sync serves all calls of one turn of the loop."""

        def put() -> Written:
            return self.put(key, value, sync=False, expect=expect, ttl=ttl, expires_at=expires_at)

        return await self._database._aio.call(put, sync=self._sync_later(sync))

    async def adelete(
        self, key: Key, *, sync: Optional[bool] = None, expect: Optional[Expectation] = None
    ) -> Optional[Written]:
        """:meth:`delete` without blocking the event loop."""
        call = self._database._aio.call
        return await call(lambda: self.delete(key, sync=False, expect=expect), sync=self._sync_later(sync))

    async def aget_many(self, keys: Iterable[Key], default: Any = None) -> List[Any]:
        """:meth:`get_many` without blocking the event loop."""
        return await self._database._aio.call(self.get_many, list(keys), default)

    def aput_many(
        self, items: Union[Mapping[Any, V], Iterable[Tuple[Any, V]]], *, sync: Optional[bool] = None
    ) -> Coroutine[Any, Any, int]:
        """:meth:`put_many` without blocking the event loop. Of what has a length, the pairs are those that are there when it is
        called; an iterator is read on the thread of the loop, a thousand pairs at a time. Tables, snapshots and scans of
        this package are neither copied nor read there."""
        # Here, as a coroutine does nothing before it is awaited, and the caller may go on with the list until then.
        known = items if _is_own(items) else _copied(items)
        return self._aput_many(known, None if known is not None else iter(items), sync)

    async def _aput_many(self, known: Any, pairs: Any, sync: Optional[bool]) -> int:
        call, sync_later = self._database._aio.call, self._sync_later(sync)
        if known is not None:
            return await call(lambda: self.put_many(known, sync=False), sync=sync_later)
        count, is_last = 0, False
        while not is_last:
            piece = list(islice(pairs, _PIECE))
            is_last = len(piece) < _PIECE
            count += await call(lambda piece: self.put_many(piece, sync=False), piece, sync=sync_later if is_last else None)
        return count

    async def ascan(self, *, part: str = "items", **arguments: Any) -> AsyncIterator[Any]:
        """:meth:`scan` for ``async for``, without blocking the event loop."""
        call = self._database._aio.call
        chunks = await call(self._chunks, part, scan_arguments(**arguments))
        while True:
            chunk = await call(next, chunks, None)
            if chunk is None:
                return
            for found in chunk:
                yield found


#: How many pairs of an iterator are stored by one call of :meth:`Table.aput_many`: the loop waits while they are read.
_PIECE = 1024


def _is_own(items: Any) -> bool:
    """Whether any thread may read the pairs, which are of one moment by themselves."""
    from ._transaction import TableInSnapshot

    return isinstance(getattr(items, "_mapping", items), (Table, TableInSnapshot, Scan))


def _copied(items: Any) -> Any:
    """A copy of pairs, or of a mapping, that nobody changes while another thread reads it; ``None`` of an iterator, which may
    have no end."""
    if hasattr(items, "keys"):
        return dict(items)
    return list(items) if hasattr(items, "__len__") else None


def _told(progress: Optional[Callable[..., Any]]) -> Optional[Callable[..., Any]]:
    """A callback that is called with the four numbers of a :class:`Progress`."""
    from ._types import Progress

    if progress is None:
        return None
    if not callable(progress):
        raise TypeError(f"progress must be callable, not {type(progress).__name__}")
    return lambda *numbers: progress(Progress(*numbers))


class _Missing:
    pass


_MISSING = _Missing()

from . import _errors  # noqa: E402
from ._services import _json_dumps  # noqa: E402
