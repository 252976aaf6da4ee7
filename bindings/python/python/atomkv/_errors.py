"""Exceptions. Each is an :class:`AtomKVError` and, where there is one, the built-in exception that people catch."""

from __future__ import annotations

import errno as _errno
from typing import Optional

from ._atomkv import Written


class AtomKVError(Exception):
    """Anything that AtomKV reports; the text says what happened and what to do."""


class ClosedError(AtomKVError, ValueError):
    """The database, snapshot, transaction, watch or stream was closed."""


class ForkedError(AtomKVError, RuntimeError):
    """The process was forked after the database was opened; open databases after the fork."""


class LockedError(AtomKVError, BlockingIOError):
    """The directory is open in another process, or in this one already."""

    path: str
    pid: Optional[int]


class LockTimeoutError(LockedError, TimeoutError):
    """The directory was still open elsewhere when the time to wait was over."""


class NotADatabaseError(AtomKVError, OSError):
    """The path is no database, and no empty or missing directory that could become one."""

    path: str


class CorruptError(AtomKVError, OSError):
    """Stored bytes are damaged. They are never returned as data."""

    path: str
    offset: int


class NewerFormatError(AtomKVError, OSError):
    """A file was written by a newer release."""

    path: str


class InvalidKeyError(AtomKVError, ValueError):
    """The table does not take this key."""


class KeyEmptyError(InvalidKeyError):
    """Keys have 1 to 65,535 bytes; an empty one was given."""


class KeyTooLongError(InvalidKeyError):
    """Keys have 1 to 65,535 bytes; a longer one was given."""


class ValueTooLargeError(AtomKVError, ValueError):
    """Values have up to 2,147,483,647 bytes; streams up to 1 TiB."""


class InvalidArgumentError(AtomKVError, ValueError):
    """An argument or a setting is out of its range."""


class TableNotFoundError(AtomKVError, KeyError):
    """There is no table of that name."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class TableMismatchError(AtomKVError, ValueError):
    """The table exists with other settings."""


class ServicesMismatchError(AtomKVError, ValueError):
    """The table was created with another serializer, hasher, sharder, validator or compressor."""


class ConflictError(AtomKVError, RuntimeError):
    """A write found something else than it expected, or what a transaction has read has changed. Nothing was written."""

    table: str
    key: bytes
    #: What is there; ``None`` if the key is not.
    found: Optional[Written]


class VersionNotFoundError(AtomKVError, KeyError):
    """The key never had this version."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class VersionCompactedError(AtomKVError, KeyError):
    """The version is not kept any more."""

    oldest: int

    def __str__(self) -> str:
        return Exception.__str__(self)


class ReadOnlyError(AtomKVError, PermissionError):
    """The database was opened for reading, or an I/O error has ended writing until it is opened again."""


class NoSpaceError(AtomKVError, OSError):
    """The disk is full. Nothing was written; reads, deletes and compaction still work."""

    path: str

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.errno: Optional[int] = _errno.ENOSPC


class TooManySegmentsError(AtomKVError, OSError):
    """The database has as many files as it can hold; compact it."""


class StorageError(AtomKVError, OSError):
    """The operating system refused an operation; ``errno`` says why, if it told."""

    path: str


class CompactedError(AtomKVError, LookupError):
    """A watch wants changes that the log does not hold any more. Read the present state (``state_first=True``)."""

    oldest: int


class WatchTimeoutError(AtomKVError, TimeoutError):
    """No change has come in time."""


class DocumentError(AtomKVError, ValueError):
    """A serializer or a compressor failed on a document."""


class MergeError(AtomKVError, ValueError):
    """A merge operator cannot be applied to the value that is there, which stays."""


class AlreadyExistsError(AtomKVError, FileExistsError):
    """What a call would make is there already."""

    path: str


class InputError(AtomKVError, ValueError):
    """Data to be imported or restored is not as it should be."""

    record: int
    offset: int


class OperationCancelledError(AtomKVError):
    """A progress callback has returned ``False``."""


class InternalError(AtomKVError, RuntimeError):
    """A defect in the engine; please report it."""


class PickleWarning(UserWarning):
    """A table is opened with the ``pickle`` serializer: whoever can write to it can run code in this process."""
