"""What calls return."""

from __future__ import annotations

import builtins
from datetime import datetime, timedelta, timezone
from typing import Any, Generic, List, NamedTuple, Optional, Protocol, Tuple, TypeVar, Union

from ._atomkv import Written

V = TypeVar("V")

#: What may be given as a key: ``str`` stands for its UTF-8 form.
Key = Union[str, bytes, bytearray, memoryview]


class HasSequence(Protocol):
    """Anything that says which commit it is of, such as :class:`Written` and :class:`Entry`."""

    @property
    def sequence(self) -> int: ...


#: What a write may expect: ``"absent"``, ``"present"``, a version number, or what a write or ``get_entry`` has returned.
Expectation = Union[str, int, HasSequence]
#: Seconds or a ``timedelta``.
Seconds = Union[int, float, timedelta]
#: An aware ``datetime``, or seconds since the Unix epoch.
Moment = Union[int, float, datetime]


#: The last millisecond of the year 9999.
_LAST_MS = 253_402_300_799_999


def _moment(time_ms: Optional[int]) -> Optional[datetime]:
    if time_ms is None:
        return None
    if time_ms > _LAST_MS:
        # A long ttl, or another language, may say so.
        return datetime.max.replace(tzinfo=timezone.utc)
    return datetime.fromtimestamp(time_ms / 1000, timezone.utc)


class Entry(Generic[V]):
    """A value with what is known of it. ``time_ms`` and ``expires_at_ms`` are milliseconds since the Unix epoch."""

    __slots__ = ("value", "version", "sequence", "time_ms", "expires_at_ms")

    def __init__(self, value: V, version: int, sequence: int, time_ms: int, expires_at_ms: Optional[int]) -> None:
        self.value: V = value
        self.version: int = version
        self.sequence: int = sequence
        self.time_ms: int = time_ms
        self.expires_at_ms: Optional[int] = expires_at_ms

    @property
    def written(self) -> Written:
        """The token of compare-and-set."""
        return Written(self.version, self.sequence)

    @property
    def time(self) -> datetime:
        """When it was written."""
        return datetime.fromtimestamp(self.time_ms / 1000, timezone.utc)

    @property
    def expires_at(self) -> Optional[datetime]:
        """When it expires; ``None`` for never."""
        return _moment(self.expires_at_ms)

    def _key(self) -> Tuple[Any, ...]:
        return (self.value, self.version, self.sequence, self.time_ms, self.expires_at_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry) or type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.version, self.sequence))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value!r}, version={self.version}, sequence={self.sequence})"


class Version(Entry[Optional[V]]):
    """A version of a key; its value is ``None`` where the key was deleted. ``is_tombstone`` is whether it was, which tells it from
    a document that is ``None``."""

    __slots__ = ("is_tombstone",)

    def __init__(
        self,
        value: Optional[V],
        version: int,
        sequence: int,
        time_ms: int,
        expires_at_ms: Optional[int],
        is_tombstone: bool,
    ) -> None:
        super().__init__(value, version, sequence, time_ms, expires_at_ms)
        self.is_tombstone: bool = is_tombstone

    def _key(self) -> Tuple[Any, ...]:
        return (*super()._key(), self.is_tombstone)


class Change(NamedTuple):
    """A change that was committed."""

    table: str
    key: Any
    #: ``"put"``, ``"delete"``, or ``"state"`` for what was there when a watch with ``state_first`` began.
    kind: str
    #: ``None`` for a delete, and for a large value that was replaced since (``superseded``).
    value: Any
    superseded: bool
    version: int
    sequence: int
    time_ms: int
    expires_at_ms: Optional[int]
    #: Whether no other change of this commit follows.
    last_of_commit: bool

    @property
    def time(self) -> datetime:
        """When it was committed."""
        return datetime.fromtimestamp(self.time_ms / 1000, timezone.utc)

    @property
    def expires_at(self) -> Optional[datetime]:
        """When the value expires; ``None`` for never."""
        return _moment(self.expires_at_ms)


class Progress(NamedTuple):
    """How far a long call is."""

    #: Bytes dealt with.
    bytes: int
    #: How many there will be; 0 if nobody knows.
    bytes_total: int
    #: Records dealt with.
    records: int
    #: Seconds since the call began.
    elapsed: float


class Damage(NamedTuple):
    """Something in a file that is not as it was written."""

    path: str
    offset: int
    detail: str
    table: Optional[str]
    key: Optional[bytes]


class LostKey(NamedTuple):
    """A document that salvaging has found lost, older than it was, or not readable."""

    path: str
    offset: int
    reason: str
    table: Optional[str]
    key: Optional[bytes]


class CompactionReport(NamedTuple):
    """What a compaction has done."""

    segments_removed: int
    segments_written: int
    records_moved: int
    segments_damaged: int
    bytes_before: int
    bytes_after: int


class ResizeReport(NamedTuple):
    """What a resize has done."""

    partitions_before: int
    partitions: int
    subtables_shared: int
    entries_copied: int
    bytes_written: int
    elapsed_us: int
    writers_waited_us: int


class BackupReport(NamedTuple):
    """What a backup has done."""

    sequence: int
    files: int
    files_kept: int
    files_linked: int
    bytes: int
    bytes_copied: int
    elapsed_us: int


class RestoreReport(NamedTuple):
    """What a restore has done."""

    sequence: int
    taken_ms: int
    files: int
    bytes: int
    elapsed_us: int


class TransferReport(NamedTuple):
    """What an export or import has done."""

    records: int
    bytes: int
    existing: int
    malformed: int
    expired: int
    too_large: int
    elapsed_us: int
    #: Records and bytes; an import goes on from here with ``resume``.
    position: Tuple[int, int]
    last_key: Optional[builtins.bytes]
    page_token: Optional[builtins.bytes]


class VerifyReport(NamedTuple):
    """What verifying has found."""

    files: int
    records: int
    bytes: int
    keys: int
    damage_count: int
    damages: List[Damage]
    #: File, offset and bytes behind it, if the database was not closed; that is no damage.
    unclean_end: Optional[Tuple[str, int, int]]
    unnamed_files: List[str]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is damaged."""
        return self.damage_count == 0


class SalvageReport(NamedTuple):
    """What salvaging has found."""

    records: int
    bytes: int
    documents: int
    old_versions_left_out: int
    damage_count: int
    lost_count: int
    older_count: int
    undecodable_count: int
    manifest_found: bool
    damages: List[Damage]
    #: Names of the tables of the new database, and how many documents they have.
    tables: List[Tuple[str, int]]
    lost: List[LostKey]
    older: List[LostKey]
    undecodable: List[LostKey]


class ScanArguments(NamedTuple):
    """What the binding is told of a scan."""

    start: Optional[Key] = None
    stop: Optional[Key] = None
    prefix: Optional[Key] = None
    contains: Optional[Key] = None
    glob: Optional[Key] = None
    reverse: bool = False
    limit: Optional[int] = None
    after: Optional[bytes] = None
    paged: bool = False


def scan_arguments(
    start: Optional[Key] = None,
    stop: Optional[Key] = None,
    prefix: Optional[Key] = None,
    contains: Optional[Key] = None,
    glob: Optional[Key] = None,
    reverse: bool = False,
    limit: Optional[int] = None,
    after: Optional[bytes] = None,
    paged: bool = False,
) -> ScanArguments:
    """Checks what is not a key."""
    for name, flag in (("reverse", reverse), ("paged", paged)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} must be True or False, not {type(flag).__name__}")
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit must be an int, not {type(limit).__name__}")
        if limit < 0:
            raise ValueError(f"limit must not be negative, but is {limit}")
        limit = min(limit, (1 << 64) - 1)
    return ScanArguments(start, stop, prefix, contains, glob, reverse, limit, after, paged)


ALL = ScanArguments()
