"""A tour of AtomKV through Python's ctypes: put, get, scan, a transaction, an error. usage: tour.py DIRECTORY

The idiom: each handle is an object that is a context manager, so that `with` frees it at a known moment; __del__ is the
net below for those that are forgotten. Garbage is collected in any order and on any thread, which the library allows:
a table, an iterator or a transaction keeps its database alive.

ctypes turns integers into pointers of 64 bits only if argtypes say so; without them a handle is cut to 32 bits and the
program dies. Hence every function is declared. Each call lets other Python threads run meanwhile.
"""

import ctypes
import os
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_void_p, string_at

OK, NOT_FOUND, DONE = 0, 1, 2
CONFLICT = -22
DURABILITY_BUFFERED = 1


class Bytes(Structure):
    """atomkv_buffer, which the caller frees, and atomkv_slice, which belongs to the library: both look like this."""

    _fields_ = [("data", c_void_p), ("size", c_size_t)]

    def copy(self):
        return string_at(self.data, self.size)


def load():
    library = ctypes.CDLL(os.environ.get("ATOMKV_LIBRARY", "libatomkv.so.0"))
    handle, out, key = c_void_p, POINTER(c_void_p), [c_char_p, c_size_t]
    declarations = {
        "abi_version": (c_uint32, []),
        "status_name": (c_char_p, [c_int32]),
        "last_error": (c_char_p, []),
        "error_status": (c_int32, [handle]),
        "error_message": (c_char_p, [handle]),
        "error_path": (c_char_p, [handle]),
        "error_table": (c_char_p, [handle]),
        "error_free": (None, [handle]),
        "open": (c_int32, [c_char_p, handle, out, out]),
        "close": (c_int32, [handle, out]),
        "db_free": (None, [handle]),
        "table_options_new": (handle, []),
        "table_options_set_ordered": (c_int32, [handle, c_int]),
        "table_options_free": (None, [handle]),
        "table_open": (c_int32, [handle, c_char_p, handle, out, out]),
        "table_free": (None, [handle]),
        "put": (c_int32, [handle, *key, *key, handle]),
        "get": (c_int32, [handle, *key, c_void_p, c_size_t, POINTER(c_size_t)]),
        "get_owned": (c_int32, [handle, *key, POINTER(Bytes)]),
        "contains": (c_int32, [handle, *key]),
        "free": (None, [c_void_p]),
        "scan_options_new": (handle, []),
        "scan_options_set_prefix": (c_int32, [handle, *key]),
        "scan_options_free": (None, [handle]),
        "iter_new": (c_int32, [handle, handle, out]),
        "iter_next_many": (
            c_int32,
            [handle, handle, c_size_t, c_size_t, POINTER(Bytes), POINTER(Bytes), handle, POINTER(c_size_t)],
        ),
        "iter_free": (None, [handle]),
        "arena_new": (handle, []),
        "arena_free": (None, [handle]),
        "txn_begin": (c_int32, [handle, out, out]),
        "txn_get_owned": (c_int32, [handle, handle, *key, POINTER(Bytes)]),
        "txn_put": (c_int32, [handle, handle, *key, *key, handle]),
        "txn_commit": (c_int32, [handle, c_int32, c_void_p, out]),
        "txn_free": (None, [handle]),
    }
    for name, (result, arguments) in declarations.items():
        function = getattr(library, "atomkv_" + name)
        function.restype, function.argtypes = result, arguments
    return library


lib = load()


class AtomKVError(Exception):
    """A negative status. `path` and `table` are None where the error concerns none."""

    def __init__(self, status, message, path=None, table=None):
        super().__init__(message)
        self.status, self.path, self.table = status, path, table
        self.name = lib.atomkv_status_name(status).decode()


def check(status, error=None):
    """Raises what a status, or the error object that came with it, has to say; gives positive statuses back."""
    if status >= 0:
        return status
    if not error:
        # The message of this thread's last error: read it before any other call.
        raise AtomKVError(status, lib.atomkv_last_error().decode())
    try:
        path, table = lib.atomkv_error_path(error), lib.atomkv_error_table(error)
        raise AtomKVError(
            lib.atomkv_error_status(error),
            lib.atomkv_error_message(error).decode(),
            os.fsdecode(path) if path else None,
            table.decode() if table else None,
        )
    finally:
        lib.atomkv_error_free(error)


class Handle:
    """Owns a pointer and frees it once."""

    def __init__(self, pointer, free):
        self.pointer, self._free = pointer, free

    def free(self):
        pointer, self.pointer = self.pointer, None
        if pointer:
            self._free(pointer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.free()

    __del__ = free

    @property
    def _as_parameter_(self):
        return c_void_p(self.pointer)


def created(free, function, *arguments):
    """Calls a function whose last parameters are the new handle and the error."""
    pointer, error = c_void_p(), c_void_p()
    check(function(*arguments, byref(pointer), byref(error)), error)
    return Handle(pointer.value, free)


def take(buffer):
    """The bytes of an atomkv_buffer, which is freed."""
    try:
        return buffer.copy()
    finally:
        lib.atomkv_free(buffer.data)


def open_database(directory):
    return created(lib.atomkv_db_free, lib.atomkv_open, os.fsencode(directory), None)


def open_table(db, name, ordered=False):
    with Handle(lib.atomkv_table_options_new(), lib.atomkv_table_options_free) as options:
        check(lib.atomkv_table_options_set_ordered(options, ordered))
        return created(lib.atomkv_table_free, lib.atomkv_table_open, db, name.encode(), options)


def put(table, key, value):
    check(lib.atomkv_put(table, key, len(key), value, len(value), None))


def get(table, key):
    """First way to read: into a buffer of ours."""
    buffer, size = ctypes.create_string_buffer(64), c_size_t()
    if check(lib.atomkv_get(table, key, len(key), buffer, len(buffer), byref(size))) == NOT_FOUND:
        return None
    return buffer.raw[: size.value]


def get_owned(table, key):
    """Second way: into memory of the library's, copied and given back at once. Good for values of any size."""
    value = Bytes()
    if check(lib.atomkv_get_owned(table, key, len(key), byref(value))) == NOT_FOUND:
        return None
    return take(value)


def scan(table, prefix, page=256):
    """A generator. A call through ctypes costs as much as many keys do, so it takes a page of them at a time."""
    pointer = c_void_p()
    with Handle(lib.atomkv_scan_options_new(), lib.atomkv_scan_options_free) as options:
        check(lib.atomkv_scan_options_set_prefix(options, prefix, len(prefix)))
        check(lib.atomkv_iter_new(table, options, byref(pointer)))
    keys, values, found = (Bytes * page)(), (Bytes * page)(), c_size_t()
    with Handle(pointer.value, lib.atomkv_iter_free) as rows, Handle(lib.atomkv_arena_new(), lib.atomkv_arena_free) as arena:
        while check(lib.atomkv_iter_next_many(rows, arena, page, 0, keys, values, None, byref(found))) != DONE:
            for at in range(found.value):
                # Copies: the arena is filled anew by the next call.
                yield keys[at].copy(), values[at].copy()


def deposit(db, accounts, amount):
    """Adds to a balance. What was read may have changed by the time of the commit; then all of it is done anew, from the
    reading on. The first time somebody else gets in between, so that there is a conflict to be seen."""
    attempt = 0
    while True:
        attempt += 1
        with created(lib.atomkv_txn_free, lib.atomkv_txn_begin, db) as txn:
            value, error = Bytes(), c_void_p()
            check(lib.atomkv_txn_get_owned(txn, accounts, b"balance", 7, byref(value)))
            changed = b"%d" % (int(take(value)) + amount)
            if attempt == 1:
                put(accounts, b"balance", b"110")
            check(lib.atomkv_txn_put(txn, accounts, b"balance", 7, changed, len(changed), None))
            try:
                check(lib.atomkv_txn_commit(txn, DURABILITY_BUFFERED, None, byref(error)), error)
            except AtomKVError as conflict:
                if conflict.status != CONFLICT:
                    raise
                print(f"attempt {attempt}: {conflict.name} in table {conflict.table}")
            else:
                print(f"attempt {attempt}: {lib.atomkv_status_name(OK).decode()}")
                return


def main(directory):
    print("ABI:", lib.atomkv_abi_version())
    with open_database(directory) as db:
        # Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
        with open_table(db, "users", ordered=True) as users, open_table(db, "accounts") as accounts:
            put(users, b"user:alan", b"logician")
            put(users, b"user:ada", b"countess")
            put(users, b"user:grace", b"admiral")
            put(users, b"group:all", b"3")
            value = get(users, b"user:ada")
            print(f"get: {value.decode()} ({len(value)} bytes)")
            print("owned:", get_owned(users, b"user:alan").decode())
            print("missing:", lib.atomkv_status_name(lib.atomkv_contains(users, b"user:nobody", 11)).decode())
            for key, value in scan(users, b"user:"):
                print(f"scan: {key.decode()} = {value.decode()}")
            put(accounts, b"balance", b"100")
            deposit(db, accounts, 5)
            print("balance:", get_owned(accounts, b"balance").decode())
            try:
                open_database(directory)
            except AtomKVError as error:
                print(f"error: {error.name} ({error.status})")
                print("message:", error)
                print("path:", error.path)
        # Freeing closes too, but only closing can say that the last sync failed.
        error = c_void_p()
        check(lib.atomkv_close(db, byref(error)), error)
        print("closed")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tour.py DIRECTORY")
    try:
        main(sys.argv[1])
    except AtomKVError as failure:
        sys.exit(f"{failure.name}: {failure}")
