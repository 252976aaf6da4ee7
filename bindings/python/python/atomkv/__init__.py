"""AtomKV: an embedded key-value database. Nothing that was acknowledged is lost to ``kill -9``.

>>> import atomkv, tempfile
>>> directory = tempfile.TemporaryDirectory()
>>> path = directory.name + "/data"
>>> with atomkv.open(path) as db:
...     users = db["users"]
...     users["ada"] = "countess"
...     print(users["ada"], users.get("alan"))
b'countess' None

Documents instead of bytes, like ``shelve``, in two lines:

>>> with atomkv.open(path) as db:
...     people = db.table("people", serializer="json", text_keys=True)
...     people["ada"] = {"born": 1815}
>>> directory.cleanup()
"""

from __future__ import annotations

from ._atomkv import (
    KEY_BYTES_MAX,
    PARTITIONS_MAX,
    VALUE_BYTES_MAX,
    Scan,
    Written,
    __version__,
    key_space_v1_page,
)
from ._database import Database, memory, open, restore, salvage, verify
from ._errors import (
    AlreadyExistsError,
    AtomKVError,
    ClosedError,
    CompactedError,
    ConflictError,
    CorruptError,
    DocumentError,
    ForkedError,
    InputError,
    InternalError,
    InvalidArgumentError,
    InvalidKeyError,
    KeyEmptyError,
    KeyTooLongError,
    LockedError,
    LockTimeoutError,
    MergeError,
    NewerFormatError,
    NoSpaceError,
    NotADatabaseError,
    OperationCancelledError,
    PickleWarning,
    ReadOnlyError,
    ServicesMismatchError,
    StorageError,
    TableMismatchError,
    TableNotFoundError,
    TooManySegmentsError,
    ValueTooLargeError,
    VersionCompactedError,
    VersionNotFoundError,
    WatchTimeoutError,
)
from ._progress import Tracked, bar, tracked
from ._services import Compressor, Hasher, Serializer, Sharder, Validator
from ._table import Table
from ._transaction import Batch, Snapshot, Transaction
from ._types import (
    BackupReport,
    Change,
    CompactionReport,
    Damage,
    Entry,
    LostKey,
    Progress,
    ResizeReport,
    RestoreReport,
    SalvageReport,
    ScanArguments,
    TransferReport,
    VerifyReport,
    Version,
)
from ._watch import Watch

__all__ = [
    "AlreadyExistsError",
    "AtomKVError",
    "BackupReport",
    "Batch",
    "Change",
    "ClosedError",
    "CompactedError",
    "CompactionReport",
    "Compressor",
    "ConflictError",
    "CorruptError",
    "Damage",
    "Database",
    "DocumentError",
    "Entry",
    "ForkedError",
    "Hasher",
    "InputError",
    "InternalError",
    "InvalidArgumentError",
    "InvalidKeyError",
    "KEY_BYTES_MAX",
    "KeyEmptyError",
    "KeyTooLongError",
    "LockTimeoutError",
    "LockedError",
    "LostKey",
    "MergeError",
    "NewerFormatError",
    "NoSpaceError",
    "NotADatabaseError",
    "OperationCancelledError",
    "PARTITIONS_MAX",
    "PickleWarning",
    "Progress",
    "ReadOnlyError",
    "ResizeReport",
    "RestoreReport",
    "SalvageReport",
    "Scan",
    "ScanArguments",
    "Serializer",
    "ServicesMismatchError",
    "Sharder",
    "Snapshot",
    "StorageError",
    "Table",
    "TableMismatchError",
    "TableNotFoundError",
    "TooManySegmentsError",
    "Tracked",
    "Transaction",
    "TransferReport",
    "VALUE_BYTES_MAX",
    "Validator",
    "ValueTooLargeError",
    "VerifyReport",
    "Version",
    "VersionCompactedError",
    "VersionNotFoundError",
    "Watch",
    "WatchTimeoutError",
    "Written",
    "__version__",
    "bar",
    "key_space_v1_page",
    "memory",
    "open",
    "restore",
    "salvage",
    "tracked",
    "verify",
]
