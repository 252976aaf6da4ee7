"""Batches, transactions and snapshots."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Iterable, Iterator, List, Optional, Tuple, TypeVar
import io

from . import _atomkv
from ._atomkv import Scan
from ._errors import ConflictError
from ._stream import Reader
from ._table import Table
from ._types import ALL, Entry, Key, scan_arguments

if TYPE_CHECKING:
    from ._database import Database

K = TypeVar("K")
V = TypeVar("V")

#: How often a transaction is tried.
ATTEMPTS = 64
# Between attempts it waits for a random time below a bound that doubles, so that those who met part.
_BACK_OFF = 20e-6
_BACK_OFF_MAX = 20e-3


def back_off(attempt: int) -> None:
    """Waits after the attempt with this number, from 0."""
    time.sleep(random.uniform(0, min(_BACK_OFF * 2 ** min(attempt, 16), _BACK_OFF_MAX)))


class Batch(_atomkv.Batch):
    """Puts, deletes and conditions over any tables of a database, applied together or not at all when the ``with``
    block ends; not if it raises. All conditions are checked first. Of several operations on one key the last holds.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     accounts = db["accounts"]
    ...     with db.batch() as batch:
    ...         batch.expect(accounts, "frozen", "absent")
    ...         batch.put(accounts, "alice", "90")
    ...         batch.put(accounts, "bob", "110")
    ...     sorted(accounts.items())
    [(b'alice', b'90'), (b'bob', b'110')]
    """

    #: The sequence of the commit, after the ``with`` block.
    sequence: Optional[int] = None
    _sync: bool = False

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is not None:
            self.clear()
        elif len(self):
            self.sequence = self.apply(sync=self._sync)

    def __repr__(self) -> str:
        return f"<atomkv.Batch of {len(self)} operations>"


class Transaction(_atomkv.Transaction):
    """An optimistic transaction over any tables of a database: it reads the database as it was when it began, and its
    own writes. The ``with`` block commits at its end, unless it raises; :class:`ConflictError` if others have changed what it
    has read. ``transaction[table]`` is the table as the transaction sees it, a mutable mapping.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     accounts = db["accounts"]
    ...     accounts["alice"] = "100"
    ...     with db.transaction() as t:
    ...         money = t[accounts].pop("alice")
    ...         t.put(accounts, "bob", money)
    ...     dict(accounts)
    {b'bob': b'100'}
    """

    def __init__(self, database: "_atomkv.Database") -> None:
        # Keeps the database open.
        self._database = database

    _sync: bool = False
    #: Set by :meth:`Database.attempts`: a conflict at the end of the block is kept, for the next attempt.
    _keeps_conflict: bool = False
    conflict: Optional[ConflictError] = None
    #: The sequence of the commit, after the ``with`` block; ``None`` if nothing was written.
    committed: Optional[int] = None

    def __getitem__(self, table: Table[K, V]) -> "TableInTransaction[K, V]":
        return TableInTransaction(self, table)

    def scan(
        self,
        table: Table[Any, Any],
        start: Optional[Key] = None,
        stop: Optional[Key] = None,
        *,
        prefix: Optional[Key] = None,
        contains: Optional[Key] = None,
        glob: Optional[Key] = None,
        reverse: bool = False,
        limit: Optional[int] = None,
        part: str = "items",
    ) -> List[Any]:
        """As :meth:`Table.scan`, its own writes among them, as a list. That nobody else adds, changes or removes a key in what was
        scanned is a part of what the commit checks."""
        return self._scan(table, part, scan_arguments(start, stop, prefix, contains, glob, reverse, limit))

    def __enter__(self) -> "Transaction":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        if kind is not None:
            self.abort()
            if self._keeps_conflict and isinstance(error, ConflictError):
                self.conflict = error
                return True
            return False
        if self.is_open:
            try:
                self.committed = self.commit(sync=self._sync)
            except ConflictError as conflict:
                if not self._keeps_conflict:
                    raise
                self.conflict = conflict
        return False

    def __repr__(self) -> str:
        return f"<atomkv.Transaction at {self.sequence}, {'open' if self.is_open else 'ended'}>"


class TableInTransaction(MutableMapping[K, V], Generic[K, V]):
    """A table as a transaction sees it."""

    __slots__ = ("_transaction", "_table")

    def __init__(self, transaction: Transaction, table: Table[K, V]) -> None:
        self._transaction = transaction
        self._table = table

    def __getitem__(self, key: Any) -> V:
        value = self._transaction.get(self._table, key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def get(self, key: Any, default: Any = None) -> Any:
        return self._transaction.get(self._table, key, default)

    def __contains__(self, key: object) -> bool:
        return self._transaction.contains(self._table, key)  # type: ignore[arg-type]

    def __setitem__(self, key: Any, value: V) -> None:
        self._transaction.put(self._table, key, value)

    def __delitem__(self, key: Any) -> None:
        if not self._transaction.contains(self._table, key):
            raise KeyError(key)
        self._transaction.delete(self._table, key)

    def __iter__(self) -> Iterator[K]:
        return iter(self._transaction.scan(self._table, part="keys"))

    def __len__(self) -> int:
        return len(self._transaction.scan(self._table, part="keys"))

    # Those of MutableMapping would scan the table again for each key.

    def popitem(self) -> Tuple[K, V]:
        """Removes some key, the first if the table is ordered, and returns it with its value; ``KeyError`` if there is none."""
        for key, value in self._transaction.scan(self._table, limit=1):
            self._transaction.delete(self._table, key)
            return key, value
        raise KeyError("popitem(): the table is empty")

    def clear(self) -> None:
        """Removes every key."""
        for key in self:
            self._transaction.delete(self._table, key)  # type: ignore[arg-type]

    def scan(self, *arguments: Any, **named: Any) -> List[Any]:
        """:meth:`Transaction.scan` of this table."""
        return self._transaction.scan(self._table, *arguments, **named)

    def __repr__(self) -> str:
        return f"<{self._table.name!r} in {self._transaction!r}>"


class Snapshot(_atomkv.Snapshot):
    """The whole database as of one moment, whatever is written meanwhile. ``snapshot[table]`` is a table as it was then, a
    mapping. A context manager: what only the snapshot sees takes space until it is released.

    >>> import atomkv
    >>> with atomkv.memory() as db:
    ...     users = db["users"]
    ...     users["ada"] = "countess"
    ...     with db.snapshot() as before:
    ...         users["ada"] = "programmer"
    ...         before[users]["ada"], users["ada"]
    (b'countess', b'programmer')
    """

    def __init__(self, database: "_atomkv.Database") -> None:
        # Keeps the database open.
        self._database = database

    def __getitem__(self, table: Table[K, V]) -> "TableInSnapshot[K, V]":
        return TableInSnapshot(self, table)

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<atomkv.Snapshot at {self.sequence}>"


class TableInSnapshot(Mapping[K, V], Generic[K, V]):
    """A table as a snapshot sees it."""

    __slots__ = ("_snapshot", "_table")

    def __init__(self, snapshot: Snapshot, table: Table[K, V]) -> None:
        self._snapshot = snapshot
        self._table = table

    def __getitem__(self, key: Any) -> V:
        value = self._snapshot.get_value(self._table, key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def get(self, key: Any, default: Any = None) -> Any:
        return self._snapshot.get_value(self._table, key, default)

    def __contains__(self, key: object) -> bool:
        return self._snapshot.contains(self._table, key)  # type: ignore[arg-type]

    def get_entry(self, key: Key) -> Optional[Entry[V]]:
        """As :meth:`Table.get_entry`."""
        found = self._snapshot.entry(self._table, key)
        return None if found is None else Entry(*found)

    def get_many(self, keys: Iterable[Key], default: Any = None) -> List[Any]:
        """As :meth:`Table.get_many`, all as of one moment."""
        return self._snapshot.get_many(self._table, keys, default)

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
        """As :meth:`Table.scan`."""
        arguments = scan_arguments(start, stop, prefix, contains, glob, reverse, limit, after, paged)
        return self._snapshot.scan(self._table, part, arguments)

    def stream(self, key: Key) -> BinaryIO:
        """As :meth:`Table.stream`, for reading."""
        reader = self._snapshot.read_stream(self._table, key)
        if reader is None:
            raise KeyError(key)
        return io.BufferedReader(Reader(reader), 1 << 16)

    def __iter__(self) -> Iterator[K]:
        return self._snapshot.scan(self._table, "keys", ALL)

    def __len__(self) -> int:
        """Counts the keys, one by one."""
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{self._table.name!r} in {self._snapshot!r}>"


class _Missing:
    pass


_MISSING: Any = _Missing()
