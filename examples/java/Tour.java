// A tour of AtomKV through JNA: put, get, scan, a transaction, an error. usage: Tour DIRECTORY
//
// The idiom: a handle is AutoCloseable, so that try frees it at a known moment, and registered with a Cleaner, which frees
// those that are forgotten. Cleaners run in any order and on a thread of their own, which the library allows: a table, an
// iterator or a transaction keeps its database alive.
//
// Direct mapping (native methods and Native.register) is several times faster than an interface. JNA cannot pass size_t
// by that name: on 64-bit systems it is long. Slices and buffers are read from a Memory of 16 bytes, a pointer and a
// size, without the reflection that a Structure costs.

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.charset.StandardCharsets;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

public final class Tour {
    private static final int OK = 0, NOT_FOUND = 1, DONE = 2, CONFLICT = -22, DURABILITY_BUFFERED = 1;
    private static final int PAGE = 256, SLICE_BYTES = 16;

    static {
        String path = System.getenv("ATOMKV_LIBRARY");
        Native.register(Tour.class, path != null ? path : "libatomkv.so.0");
    }

    private static native int atomkv_abi_version();
    private static native Pointer atomkv_status_name(int status);
    private static native Pointer atomkv_last_error();
    private static native Pointer atomkv_error_message(Pointer error);
    private static native Pointer atomkv_error_path(Pointer error);
    private static native Pointer atomkv_error_table(Pointer error);
    private static native void atomkv_error_free(Pointer error);
    private static native int atomkv_open(byte[] path, Pointer options, PointerByReference db, PointerByReference error);
    private static native int atomkv_close(Pointer db, PointerByReference error);
    private static native void atomkv_db_free(Pointer db);
    private static native Pointer atomkv_table_options_new();
    private static native int atomkv_table_options_set_ordered(Pointer options, int yes);
    private static native void atomkv_table_options_free(Pointer options);
    private static native int atomkv_table_open(Pointer db, byte[] name, Pointer options, PointerByReference table,
        PointerByReference error);
    private static native void atomkv_table_free(Pointer table);
    private static native int atomkv_put(Pointer table, byte[] key, long keySize, byte[] value, long valueSize,
        Pointer written);
    private static native int atomkv_get(Pointer table, byte[] key, long keySize, byte[] buffer, long bufferSize,
        Pointer valueSize);
    private static native int atomkv_get_owned(Pointer table, byte[] key, long keySize, Pointer value);
    private static native int atomkv_contains(Pointer table, byte[] key, long keySize);
    private static native void atomkv_free(Pointer data);
    private static native Pointer atomkv_scan_options_new();
    private static native int atomkv_scan_options_set_prefix(Pointer options, byte[] prefix, long prefixSize);
    private static native void atomkv_scan_options_free(Pointer options);
    private static native int atomkv_iter_new(Pointer table, Pointer options, PointerByReference iter);
    private static native int atomkv_iter_next_many(Pointer iter, Pointer arena, long count, long bytes, Pointer keys,
        Pointer values, Pointer written, Pointer found);
    private static native void atomkv_iter_free(Pointer iter);
    private static native Pointer atomkv_arena_new();
    private static native void atomkv_arena_free(Pointer arena);
    private static native int atomkv_txn_begin(Pointer db, PointerByReference txn, PointerByReference error);
    private static native int atomkv_txn_get_owned(Pointer txn, Pointer table, byte[] key, long keySize, Pointer value);
    private static native int atomkv_txn_put(Pointer txn, Pointer table, byte[] key, long keySize, byte[] value,
        long valueSize, Pointer options);
    private static native int atomkv_txn_commit(Pointer txn, int how, Pointer sequence, PointerByReference error);
    private static native void atomkv_txn_free(Pointer txn);

    /** A negative status. The path and the table are null where the error concerns none. */
    static final class AtomKVException extends RuntimeException {
        private static final long serialVersionUID = 1;
        final int status;
        final String name, path, table;

        AtomKVException(int status, String message, String path, String table) {
            super(message);
            this.status = status;
            this.name = text(atomkv_status_name(status));
            this.path = path;
            this.table = table;
        }
    }

    /** Owns a pointer and frees it once. */
    static final class Handle implements AutoCloseable {
        private static final Cleaner CLEANER = Cleaner.create();
        private final Pointer pointer;
        private final Cleaner.Cleanable cleanable;

        Handle(Pointer pointer, Consumer<Pointer> free) {
            this.pointer = pointer;
            // The action must not refer to this object, or it would never be forgotten.
            this.cleanable = CLEANER.register(this, () -> free.accept(pointer));
        }

        @Override
        public void close() {
            cleanable.clean();
        }
    }

    private static String text(Pointer pointer) {
        return pointer == null ? null : pointer.getString(0, "UTF-8");
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** Gives a status that is no error back, and throws the others. */
    private static int check(int status) {
        // The message of this thread's last error: read before any other call.
        if (status < 0) throw new AtomKVException(status, text(atomkv_last_error()), null, null);
        return status;
    }

    private static int check(int status, PointerByReference error) {
        Pointer object = error.getValue();
        if (status >= 0 || object == null) return check(status);
        try {
            throw new AtomKVException(status, text(atomkv_error_message(object)), text(atomkv_error_path(object)),
                text(atomkv_error_table(object)));
        } finally {
            atomkv_error_free(object);
        }
    }

    private static Handle open(String directory) {
        PointerByReference db = new PointerByReference(), error = new PointerByReference();
        check(atomkv_open(utf8(directory + "\0"), null, db, error), error);
        return new Handle(db.getValue(), Tour::atomkv_db_free);
    }

    private static Handle openTable(Handle db, String name, boolean ordered) {
        try (Handle options = new Handle(atomkv_table_options_new(), Tour::atomkv_table_options_free)) {
            check(atomkv_table_options_set_ordered(options.pointer, ordered ? 1 : 0));
            PointerByReference table = new PointerByReference(), error = new PointerByReference();
            check(atomkv_table_open(db.pointer, utf8(name + "\0"), options.pointer, table, error), error);
            return new Handle(table.getValue(), Tour::atomkv_table_free);
        }
    }

    private static void put(Handle table, String key, String value) {
        byte[] k = utf8(key), v = utf8(value);
        check(atomkv_put(table.pointer, k, k.length, v, v.length, null));
        // Else the Cleaner might free a table during its last call, when nobody needs the object any more.
        Reference.reachabilityFence(table);
    }

    /** First way to read: into a buffer of ours, which JNA copies once more. */
    private static byte[] get(Handle table, String key) {
        byte[] k = utf8(key), buffer = new byte[64];
        Memory size = new Memory(8);
        int status = check(atomkv_get(table.pointer, k, k.length, buffer, buffer.length, size));
        Reference.reachabilityFence(table);
        return status == NOT_FOUND ? null : java.util.Arrays.copyOf(buffer, (int) size.getLong(0));
    }

    private static byte[] copy(Pointer slices, int at) {
        int size = Math.toIntExact(slices.getLong((long) at * SLICE_BYTES + 8));
        return size == 0 ? new byte[0] : slices.getPointer((long) at * SLICE_BYTES).getByteArray(0, size);
    }

    /** The bytes of an atomkv_buffer, which is freed. */
    private static byte[] take(Pointer buffer) {
        try {
            return copy(buffer, 0);
        } finally {
            atomkv_free(buffer.getPointer(0));
        }
    }

    /** Second way: into memory of the library's, copied and given back at once. Good for values of any size. */
    private static byte[] getOwned(Handle table, String key) {
        byte[] k = utf8(key);
        Memory value = new Memory(SLICE_BYTES);
        int status = check(atomkv_get_owned(table.pointer, k, k.length, value));
        Reference.reachabilityFence(table);
        return status == NOT_FOUND ? null : take(value);
    }

    /** A page of keys at a time, since a call costs as much as some keys do; the arena is filled anew by the next. */
    private static void scan(Handle table, String prefix, BiConsumer<byte[], byte[]> visit) {
        PointerByReference iter = new PointerByReference();
        byte[] p = utf8(prefix);
        try (Handle options = new Handle(atomkv_scan_options_new(), Tour::atomkv_scan_options_free)) {
            check(atomkv_scan_options_set_prefix(options.pointer, p, p.length));
            check(atomkv_iter_new(table.pointer, options.pointer, iter));
        }
        Memory keys = new Memory(PAGE * SLICE_BYTES), values = new Memory(PAGE * SLICE_BYTES), found = new Memory(8);
        try (Handle rows = new Handle(iter.getValue(), Tour::atomkv_iter_free);
             Handle arena = new Handle(atomkv_arena_new(), Tour::atomkv_arena_free)) {
            while (check(atomkv_iter_next_many(rows.pointer, arena.pointer, PAGE, 0, keys, values, null, found)) != DONE) {
                for (int at = 0; at < found.getLong(0); at++) visit.accept(copy(keys, at), copy(values, at));
            }
        }
    }

    /**
     * Adds to a balance. What was read may have changed by the time of the commit; then all of it is done anew, from the
     * reading on. The first time somebody else gets in between, so that there is a conflict to be seen.
     */
    private static void deposit(Handle db, Handle accounts, long amount) {
        byte[] key = utf8("balance");
        for (int attempt = 1;; attempt++) {
            PointerByReference begun = new PointerByReference(), error = new PointerByReference();
            check(atomkv_txn_begin(db.pointer, begun, error), error);
            try (Handle txn = new Handle(begun.getValue(), Tour::atomkv_txn_free)) {
                Memory value = new Memory(SLICE_BYTES);
                check(atomkv_txn_get_owned(txn.pointer, accounts.pointer, key, key.length, value));
                byte[] changed = utf8(Long.toString(Long.parseLong(text(take(value))) + amount));
                if (attempt == 1) put(accounts, "balance", "110");
                check(atomkv_txn_put(txn.pointer, accounts.pointer, key, key.length, changed, changed.length, null));
                check(atomkv_txn_commit(txn.pointer, DURABILITY_BUFFERED, null, error), error);
                System.out.println("attempt " + attempt + ": " + text(atomkv_status_name(OK)));
                return;
            } catch (AtomKVException conflict) {
                if (conflict.status != CONFLICT) throw conflict;
                System.out.println("attempt " + attempt + ": " + conflict.name + " in table " + conflict.table);
            }
        }
    }

    private static void tour(String directory) {
        System.out.println("ABI: " + atomkv_abi_version());
        // Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
        try (Handle db = open(directory);
             Handle users = openTable(db, "users", true);
             Handle accounts = openTable(db, "accounts", false)) {
            put(users, "user:alan", "logician");
            put(users, "user:ada", "countess");
            put(users, "user:grace", "admiral");
            put(users, "group:all", "3");
            byte[] value = get(users, "user:ada");
            System.out.println("get: " + text(value) + " (" + value.length + " bytes)");
            System.out.println("owned: " + text(getOwned(users, "user:alan")));
            byte[] nobody = utf8("user:nobody");
            System.out.println("missing: " + text(atomkv_status_name(atomkv_contains(users.pointer, nobody, nobody.length))));
            scan(users, "user:", (key, found) -> System.out.println("scan: " + text(key) + " = " + text(found)));

            put(accounts, "balance", "100");
            deposit(db, accounts, 5);
            System.out.println("balance: " + text(getOwned(accounts, "balance")));

            try {
                open(directory).close();
            } catch (AtomKVException failure) {
                System.out.println("error: " + failure.name + " (" + failure.status + ")");
                System.out.println("message: " + failure.getMessage());
                System.out.println("path: " + failure.path);
            }
            // Freeing closes too, but only closing can say that the last sync failed.
            PointerByReference error = new PointerByReference();
            check(atomkv_close(db.pointer, error), error);
            System.out.println("closed");
        }
    }

    public static void main(String[] arguments) {
        if (arguments.length != 1) {
            System.err.println("usage: Tour DIRECTORY");
            System.exit(2);
        }
        try {
            tour(arguments[0]);
        } catch (AtomKVException failure) {
            System.err.println(failure.name + ": " + failure.getMessage());
            System.exit(1);
        }
    }
}
