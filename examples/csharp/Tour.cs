// A tour of AtomKV through P/Invoke, on Mono or .NET: put, get, scan, a transaction, an error. usage: Tour.exe DIRECTORY
//
// The idiom: a SafeHandle for each kind of handle. `using` frees it at a known moment, its finalizer frees those that are
// forgotten, and the runtime keeps it alive during a call that it is passed to, so that no other thread can free it then.
// Finalizers run in any order and on a thread of their own, which the library allows: a table, an iterator or a
// transaction keeps its database alive.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

/// <summary>Owns a pointer; what is derived says how it is freed.</summary>
abstract class Handle : SafeHandle
{
    protected Handle() : base(IntPtr.Zero, true) { }
    public override bool IsInvalid { get { return handle == IntPtr.Zero; } }
    protected override bool ReleaseHandle() { Free(handle); return true; }
    protected abstract void Free(IntPtr pointer);
}

sealed class DatabaseHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_db_free(pointer); } }
sealed class TableHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_table_free(pointer); } }
sealed class TableOptionsHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_table_options_free(pointer); } }
sealed class ScanOptionsHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_scan_options_free(pointer); } }
sealed class IterHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_iter_free(pointer); } }
sealed class TransactionHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_txn_free(pointer); } }
sealed class ErrorHandle : Handle { protected override void Free(IntPtr pointer) { Native.atomkv_error_free(pointer); } }

/// <summary>atomkv_buffer, which the caller frees, and atomkv_slice, which belongs to the library: both look like this.</summary>
[StructLayout(LayoutKind.Sequential)]
struct Bytes
{
    public IntPtr Data;
    public UIntPtr Size;

    public byte[] Copy()
    {
        byte[] copy = new byte[checked((int)Size)];
        if (copy.Length > 0)
            Marshal.Copy(Data, copy, 0, copy.Length);
        return copy;
    }

    public byte[] Take()
    {
        byte[] copy = Copy();
        Native.atomkv_free(Data);
        return copy;
    }
}

/// <summary>
/// The functions. size_t is UIntPtr, a path or name is a byte array that ends in NUL, for .NET's own conversion of strings
/// depends on the platform. The runtime finds "atomkv" by its rules; Mono takes the path from a dllmap, see Tour.exe.config.
/// </summary>
static class Native
{
    const string Library = "atomkv";
    const CallingConvention C = CallingConvention.Cdecl;

    [DllImport(Library, CallingConvention = C)] public static extern uint atomkv_abi_version();
    [DllImport(Library, CallingConvention = C)] public static extern IntPtr atomkv_status_name(int status);
    [DllImport(Library, CallingConvention = C)] public static extern IntPtr atomkv_last_error();
    [DllImport(Library, CallingConvention = C)] public static extern IntPtr atomkv_error_message(ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern IntPtr atomkv_error_path(ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern IntPtr atomkv_error_table(ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_error_free(IntPtr error);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_open(byte[] path, IntPtr options, out DatabaseHandle db, out ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_close(DatabaseHandle db, out ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_db_free(IntPtr db);
    [DllImport(Library, CallingConvention = C)] public static extern TableOptionsHandle atomkv_table_options_new();
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_table_options_set_ordered(TableOptionsHandle options, int yes);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_table_options_free(IntPtr options);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_table_open(DatabaseHandle db, byte[] name, TableOptionsHandle options, out TableHandle table, out ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_table_free(IntPtr table);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_put(TableHandle table, byte[] key, UIntPtr keySize, byte[] value, UIntPtr valueSize, IntPtr written);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_get(TableHandle table, byte[] key, UIntPtr keySize, [Out] byte[] buffer, UIntPtr bufferSize, out UIntPtr valueSize);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_get_owned(TableHandle table, byte[] key, UIntPtr keySize, out Bytes value);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_contains(TableHandle table, byte[] key, UIntPtr keySize);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_free(IntPtr data);
    [DllImport(Library, CallingConvention = C)] public static extern ScanOptionsHandle atomkv_scan_options_new();
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_scan_options_set_prefix(ScanOptionsHandle options, byte[] prefix, UIntPtr prefixSize);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_scan_options_free(IntPtr options);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_iter_new(TableHandle table, ScanOptionsHandle options, out IterHandle iter);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_iter_next(IterHandle iter, out Bytes key, out Bytes value, IntPtr written);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_iter_free(IntPtr iter);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_txn_begin(DatabaseHandle db, out TransactionHandle txn, out ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_txn_get_owned(TransactionHandle txn, TableHandle table, byte[] key, UIntPtr keySize, out Bytes value);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_txn_put(TransactionHandle txn, TableHandle table, byte[] key, UIntPtr keySize, byte[] value, UIntPtr valueSize, IntPtr options);
    [DllImport(Library, CallingConvention = C)] public static extern int atomkv_txn_commit(TransactionHandle txn, int how, IntPtr sequence, out ErrorHandle error);
    [DllImport(Library, CallingConvention = C)] public static extern void atomkv_txn_free(IntPtr txn);
}

/// <summary>A negative status. Path and Table are null where the error concerns none.</summary>
sealed class AtomKVException : Exception
{
    public readonly int Status;
    public readonly string Path, Table;

    public AtomKVException(int status, string message, string path, string table) : base(message)
    {
        Status = status;
        Path = path;
        Table = table;
    }

    public string Name { get { return Tour.StatusName(Status); } }
}

static class Tour
{
    const int Ok = 0, NotFound = 1, Done = 2, Conflict = -22, DurabilityBuffered = 1;

    public static string StatusName(int status) { return Text(Native.atomkv_status_name(status)); }

    static string Text(IntPtr pointer)
    {
        if (pointer == IntPtr.Zero)
            return null;
        int size = 0;
        while (Marshal.ReadByte(pointer, size) != 0)
            size++;
        byte[] bytes = new byte[size];
        Marshal.Copy(pointer, bytes, 0, size);
        return Encoding.UTF8.GetString(bytes);
    }

    static byte[] Utf8(string text) { return Encoding.UTF8.GetBytes(text); }
    static byte[] Terminated(string text) { return Utf8(text + "\0"); }
    static string Text(byte[] bytes) { return Encoding.UTF8.GetString(bytes); }
    static UIntPtr Size(byte[] bytes) { return (UIntPtr)bytes.Length; }

    /// <summary>Gives a status that is no error back, and throws the others.</summary>
    static int Check(int status)
    {
        // The message of this thread's last error: read before any other call.
        if (status < 0)
            throw new AtomKVException(status, Text(Native.atomkv_last_error()), null, null);
        return status;
    }

    static int Check(int status, ErrorHandle error)
    {
        using (error) {
            if (status >= 0 || error.IsInvalid)
                return Check(status);
            throw new AtomKVException(status, Text(Native.atomkv_error_message(error)),
                Text(Native.atomkv_error_path(error)), Text(Native.atomkv_error_table(error)));
        }
    }

    static DatabaseHandle Open(string directory)
    {
        DatabaseHandle db;
        ErrorHandle error;
        int status = Native.atomkv_open(Terminated(directory), IntPtr.Zero, out db, out error);
        Check(status, error);
        return db;
    }

    static TableHandle OpenTable(DatabaseHandle db, string name, bool ordered)
    {
        using (TableOptionsHandle options = Native.atomkv_table_options_new()) {
            Check(Native.atomkv_table_options_set_ordered(options, ordered ? 1 : 0));
            TableHandle table;
            ErrorHandle error;
            int status = Native.atomkv_table_open(db, Terminated(name), options, out table, out error);
            Check(status, error);
            return table;
        }
    }

    static void Put(TableHandle table, string key, string value)
    {
        byte[] k = Utf8(key), v = Utf8(value);
        Check(Native.atomkv_put(table, k, Size(k), v, Size(v), IntPtr.Zero));
    }

    /// <summary>First way to read: into a buffer of ours, which the runtime pins during the call.</summary>
    static byte[] Get(TableHandle table, string key)
    {
        byte[] k = Utf8(key), buffer = new byte[64];
        UIntPtr size;
        if (Check(Native.atomkv_get(table, k, Size(k), buffer, Size(buffer), out size)) == NotFound)
            return null;
        Array.Resize(ref buffer, (int)size);
        return buffer;
    }

    /// <summary>Second way: into memory of the library's, copied and given back at once. Good for values of any size.</summary>
    static byte[] GetOwned(TableHandle table, string key)
    {
        byte[] k = Utf8(key);
        Bytes value;
        return Check(Native.atomkv_get_owned(table, k, Size(k), out value)) == NotFound ? null : value.Take();
    }

    /// <summary>The handle is freed at the end of a foreach, also of one that is left early.</summary>
    static IEnumerable<KeyValuePair<byte[], byte[]>> Scan(TableHandle table, string prefix)
    {
        IterHandle iter;
        using (ScanOptionsHandle options = Native.atomkv_scan_options_new()) {
            byte[] p = Utf8(prefix);
            Check(Native.atomkv_scan_options_set_prefix(options, p, Size(p)));
            Check(Native.atomkv_iter_new(table, options, out iter));
        }
        using (iter) {
            Bytes key, value;
            while (Check(Native.atomkv_iter_next(iter, out key, out value, IntPtr.Zero)) != Done)
                yield return new KeyValuePair<byte[], byte[]>(key.Copy(), value.Copy());
        }
    }

    /// <summary>
    /// Adds to a balance. What was read may have changed by the time of the commit; then all of it is done anew, from the
    /// reading on. The first time somebody else gets in between, so that there is a conflict to be seen.
    /// </summary>
    static void Deposit(DatabaseHandle db, TableHandle accounts, long amount)
    {
        byte[] key = Utf8("balance");
        for (int attempt = 1;; attempt++) {
            TransactionHandle txn;
            ErrorHandle error;
            int status = Native.atomkv_txn_begin(db, out txn, out error);
            Check(status, error);
            using (txn) {
                Bytes value;
                Check(Native.atomkv_txn_get_owned(txn, accounts, key, Size(key), out value));
                long balance = long.Parse(Text(value.Take()), CultureInfo.InvariantCulture);
                if (attempt == 1)
                    Put(accounts, "balance", "110");
                byte[] changed = Utf8((balance + amount).ToString(CultureInfo.InvariantCulture));
                Check(Native.atomkv_txn_put(txn, accounts, key, Size(key), changed, Size(changed), IntPtr.Zero));
                try {
                    status = Native.atomkv_txn_commit(txn, DurabilityBuffered, IntPtr.Zero, out error);
                    Check(status, error);
                    Console.WriteLine("attempt {0}: {1}", attempt, StatusName(Ok));
                    return;
                } catch (AtomKVException conflict) {
                    if (conflict.Status != Conflict)
                        throw;
                    Console.WriteLine("attempt {0}: {1} in table {2}", attempt, conflict.Name, conflict.Table);
                }
            }
        }
    }

    static void Run(string directory)
    {
        Console.WriteLine("ABI: {0}", Native.atomkv_abi_version());
        // Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them.
        using (DatabaseHandle db = Open(directory))
        using (TableHandle users = OpenTable(db, "users", true))
        using (TableHandle accounts = OpenTable(db, "accounts", false)) {
            Put(users, "user:alan", "logician");
            Put(users, "user:ada", "countess");
            Put(users, "user:grace", "admiral");
            Put(users, "group:all", "3");
            byte[] value = Get(users, "user:ada");
            Console.WriteLine("get: {0} ({1} bytes)", Text(value), value.Length);
            Console.WriteLine("owned: {0}", Text(GetOwned(users, "user:alan")));
            byte[] nobody = Utf8("user:nobody");
            Console.WriteLine("missing: {0}", StatusName(Native.atomkv_contains(users, nobody, Size(nobody))));
            foreach (KeyValuePair<byte[], byte[]> row in Scan(users, "user:"))
                Console.WriteLine("scan: {0} = {1}", Text(row.Key), Text(row.Value));

            Put(accounts, "balance", "100");
            Deposit(db, accounts, 5);
            Console.WriteLine("balance: {0}", Text(GetOwned(accounts, "balance")));

            try {
                Open(directory).Dispose();
            } catch (AtomKVException failure) {
                Console.WriteLine("error: {0} ({1})", failure.Name, failure.Status);
                Console.WriteLine("message: {0}", failure.Message);
                Console.WriteLine("path: {0}", failure.Path);
            }
            // Freeing closes too, but only closing can say that the last sync failed.
            ErrorHandle error;
            int status = Native.atomkv_close(db, out error);
            Check(status, error);
            Console.WriteLine("closed");
        }
    }

    static int Main(string[] arguments)
    {
        if (arguments.Length != 1) {
            Console.Error.WriteLine("usage: Tour.exe DIRECTORY");
            return 2;
        }
        try {
            Run(arguments[0]);
            return 0;
        } catch (AtomKVException failure) {
            Console.Error.WriteLine("{0}: {1}", failure.Name, failure.Message);
            return 1;
        }
    }
}
