/* AtomKV: an embedded key-value database. The C interface.
 *
 * Generated from the sources of atomkv-ffi by `make header`; do not edit.
 *
 *     atomkv_db *db;
 *     atomkv_table *users;
 *     atomkv_buffer value;
 *
 *     if (atomkv_open("data", NULL, &db, NULL) < 0 ||
 *         atomkv_table_open(db, "users", NULL, &users, NULL) < 0 ||
 *         atomkv_put(users, "ada", 3, "countess", 8, NULL) < 0 ||
 *         atomkv_get_owned(users, "ada", 3, &value) < 0) {
 *         fprintf(stderr, "%s\n", atomkv_last_error());
 *         exit(1);
 *     }
 *     printf("%.*s\n", (int)value.size, (const char *)value.data);
 *     atomkv_free(value.data);
 *     atomkv_table_free(users);
 *     atomkv_db_free(db);
 *
 * Status. A call returns 0 for success, a positive value for an outcome that is no error (ATOMKV_NOT_FOUND,
 * ATOMKV_DONE), a negative one for an error. atomkv_status_text() tells what a status means, atomkv_last_error()
 * what this thread's last error was about; calls with an `error` parameter hand over an object with all details.
 *
 * Handles. Each `..._new`, `..._open` or `get_view` hands a handle over that the caller frees once. Handles may be
 * freed in any order: a table, an iterator or a batch keeps its database alive. NULL handles and NULL result
 * pointers give ATOMKV_ERR_INVALID_ARGUMENT, freeing NULL does nothing.
 *
 * Threads. All calls may come from any thread, many at once, unless a function says otherwise; freeing a handle
 * while another thread uses it is the one thing that is not allowed. No call is safe in a signal handler. After
 * fork(), handles of the parent answer ATOMKV_ERR_FORKED in the child, where freeing them leaves the parent's database
 * alone; databases may be opened there anew. A thread must not be cancelled (pthread_cancel) inside a call.
 *
 * Parameters. `key` and `key_size`, as every pointer with its `..._size`, are bytes that the call only reads and does
 * not keep, unless a function says otherwise. `error`, the last parameter of some calls: NULL, or receives the details
 * of a failure, freed with atomkv_error_free, and NULL on success.
 *
 * Keys have 1 to 65,535 bytes, values 0 to 2,147,483,647. Both are bytes, not text: nothing is NUL-terminated.
 */

#ifndef ATOMKV_H
#define ATOMKV_H

#include <stddef.h>
#include <stdint.h>

/** The version of this header: `MAJOR.MINOR.PATCH`. */
#define ATOMKV_VERSION_MAJOR 0

/** See `ATOMKV_VERSION_MAJOR`. */
#define ATOMKV_VERSION_MINOR 1

/** See `ATOMKV_VERSION_MAJOR`. */
#define ATOMKV_VERSION_PATCH 0

/** The ABI that this header describes; the number in `libatomkv.so.0`. */
#define ATOMKV_ABI_VERSION 0

/** The time at which documents expire that never do. */
#define ATOMKV_NEVER UINT64_MAX

/** The room for a validator's reason, with its NUL. */
#define ATOMKV_REASON_BYTES 256

/** Room for every line of the log, with its NUL; what would be longer is cut and ends in "...". */
#define ATOMKV_LOG_LINE_BYTES 4096

/**
 * What a call returns. 0 is success, positive values are outcomes that are no errors, negative ones are errors.
 * A value never changes its meaning; later releases may add values, so treat an unknown negative one as an error.
 * Since 0.1.
 */
enum atomkv_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /** Success. */
    ATOMKV_OK = 0,
    /** The key is not there. */
    ATOMKV_NOT_FOUND = 1,
    /** The iteration is at its end. */
    ATOMKV_DONE = 2,
    /** Nothing has happened in the time that was given. */
    ATOMKV_TIMEOUT = 3,
    /**
     * A defect of AtomKV, or a panic in a service. If it broke into a commit, the database is read-only until it is
     * reopened.
     */
    ATOMKV_ERR_INTERNAL = -1,
    /** An argument is NULL where it may not be, or out of its range. */
    ATOMKV_ERR_INVALID_ARGUMENT = -2,
    /** The database was closed. */
    ATOMKV_ERR_CLOSED = -3,
    /** The process was forked after the database was opened; nothing was read or written. */
    ATOMKV_ERR_FORKED = -4,
    /** The database is open elsewhere; the error object tells the process id. */
    ATOMKV_ERR_LOCKED = -5,
    /** The path is not a database, and cannot become one. */
    ATOMKV_ERR_NOT_A_DATABASE = -6,
    /** Stored bytes are damaged; the error object tells file and offset. Never returned as data. */
    ATOMKV_ERR_CORRUPT = -7,
    /** A file was written by a newer release. */
    ATOMKV_ERR_NEWER_FORMAT = -8,
    /** An earlier failure of a write made the database read-only until it is reopened. */
    ATOMKV_ERR_READ_ONLY = -9,
    /** The file system is full. Nothing was written; reads, deletes and compaction still work. */
    ATOMKV_ERR_NO_SPACE = -10,
    /** The operating system refused an operation. */
    ATOMKV_ERR_IO = -11,
    /** Keys have 1 to 65,535 bytes; this one is empty. */
    ATOMKV_ERR_KEY_EMPTY = -12,
    /** Keys have 1 to 65,535 bytes; this one is longer. */
    ATOMKV_ERR_KEY_TOO_LONG = -13,
    /** Values have 0 to 2,147,483,647 bytes; this one is longer. */
    ATOMKV_ERR_VALUE_TOO_LARGE = -14,
    /** The table's validator refused the key, or its sharder gave a slot that does not exist. */
    ATOMKV_ERR_INVALID_KEY = -15,
    /** There is no table of that name. */
    ATOMKV_ERR_TABLE_NOT_FOUND = -16,
    /** The table exists with other settings. */
    ATOMKV_ERR_TABLE_MISMATCH = -17,
    /** The table was created with another service. */
    ATOMKV_ERR_SERVICES_MISMATCH = -18,
    /** A stored document cannot be decompressed, or the compressor failed. */
    ATOMKV_ERR_DOCUMENT = -19,
    /** The caller's buffer is too small; the needed size was stored. */
    ATOMKV_ERR_BUFFER_TOO_SMALL = -20,
    /**
     * There is not enough memory for a result or a mapping. Where the program's own allocations for keys and small
     * records fail, the process ends, as is usual.
     */
    ATOMKV_ERR_NO_MEMORY = -21,
    /**
     * A write expected something else than what is there, or what a transaction has read has changed. Nothing was
     * written.
     */
    ATOMKV_ERR_CONFLICT = -22,
    /** The key never had this version in its present life. */
    ATOMKV_ERR_VERSION_NOT_FOUND = -23,
    /** The version is not kept any more. */
    ATOMKV_ERR_VERSION_COMPACTED = -24,
    /** The changes that were asked for are not in the log any more. */
    ATOMKV_ERR_COMPACTED = -25,
    /** The value is none that the merge operator can change, or the result would be out of its range. */
    ATOMKV_ERR_MERGE = -26,
    /** What a call would make is there already. Nothing was touched. */
    ATOMKV_ERR_ALREADY_EXISTS = -27,
    /** Data to be imported or restored is not as it should be. */
    ATOMKV_ERR_INPUT = -28,
    /** The call was ended by the caller's own callback. */
    ATOMKV_ERR_CANCELLED = -29,
    /** A callback of the caller's said that it failed. */
    ATOMKV_ERR_CALLBACK = -30,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_status atomkv_status;
#else
typedef int32_t atomkv_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/** How grave an event is. As a limit: events of this level and graver ones. Since 0.1. */
enum atomkv_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /** As a limit: no events. No event has it. */
    ATOMKV_LOG_OFF = 0,
    /** Damage, a failed sync, a database that became read-only. */
    ATOMKV_LOG_ERROR = 1,
    /** Slow syncs, failures in the background, lines that were lost. */
    ATOMKV_LOG_WARN = 2,
    /** Openings and closings, checkpoints, compaction, resizes. */
    ATOMKV_LOG_INFO = 3,
    /** Segments of the log. */
    ATOMKV_LOG_DEBUG = 4,
    /** Nothing more in this release. */
    ATOMKV_LOG_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_log_level atomkv_log_level;
#else
typedef int32_t atomkv_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/** When an acknowledged write is on stable storage. Since 0.1. */
enum atomkv_durability
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /** As the table was created or opened. */
    ATOMKV_DURABILITY_TABLE = 0,
    /**
     * Survives the death of the process at any instruction; power loss may take what was written since the last
     * background sync (one second by default), and leaves an exact prefix.
     */
    ATOMKV_DURABILITY_BUFFERED = 1,
    /**
     * On return this write and everything before it is on stable storage. Threads that write at the same time
     * share one sync.
     */
    ATOMKV_DURABILITY_SYNC = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_durability atomkv_durability;
#else
typedef int32_t atomkv_durability;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/** What must be there for a write to happen. A document that has expired counts as absent. Since 0.1. */
enum atomkv_expect
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /** Anything or nothing: the default. */
    ATOMKV_EXPECT_ANYTHING = 0,
    /** The key must not be there. */
    ATOMKV_EXPECT_ABSENT = 1,
    /** The key must be there. */
    ATOMKV_EXPECT_PRESENT = 2,
    /**
     * The key must be there with the version given. A key that was deleted and created anew may have the same
     * version again; its sequence is never the same.
     */
    ATOMKV_EXPECT_VERSION = 3,
    /** The key must be there as the commit with the sequence given has written it. */
    ATOMKV_EXPECT_SEQUENCE = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_expect atomkv_expect;
#else
typedef int32_t atomkv_expect;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/** What has happened to a key. Since 0.1. */
enum atomkv_change_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /** It has this value now, whether or not it was there before. */
    ATOMKV_CHANGE_PUT = 1,
    /** It is not there any more. */
    ATOMKV_CHANGE_DELETE = 2,
    /** Nothing: it has had this value when the watch began, see `atomkv_watch_options_set_state_first`. */
    ATOMKV_CHANGE_STATE = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_change_kind atomkv_change_kind;
#else
typedef int32_t atomkv_change_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/** How a backup is made or restored; add them up. Since 0.1. */
enum atomkv_backup_flags
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /** Read the whole backup, or what was restored, again and verify it. */
    ATOMKV_BACKUP_VERIFY = 1,
    /** Copy files that could be hard links. */
    ATOMKV_BACKUP_COPY = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_backup_flags atomkv_backup_flags;
#else
typedef uint32_t atomkv_backup_flags;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Memory for the results of calls that give many: they put all bytes into it, and their slices point there until it
 * is given to the next call or freed. It grows as needed and keeps its size. One thread at a time. Since 0.1.
 */
typedef struct atomkv_arena atomkv_arena;

/**
 * Puts and deletes over any tables of one database that are applied together. Any thread; calls on one batch wait
 * for each other. It keeps the database of its first table open. Since 0.1.
 */
typedef struct atomkv_batch atomkv_batch;

/** A time in which the background does not compact. Any thread. Since 0.1. */
typedef struct atomkv_compaction_pause atomkv_compaction_pause;

/** An open database. Any thread, many at once. Since 0.1. */
typedef struct atomkv_db atomkv_db;

/**
 * The details of an error. Made by calls that have an `error` parameter; free it with `atomkv_error_free`. It may
 * be read by several threads at once. Since 0.1.
 */
typedef struct atomkv_error atomkv_error;

/**
 * The versions of one document that are kept, the newest first. It may be read by many threads at once, and does not
 * need its database any more. Since 0.1.
 */
typedef struct atomkv_history atomkv_history;

/**
 * Where imports, dumps and backups are read from: a file, memory, or a callback. Any thread; calls that use one wait
 * for each other. It is read once, from its beginning. Since 0.1.
 */
typedef struct atomkv_input atomkv_input;

/**
 * An iteration over a table. Any thread; calls on one iterator wait for each other. It keeps its database open until
 * it is freed or the database is closed. Since 0.1.
 */
typedef struct atomkv_iter atomkv_iter;

/**
 * How a database is opened. One thread at a time; may be used for several databases and freed at any time. Since
 * 0.1.
 */
typedef struct atomkv_options atomkv_options;

/**
 * Where exports, dumps and backups are written to: a file, memory, or a callback. Any thread; calls that use one
 * wait for each other, but a call on it from within such a call (a callback) is `ATOMKV_ERR_INVALID_ARGUMENT`. Since
 * 0.1.
 */
typedef struct atomkv_output atomkv_output;

/**
 * Who follows a long call, and can end it: by a callback, or from another thread by looking. Any thread, many at
 * once; for one call after the other, not for two at once. Since 0.1.
 */
typedef struct atomkv_progress atomkv_progress;

/**
 * A document that is read piece by piece, as it was when the reader was opened. Any thread, many at once. It keeps
 * its document, with its space, until it is freed, and its database open. Since 0.1.
 */
typedef struct atomkv_reader atomkv_reader;

/**
 * What came of a call: numbers with names, and all of it as JSON. It may be read by many threads at once, and does
 * not need its database any more. Since 0.1.
 */
typedef struct atomkv_report atomkv_report;

/**
 * Which keys an iteration is for, and how it goes through them. One thread at a time; may be used for several
 * iterations and freed at any time. Since 0.1.
 */
typedef struct atomkv_scan_options atomkv_scan_options;

/**
 * All tables as they were at one moment, whatever is written meanwhile. Any thread, many at once. While it lives,
 * the versions that it sees are kept, with their space. It keeps its database open until it is freed or the database
 * is closed. Since 0.1.
 */
typedef struct atomkv_snapshot atomkv_snapshot;

/**
 * A table of an open database. Any thread, many at once. It keeps its database open until it is freed or the
 * database is closed. Since 0.1.
 */
typedef struct atomkv_table atomkv_table;

/**
 * How a table is created or opened. One thread at a time; may be used for several tables and freed at any time.
 * Since 0.1.
 */
typedef struct atomkv_table_options atomkv_table_options;

/**
 * How to import, export and dump. One thread at a time; may be used for several calls and freed at any time. What
 * means nothing to a call is of no matter to it. Since 0.1.
 */
typedef struct atomkv_transfer_options atomkv_transfer_options;

/**
 * A transaction over any tables of one database. It sees the database as it was when it began, and what it has
 * written itself. At its commit everything that it has read must still be so, ranges that it has scanned too, else
 * it is `ATOMKV_ERR_CONFLICT` and has done nothing: then begin anew.
 *
 *     atomkv_txn *txn = NULL;
 *     int tries = 0;
 *     do {
 *         int64_t balance = 0;
 *         size_t size;
 *         status = atomkv_txn_begin(db, &txn, NULL);
 *         if (status >= 0) status = atomkv_txn_get(txn, accounts, "a", 1, &balance, sizeof balance, &size);
 *         balance += 10;
 *         if (status >= 0) status = atomkv_txn_put(txn, accounts, "a", 1, &balance, sizeof balance, NULL);
 *         if (status >= 0) status = atomkv_txn_commit(txn, ATOMKV_DURABILITY_BUFFERED, NULL, NULL);
 *         atomkv_txn_free(txn);
 *     } while (status == ATOMKV_ERR_CONFLICT && ++tries < 64);
 *
 * Nobody waits for a transaction; of those that meet one always gets through, so a conflict means that somebody
 * else's work is done. Where many threads change the same keys, sleep for a short random time before trying again.
 * Any thread; calls on one transaction wait for each other. It keeps its database open until it is freed or the
 * database is closed. Since 0.1.
 */
typedef struct atomkv_txn atomkv_txn;

/** Where an `atomkv_update_fn` puts the new value. Alive during the callback only. Since 0.1. */
typedef struct atomkv_update_result atomkv_update_result;

/**
 * A value that is held where it lies, see `atomkv_get_view`. May be read by many threads at once and released on
 * any thread. Since 0.1.
 */
typedef struct atomkv_view atomkv_view;

/**
 * A place in the history of a database, from which it is read on. Any thread; calls on one watch wait for each
 * other. It keeps its database open until it is freed or the database is closed. Since 0.1.
 */
typedef struct atomkv_watch atomkv_watch;

/**
 * Which changes a watch is for. One thread at a time; may be used for several watches and freed at any time. Since
 * 0.1.
 */
typedef struct atomkv_watch_options atomkv_watch_options;

/**
 * How a single write happens. One thread at a time; may be used for many writes and freed at any time. Since 0.1.
 */
typedef struct atomkv_write_options atomkv_write_options;

/**
 * A document of up to 1 TiB that is being written. Any thread; calls on one writer wait for each other. It keeps its
 * database open until it is freed or the database is closed. Since 0.1.
 */
typedef struct atomkv_writer atomkv_writer;

/** Bytes that belong to somebody else. Since 0.1. */
typedef struct {
    /**
     * The first byte; NULL if there is no result (not found, the end of an iteration, an error). Not NUL-terminated.
     */
    const void *data;
    /** How many bytes. */
    size_t size;
} atomkv_slice;

/** What a write did. Since 0.1. */
typedef struct {
    /** The key's version: 1 for a new key, one more with each change. A delete has a version too. */
    uint64_t version;
    /** The commit's place in the history of the database: rising, without two alike. */
    uint64_t sequence;
} atomkv_written;

/** Bytes that belong to the caller, who frees `data` with `atomkv_free`. Since 0.1. */
typedef struct {
    /** The first byte; NULL if there is no result (not found, an error). Not NUL-terminated. */
    void *data;
    /** How many bytes. */
    size_t size;
} atomkv_buffer;

/** What is known of a document beside its value. Since 0.1. */
typedef struct {
    /** The key's version: 1 for a new key, one more with each change. */
    uint64_t version;
    /** The commit that wrote it. */
    uint64_t sequence;
    /** When it was written, in milliseconds since the Unix epoch. */
    uint64_t time_ms;
    /** When it expires or has expired, in milliseconds since the Unix epoch; `ATOMKV_NEVER` if it does not. */
    uint64_t expires_at_ms;
    /** 1 if this version is a tombstone: the key was deleted, and there is no value. Else 0. */
    uint32_t is_tombstone;
    /** 0. */
    uint32_t reserved;
} atomkv_entry;

/**
 * Decides what becomes of a document. `user_data`: what was given with the callback. `value` is what is there,
 * `value_size` bytes; NULL if the key is not there. `result`: where `atomkv_update_put` or `atomkv_update_delete`
 * say so; without them the document stays as it is. It returns 0, or another number to end the call with
 * `ATOMKV_ERR_CALLBACK`, with nothing written.
 *
 * It is called on the thread of the caller, once more whenever somebody else has changed the document meanwhile, and
 * holds no lock: it may use the database. It may not unwind or jump out. Since 0.1.
 */
typedef int32_t (*atomkv_update_fn)(void *user_data,
                                    const void *value,
                                    size_t value_size,
                                    atomkv_update_result *result);

/** One change of one key. Since 0.1. */
typedef struct {
    /**
     * The table's name, UTF-8, not NUL-terminated. The bytes of the slices live until the next call on the watch.
     */
    atomkv_slice table;
    /** The key. */
    atomkv_slice key;
    /**
     * The value; NULL for a delete, for what is superseded and not kept any more, and for what was streamed and is
     * too large for a value: open that with `atomkv_reader_new`.
     */
    atomkv_slice value;
    /** The key's version. */
    uint64_t version;
    /** The commit. To go on behind it later, watch from one more. */
    uint64_t sequence;
    /** When it was committed, in milliseconds since the Unix epoch. */
    uint64_t time_ms;
    /** When the document expires, in milliseconds since the Unix epoch; `ATOMKV_NEVER` if it does not. */
    uint64_t expires_at_ms;
    /** An `atomkv_change_kind`. */
    int32_t kind;
    /** 1 if a later change of the key was committed already and the value may be missing; else 0. */
    uint32_t superseded;
    /** 1 for the last change of its commit; else 0. */
    uint32_t last_of_commit;
    /** 0. */
    uint32_t reserved;
} atomkv_change;

/** How far a long call is. Since 0.1. */
typedef struct {
    /** Bytes dealt with. */
    uint64_t bytes;
    /** How many there will be: an estimate where the database changes meanwhile; 0 if nobody knows. */
    uint64_t bytes_total;
    /** Records dealt with. */
    uint64_t records;
    /** Milliseconds since the call began. */
    uint64_t elapsed_ms;
} atomkv_progress_values;

/**
 * Is told how far a call is, with the `user_data` given with it, some times a second and once at the end, on the
 * thread that has made the call. It returns 0 to go on, another number to end the call with `ATOMKV_ERR_CANCELLED`,
 * unless it is done already. `values` live during the callback. It may read and write, but must not close the
 * database whose call it follows, nor compact, checkpoint or back it up: these give `ATOMKV_ERR_INVALID_ARGUMENT`
 * there. It may not unwind or jump out. Since 0.1.
 */
typedef int32_t (*atomkv_progress_fn)(void *user_data, const atomkv_progress_values *values);

/**
 * Takes the next `size` bytes of `data`. `user_data`: what was given with the callback. It returns 0, or another
 * number to end the call with `ATOMKV_ERR_CALLBACK`, which does not call it again. It is called on the thread of the
 * call that writes, and may not unwind or jump out. Since 0.1.
 */
typedef int32_t (*atomkv_write_fn)(void *user_data, const void *data, size_t size);

/**
 * `user_data`: what was given with the callback. Fills `buffer` with up to `buffer_size` bytes and says in `read`
 * how many there are; 0 at the end. It returns 0, or another number to end the call with `ATOMKV_ERR_CALLBACK`, which
 * does not call it again. It is called on the thread of the call that reads, and may not unwind or jump out. Since
 * 0.1.
 */
typedef int32_t (*atomkv_read_fn)(void *user_data, void *buffer, size_t buffer_size, size_t *read);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is loaded, such as "0.1.0". The text lives for ever. Any thread. Since 0.1.
 */
const char *atomkv_version(void);

/**
 * The ABI of the library that is loaded. A program works with it if the number is `ATOMKV_ABI_VERSION`. Any
 * thread. Since 0.1.
 */
uint32_t atomkv_abi_version(void);

/** A sentence for a status, in English. Never NULL; the text lives for ever. Any thread. Since 0.1. */
const char *atomkv_status_text(int32_t status);

/**
 * The name of a status, such as "ATOMKV_ERR_LOCKED". Never NULL; the text lives for ever. Any thread. Since 0.1.
 */
const char *atomkv_status_name(int32_t status);

/**
 * What the last call on this thread that returned a negative status had to say; an empty text before the first.
 * Never NULL; the text lives until the next failing call on this thread. Where tasks hop from thread to thread, use
 * the calls with an `error` parameter. Since 0.1.
 */
const char *atomkv_last_error(void);

/** The status that the call returned. `ATOMKV_OK` for NULL. Since 0.1. */
atomkv_status atomkv_error_status(const atomkv_error *error);

/**
 * What happened, where, and what to do, in English. Never NULL; the text lives as long as the error. Since 0.1.
 */
const char *atomkv_error_message(const atomkv_error *error);

/**
 * The file or directory concerned, in the system's encoding; NULL if there is none. The text lives as long as the
 * error. Since 0.1.
 */
const char *atomkv_error_path(const atomkv_error *error);

/**
 * The byte offset at which the damage begins, in that file or in the data to be imported; -1 if there is none.
 * Since 0.1.
 */
int64_t atomkv_error_offset(const atomkv_error *error);

/** The process that has the database open, after `ATOMKV_ERR_LOCKED`; -1 if it is not known. Since 0.1. */
int64_t atomkv_error_process(const atomkv_error *error);

/**
 * The table concerned, after `ATOMKV_ERR_CONFLICT` and where a table is not as expected; NULL if there is none. The
 * text lives as long as the error. Since 0.1.
 */
const char *atomkv_error_table(const atomkv_error *error);

/**
 * What a conflict was about. `key`: NULL, or receives the key, whose bytes live as long as the error. `found`: NULL,
 * or receives the version and sequence that are there; zeros if the key is not. `ATOMKV_NOT_FOUND`, with an empty
 * key, if the error is no conflict. Since 0.1.
 */
atomkv_status atomkv_error_conflict(const atomkv_error *error,
                                    atomkv_slice *key,
                                    atomkv_written *found);

/** Frees an error. NULL does nothing. Since 0.1. */
void atomkv_error_free(atomkv_error *error);

/** Options with the defaults, freed with `atomkv_options_free`. Never NULL. Since 0.1. */
atomkv_options *atomkv_options_new(void);

/** Frees options. NULL does nothing. Since 0.1. */
void atomkv_options_free(atomkv_options *options);

/** Whether a missing or empty directory becomes a new database. Default yes. Since 0.1. */
atomkv_status atomkv_options_set_create_if_missing(atomkv_options *options, int yes);

/**
 * Whether files are mapped into memory. Default yes. Without, a failing device gives `ATOMKV_ERR_IO` instead of a
 * SIGBUS signal, and everything is slower. Since 0.1.
 */
atomkv_status atomkv_options_set_mapped(atomkv_options *options,
                                        int yes);

/**
 * The longest time, in milliseconds, that a buffered write waits for its sync. Default 1000; not 0. Since 0.1.
 */
atomkv_status atomkv_options_set_sync_interval_ms(atomkv_options *options,
                                                  uint64_t milliseconds);

/** How many unsynced bytes begin a background sync. Default 64 MiB; not 0. Since 0.1. */
atomkv_status atomkv_options_set_sync_bytes(atomkv_options *options, uint64_t bytes);

/**
 * The sizes of log segments in bytes: of the first, from which they double, and of the largest. Default 256 KiB and
 * 64 MiB; 64 KiB to 256 MiB are allowed. Since 0.1.
 */
atomkv_status atomkv_options_set_segment_bytes(atomkv_options *options,
                                               uint64_t first,
                                               uint64_t largest);

/**
 * How many bytes of log may follow a checkpoint before the next is written. Default 128 MiB; not 0. Since 0.1.
 */
atomkv_status atomkv_options_set_checkpoint_bytes(atomkv_options *options,
                                                  uint64_t bytes);

/**
 * How many dead bytes compaction tolerates, as a share of the live bytes. Default 0.33; at least 0.05. Since 0.1.
 */
atomkv_status atomkv_options_set_dead_ratio(atomkv_options *options,
                                            double ratio);

/**
 * From which stored length, in bytes, a value lives in a file of its own. Default 1 MiB; 4 KiB to 64 MiB are
 * allowed. Since 0.1.
 */
atomkv_status atomkv_options_set_large_value_bytes(atomkv_options *options, uint64_t bytes);

/** Whether the checksum of a record is verified on every read. Default yes. Since 0.1. */
atomkv_status atomkv_options_set_verify_checksums(atomkv_options *options, int yes);

/**
 * Whether a database whose newest log is damaged (not merely cut short) is opened without the damaged commits.
 * Default no: opening is `ATOMKV_ERR_CORRUPT`. Since 0.1.
 */
atomkv_status atomkv_options_set_skip_damaged_log(atomkv_options *options,
                                                  int yes);

/**
 * Whether the database is opened for reading, beside the process that writes it if there is one, as it was at the
 * moment of opening and without writing a byte; `atomkv_refresh` follows. Default no. Since 0.1.
 */
atomkv_status atomkv_options_set_read_only(atomkv_options *options,
                                           int yes);

/**
 * Whether threads of the database sync, settle and reap in the background. Default yes. Without them only what calls
 * ask for happens: space is not given back and buffered writes are not synced unless the program asks. Since 0.1.
 */
atomkv_status atomkv_options_set_background(atomkv_options *options,
                                            int yes);

/**
 * How many bytes a second compaction in the background may move; 0, the default, for no limit. It goes faster when a
 * call waits for it. Since 0.1.
 */
atomkv_status atomkv_options_set_compaction_rate(atomkv_options *options,
                                                 uint64_t bytes_per_second);

/**
 * Whether documents that have expired are removed in the background. Default yes. They are invisible either way.
 * Since 0.1.
 */
atomkv_status atomkv_options_set_reap_expired(atomkv_options *options,
                                              int yes);

/** How many bytes of the newest log are kept for watches that come back. Since 0.1. */
atomkv_status atomkv_options_set_feed_bytes(atomkv_options *options, uint64_t bytes);

/**
 * The seed that the hashes of a new database's keys begin with; random unless given. For tests: a seed that
 * strangers know lets them choose keys that make a table slow. Since 0.1.
 */
atomkv_status atomkv_options_set_hash_seed(atomkv_options *options, uint64_t seed);

/** Table options with the defaults, freed with `atomkv_table_options_free`. Never NULL. Since 0.1. */
atomkv_table_options *atomkv_table_options_new(void);

/** Frees table options. NULL does nothing. Since 0.1. */
void atomkv_table_options_free(atomkv_table_options *options);

/** Whether a table that is missing is created (default) or is `ATOMKV_ERR_TABLE_NOT_FOUND`. Since 0.1. */
atomkv_status atomkv_table_options_set_create_if_missing(atomkv_table_options *options, int yes);

/**
 * The number of partitions that a new table begins with, 1 to 16,384; 16 by default. A table that exists keeps what
 * it has. Since 0.1.
 */
atomkv_status atomkv_table_options_set_partitions(atomkv_table_options *options,
                                                  uint32_t partitions);

/**
 * The durability of writes that do not name one: `ATOMKV_DURABILITY_BUFFERED`, the default, or
 * `ATOMKV_DURABILITY_SYNC`. Stored when the table is created; for an existing table it holds for the handle. Since
 * 0.1.
 */
atomkv_status atomkv_table_options_set_durability(atomkv_table_options *options,
                                                  int32_t durability);

/**
 * Whether the table keeps its keys in order too, for ranges, prefixes and reverse iterations; costs memory, see the
 * guide. Stored when the table is created; another setting for an existing table is `ATOMKV_ERR_TABLE_MISMATCH`.
 * Default no. Since 0.1.
 */
atomkv_status atomkv_table_options_set_ordered(atomkv_table_options *options,
                                               int yes);

/** Whether the number of partitions follows the table's size. Default no. Since 0.1. */
atomkv_status atomkv_table_options_set_auto_partitions(atomkv_table_options *options, int yes);

/**
 * How many versions of a document are kept, the newest among them, at least 1. Stored when the table is created.
 * Default 1: nothing of the past. Since 0.1.
 */
atomkv_status atomkv_table_options_set_retention_versions(atomkv_table_options *options,
                                                          uint32_t versions);

/**
 * How long a version is kept after a newer one has replaced it, in milliseconds, at least 1. Stored when the table
 * is created. Since 0.1.
 */
atomkv_status atomkv_table_options_set_retention_ms(atomkv_table_options *options,
                                                    uint64_t milliseconds);

/** Whether all versions are kept for ever. Stored when the table is created. Default no. Since 0.1. */
atomkv_status atomkv_table_options_set_retention_all(atomkv_table_options *options, int yes);

/**
 * How long documents live whose write does not say, in milliseconds, at least 1. Stored when the table is created.
 * Default for ever. Since 0.1.
 */
atomkv_status atomkv_table_options_set_ttl_ms(atomkv_table_options *options,
                                              uint64_t milliseconds);

/**
 * Chooses one of AtomKV's own services by its kind and its name, both NUL-terminated:
 * "compressor": "lz4" (default, from 4 KiB), "none", "gzip"; "sharder": "hash-slots" (default), "redis-slots",
 * "key-space-v1"; "validator": "any-bytes" (default), "key-space-v1-keys"; "hasher": "rapidhash-v3"; "serializer":
 * "json". The names are stored when the table is created; opening it with others is
 * `ATOMKV_ERR_SERVICES_MISMATCH`. Since 0.1.
 */
atomkv_status atomkv_table_options_set_service(atomkv_table_options *options,
                                               const char *kind,
                                               const char *name);

/** Write options with the defaults, freed with `atomkv_write_options_free`. Never NULL. Since 0.1. */
atomkv_write_options *atomkv_write_options_new(void);

/** Frees write options. NULL does nothing. Since 0.1. */
void atomkv_write_options_free(atomkv_write_options *options);

/** When the write is on stable storage: an `atomkv_durability`. Default: as the table says. Since 0.1. */
atomkv_status atomkv_write_options_set_durability(atomkv_write_options *options, int32_t durability);

/**
 * What must be there for the write to happen, else it is `ATOMKV_ERR_CONFLICT` and nothing is written. `what`: an
 * `atomkv_expect`. `number`: the version or the sequence, where one is expected; else of no meaning. Since 0.1.
 */
atomkv_status atomkv_write_options_set_expect(atomkv_write_options *options,
                                              int32_t what,
                                              uint64_t number);

/** The document expires so many milliseconds after the write; at least 1. Since 0.1. */
atomkv_status atomkv_write_options_set_ttl_ms(atomkv_write_options *options, uint64_t milliseconds);

/**
 * The document expires at a time in milliseconds since the Unix epoch; `ATOMKV_NEVER` for never, also where the
 * table has a time to live. Since 0.1.
 */
atomkv_status atomkv_write_options_set_expires_at_ms(atomkv_write_options *options,
                                                     uint64_t time_ms);

/**
 * Gives the table a hasher of the program's own: `hash` turns a key into 64 well-mixed bits. It should depend on
 * `seed`, which is the database's; else strangers who choose keys can make the table slow. Keys that collide are
 * told apart.
 *
 * `name`: NUL-terminated UTF-8 of 1 to 255 bytes, none of AtomKV's own, and `version`: what the service is, stored
 * when the table is created. Opening the table with another, or without it, is `ATOMKV_ERR_SERVICES_MISMATCH`.
 * Change the version when the answers change. `user_data`: handed to each call of `hash`; may be NULL. `destroy`:
 * NULL, or called once for `user_data` when neither options nor open tables use the service any more, on the thread
 * that frees the last of them; at once if this call fails. A setter that is called again replaces the earlier
 * service.
 *
 * Rules for the callbacks of all services. They are called only on threads that call AtomKV, within the call: none
 * of the database's own threads does, since compaction and the replay at opening move stored bytes, and records of
 * such tables carry the key's place. Several threads may call at once, so `user_data` must bear that. A callback
 * must give the same answer for the same input for ever, in every process; must not keep its pointers, which hold
 * for the call; must not call AtomKV with the same database; must not throw, unwind, `longjmp` or end its thread;
 * and should be quick, since reads and writes wait for it. There is no form with polling: each call needs its answer
 * before it can go on. A runtime that cannot be called from foreign threads is called only on those of its own from
 * which it calls AtomKV; one that cannot be called at all chooses from AtomKV's own services with
 * `atomkv_table_options_set_service` and compresses or checks before it puts.
 *
 * Errors: `ATOMKV_ERR_INVALID_ARGUMENT` for a NULL, a name that is too long, or AtomKV's own. Since 0.1.
 */
atomkv_status atomkv_table_options_set_hasher(atomkv_table_options *options,
                                              const char *name,
                                              uint32_t version,
                                              uint64_t (*hash)(void *user_data,
                                                               uint64_t seed,
                                                               const void *key,
                                                               size_t key_size),
                                              void *user_data,
                                              void (*destroy)(void *user_data));

/**
 * Gives the table a sharder of the program's own: `slot` gives a key its slot, 0 to 16,383, by which keys are spread
 * over partitions. `hash`: the key's hash by the table's hasher. A slot above 16,383 refuses the key: the call that
 * has brought it, reading or writing, is `ATOMKV_ERR_INVALID_KEY`, and nothing is written.
 *
 * `name`, `version`, `user_data`, `destroy`, rules and errors: as `atomkv_table_options_set_hasher`. Since 0.1.
 */
atomkv_status atomkv_table_options_set_sharder(atomkv_table_options *options,
                                               const char *name,
                                               uint32_t version,
                                               uint32_t (*slot)(void *user_data,
                                                                const void *key,
                                                                size_t key_size,
                                                                uint64_t hash),
                                               void *user_data,
                                               void (*destroy)(void *user_data));

/**
 * Gives the table a validator of the program's own, which is asked about the key of each call, reading or writing,
 * that has 1 to 65,535 bytes. `validate` gives 0 to take the key; any other number refuses it, and the call is
 * `ATOMKV_ERR_INVALID_KEY`. `reason`: room for `reason_size` bytes (`ATOMKV_REASON_BYTES`) in which it may leave a
 * NUL-terminated UTF-8 text, which becomes part of the error's message; without one the message has the number.
 *
 * `name`, `version`, `user_data`, `destroy`, rules and errors: as `atomkv_table_options_set_hasher`. Since 0.1.
 */
atomkv_status atomkv_table_options_set_validator(atomkv_table_options *options,
                                                 const char *name,
                                                 uint32_t version,
                                                 int32_t (*validate)(void *user_data,
                                                                     const void *key,
                                                                     size_t key_size,
                                                                     char *reason,
                                                                     size_t reason_size),
                                                 void *user_data,
                                                 void (*destroy)(void *user_data));

/**
 * Gives the table a compressor of the program's own.
 *
 * `compress` is asked about each value of at least 6 bytes. It reads `value`, may write up to `out_capacity` bytes
 * to `out`, and stores in `out_size` how many they are; the room is a sixth and a kilobyte larger than the value,
 * enough for the worst case of the usual compressors. 0 bytes (which `out_size` is before the call) say that the
 * value is to be stored as it is; so it is too if what was written is not at least 5 bytes shorter. `decompress`
 * reads the bytes that `compress` wrote, writes the value to `out` and stores its size in `out_size`; `out_capacity`
 * is the size of the value, which AtomKV keeps, and exactly so much must come. Both give 0, or another number for a
 * failure.
 *
 * A failure, a size larger than the buffer, bytes outside of the buffer (as far as 64 bytes round it show them) and
 * a value that does not come back are `ATOMKV_ERR_DOCUMENT`, whose message has the number; a write is refused then
 * and what was there stays, a read gives nothing. Each value is decompressed and compared before it is written,
 * unless `atomkv_table_options_set_compressor_check` says otherwise, so a compressor that is broken refuses writes
 * instead of losing data. The data behind a table cannot be read without its compressor: keep it as long as the
 * data.
 *
 * `name`, `version`, `user_data` (for both callbacks), `destroy`, rules and errors: as
 * `atomkv_table_options_set_hasher`. Since 0.1.
 */
atomkv_status atomkv_table_options_set_compressor(atomkv_table_options *options,
                                                  const char *name,
                                                  uint32_t version,
                                                  int32_t (*compress)(void *user_data,
                                                                      const void *value,
                                                                      size_t value_size,
                                                                      void *out,
                                                                      size_t out_capacity,
                                                                      size_t *out_size),
                                                  int32_t (*decompress)(void *user_data,
                                                                        const void *data,
                                                                        size_t data_size,
                                                                        void *out,
                                                                        size_t out_capacity,
                                                                        size_t *out_size),
                                                  void *user_data,
                                                  void (*destroy)(void *user_data));

/**
 * Whether each value that the program's own compressor has made shorter is decompressed again and compared before it
 * is written. Default yes. Without, writes are faster, and a compressor that is broken loses data. Holds for the
 * tables that are opened with these options afterwards, until `atomkv_table_options_set_compressor` is called again.
 * `ATOMKV_ERR_INVALID_ARGUMENT` if the options have no compressor of the program's own. Since 0.1.
 */
atomkv_status atomkv_table_options_set_compressor_check(atomkv_table_options *options,
                                                        int yes);

/**
 * Says which serializer the program uses to turn its documents into the bytes that it puts, for layers that have
 * typed documents. AtomKV never calls it; it stores what it is when the table is created, and opening the table with
 * another is `ATOMKV_ERR_SERVICES_MISMATCH`. Without this call a table counts as one of "json" documents, whatever
 * its values are.
 *
 * `name`, `version` and errors: as `atomkv_table_options_set_hasher`. Since 0.1.
 */
atomkv_status atomkv_table_options_set_serializer_identity(atomkv_table_options *options,
                                                           const char *name,
                                                           uint32_t version);

/**
 * Opens the database in a directory, or makes one there if the directory is missing or empty.
 *
 * `path`: NUL-terminated; in the system's encoding (UTF-8 on Windows). `options`: NULL for the defaults; not needed
 * after the call. `db`: receives the database, or NULL on failure; free it with `atomkv_db_free`. `error`: NULL, or
 * receives the details of a failure (NULL on success), freed with `atomkv_error_free`.
 *
 * A directory can be open once, in one process: a second opening, in this process too, is `ATOMKV_ERR_LOCKED`.
 * Since 0.1.
 */
atomkv_status atomkv_open(const char *path,
                          const atomkv_options *options,
                          atomkv_db **db,
                          atomkv_error **error);

/**
 * Makes a database in memory: the same engine without a disk, for tests and caches. Nothing of it is left when it is
 * closed. `db`, `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_open_in_memory(atomkv_db **db,
                                    atomkv_error **error);

/**
 * Looks again at a database that was opened with `atomkv_options_set_read_only`: `newer` receives a handle to it as
 * it is now, to be freed with `atomkv_db_free`, and the old one stays as it is; or NULL with `ATOMKV_DONE` if
 * nothing was written since. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_refresh(atomkv_db *db,
                             atomkv_db **newer,
                             atomkv_error **error);

/**
 * The directory of a database, NUL-terminated, in the system's encoding: `directory` receives it; the caller frees
 * its data with `atomkv_free`. Its size does not count the NUL. Works on a closed database too. Since 0.1.
 */
atomkv_status atomkv_path(const atomkv_db *db,
                          atomkv_buffer *directory);

/**
 * The names of all tables, each NUL-terminated UTF-8, one behind the other: `names` receives them; the caller frees
 * its data with `atomkv_free`. `count`: NULL, or receives how many there are. Since 0.1.
 */
atomkv_status atomkv_table_names(const atomkv_db *db,
                                 atomkv_buffer *names,
                                 size_t *count);

/**
 * Writes everything out, ends the background threads and gives the directory free. The handle stays valid, and it
 * and everything that was opened from it answers `ATOMKV_ERR_CLOSED` from then on, except what needs no database
 * (names, numbers of partitions, counters); views stay readable. A second call returns when the directory is free
 * and succeeds. May be called while other threads use the database: their calls end or answer `ATOMKV_ERR_CLOSED`.
 * On failure the directory is given free all the same. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_close(atomkv_db *db,
                           atomkv_error **error);

/**
 * Frees the handle. A database that was not closed is closed when its handle and all tables, batches and iterators
 * opened from it are freed, in any order; errors of that are lost, so call `atomkv_close` to see them. NULL does
 * nothing. Since 0.1.
 */
void atomkv_db_free(atomkv_db *db);

/**
 * Returns when everything acknowledged before the call, by any thread, is on stable storage. A failure makes the
 * database read-only. Since 0.1.
 */
atomkv_status atomkv_sync(atomkv_db *db);

/**
 * Writes an image of the index, so that the next opening has little to replay. Happens by itself as the log grows
 * and at closing. Since 0.1.
 */
atomkv_status atomkv_checkpoint(atomkv_db *db);

/**
 * One of the database's statistics by its name, NUL-terminated, such as "keys", "disk_bytes" or "syncs";
 * docs/statistics.md explains them, `atomkv_stats` gives all. `value` receives it. Another name is
 * `ATOMKV_ERR_INVALID_ARGUMENT`. Works on a closed database too. Since 0.1.
 */
atomkv_status atomkv_stat(const atomkv_db *db, const char *name, uint64_t *value);

/**
 * Opens a table, or creates it.
 *
 * `name`: NUL-terminated UTF-8 of 1 to 255 bytes. `options`: NULL for the defaults; not needed after the call.
 * `table`: receives the table, or NULL on failure; free it with `atomkv_table_free`. `error`: NULL, or receives the
 * details of a failure, freed with `atomkv_error_free`. A table may be opened often. Since 0.1.
 */
atomkv_status atomkv_table_open(atomkv_db *db,
                                const char *name,
                                const atomkv_table_options *options,
                                atomkv_table **table,
                                atomkv_error **error);

/** Frees a table handle; the table itself stays. NULL does nothing. Since 0.1. */
void atomkv_table_free(atomkv_table *table);

/**
 * The name of the table, NUL-terminated UTF-8, in `name`, whose data the caller frees with `atomkv_free`; its size
 * does not count the NUL. Works on a closed database too. Since 0.1.
 */
atomkv_status atomkv_table_name(const atomkv_table *table,
                                atomkv_buffer *name);

/** The number of keys. Since 0.1. */
atomkv_status atomkv_table_len(const atomkv_table *table, uint64_t *keys);

/** The number of partitions. Since 0.1. */
atomkv_status atomkv_table_partitions(const atomkv_table *table, uint32_t *partitions);

/**
 * The key's slot, 0 to 16,383, which never changes, and the partition that holds it, from 0. `slot` and
 * `partition` may be NULL. Since 0.1.
 */
atomkv_status atomkv_slot(const atomkv_table *table,
                          const void *key,
                          size_t key_size,
                          uint32_t *slot,
                          uint32_t *partition);

/**
 * Stores a value under a key, whether or not the key is there; durable as the table says. `value` may be NULL if
 * `value_size` is 0. `written` may be NULL. Key and value are copied. Since 0.1.
 */
atomkv_status atomkv_put(atomkv_table *table,
                         const void *key,
                         size_t key_size,
                         const void *value,
                         size_t value_size,
                         atomkv_written *written);

/**
 * `atomkv_put` with options: durability, what must be there for the write to happen, expiry. `options`: NULL for the
 * defaults. `ATOMKV_ERR_CONFLICT` if something else is there than was expected. Since 0.1.
 */
atomkv_status atomkv_put_with(atomkv_table *table,
                              const void *key,
                              size_t key_size,
                              const void *value,
                              size_t value_size,
                              const atomkv_write_options *options,
                              atomkv_written *written);

/**
 * Removes a key; `ATOMKV_NOT_FOUND` if it was not there. Durable as the table says. `written` may be NULL; it
 * receives zeros if nothing was written. Since 0.1.
 */
atomkv_status atomkv_delete(atomkv_table *table, const void *key, size_t key_size, atomkv_written *written);

/**
 * `atomkv_delete` with options: durability, and what must be there for the delete to happen; an expiry is not
 * allowed. `options`: NULL for the defaults. `ATOMKV_ERR_CONFLICT` if something else is there than was expected.
 * Since 0.1.
 */
atomkv_status atomkv_delete_with(atomkv_table *table,
                                 const void *key,
                                 size_t key_size,
                                 const atomkv_write_options *options,
                                 atomkv_written *written);

/** Whether a key is there: `ATOMKV_OK` or `ATOMKV_NOT_FOUND`. Since 0.1. */
atomkv_status atomkv_contains(const atomkv_table *table, const void *key, size_t key_size);

/**
 * Reads a value, first way: copies it into the caller's buffer.
 *
 * `buffer` has room for `buffer_size` bytes and may be NULL if that is 0, to ask for the size alone. `value_size`
 * receives the size of the value, also with `ATOMKV_ERR_BUFFER_TOO_SMALL`, which leaves the buffer as it was; 0 if
 * there is no value. Since 0.1.
 */
atomkv_status atomkv_get(const atomkv_table *table,
                         const void *key,
                         size_t key_size,
                         void *buffer,
                         size_t buffer_size,
                         size_t *value_size);

/**
 * Reads a value, second way: into a buffer of its own, whose `data` the caller frees with `atomkv_free`. `value`
 * receives NULL and 0 if there is no value. Since 0.1.
 */
atomkv_status atomkv_get_owned(const atomkv_table *table,
                               const void *key,
                               size_t key_size,
                               atomkv_buffer *value);

/**
 * Frees memory that the caller owns, such as the `data` of an `atomkv_buffer`. NULL does nothing. Since 0.1.
 */
void atomkv_free(void *data);

/**
 * Reads a value, third way: shows it where it lies, without a copy where it is stored as it is (neither compressed
 * nor large, in mapped storage).
 *
 * `view`: receives the view, or NULL; release it with `atomkv_view_release`. `value`: receives the bytes, which stay
 * readable and unchanged until the release, whatever happens to the key, the table or the database. A view holds the
 * disk space of its segment. Since 0.1.
 */
atomkv_status atomkv_get_view(const atomkv_table *table,
                              const void *key,
                              size_t key_size,
                              atomkv_view **view,
                              atomkv_slice *value);

/** The version and sequence of the write that stored the viewed value. Since 0.1. */
atomkv_status atomkv_view_written(const atomkv_view *view, atomkv_written *written);

/** Releases a view. NULL does nothing. Since 0.1. */
void atomkv_view_release(atomkv_view *view);

/**
 * Reads a value with what is known of it.
 *
 * `value`: NULL, or receives the value, whose data the caller frees with `atomkv_free`; without it nothing of a
 * streamed document is read, however long that is. `entry`: NULL, or receives version, sequence and times.
 * `ATOMKV_NOT_FOUND` if the key is not there. Since 0.1.
 */
atomkv_status atomkv_get_entry(const atomkv_table *table,
                               const void *key,
                               size_t key_size,
                               atomkv_buffer *value,
                               atomkv_entry *entry);

/**
 * Reads one version of a document, of those that the table keeps (`atomkv_table_options_set_retention_versions` and
 * its siblings). `value`: NULL, or receives the value, whose data the caller frees with `atomkv_free`; NULL in it
 * for a tombstone. `entry`: NULL, or receives what is known of it. `ATOMKV_ERR_VERSION_NOT_FOUND` if the key never
 * had the version, `ATOMKV_ERR_VERSION_COMPACTED` if it is not kept any more. Since 0.1.
 */
atomkv_status atomkv_get_version(const atomkv_table *table,
                                 const void *key,
                                 size_t key_size,
                                 uint64_t version,
                                 atomkv_buffer *value,
                                 atomkv_entry *entry);

/**
 * Reads the version of a document that was there after the commit with this `sequence`, of those that the table
 * keeps. `value` and `entry` as in `atomkv_get_version`. `ATOMKV_NOT_FOUND` if the key was not there then, not yet
 * or not any more; `ATOMKV_ERR_VERSION_COMPACTED` if that is not known any more. Since 0.1.
 */
atomkv_status atomkv_get_at(const atomkv_table *table,
                            const void *key,
                            size_t key_size,
                            uint64_t sequence,
                            atomkv_buffer *value,
                            atomkv_entry *entry);

/**
 * Reads all versions of a document that the table keeps, the newest first. `history` receives them, or NULL on
 * failure; free it with `atomkv_history_free`. A key that was never there has an empty history. Since 0.1.
 */
atomkv_status atomkv_history_new(const atomkv_table *table,
                                 const void *key,
                                 size_t key_size,
                                 atomkv_history **history);

/** Frees a history with the bytes of its values. NULL does nothing. Since 0.1. */
void atomkv_history_free(atomkv_history *history);

/** How many versions there are. `count` receives it. Since 0.1. */
atomkv_status atomkv_history_len(const atomkv_history *history, size_t *count);

/**
 * One of the versions; `index` 0 is the newest. `value`: NULL, or receives the bytes, which live as long as the
 * history; NULL in it for a tombstone. `entry`: NULL, or receives what is known of it. `ATOMKV_DONE` if there are
 * not so many. Since 0.1.
 */
atomkv_status atomkv_history_at(const atomkv_history *history,
                                size_t index,
                                atomkv_slice *value,
                                atomkv_entry *entry);

/**
 * Stores a value unless the key has this very value already; durable as the table says. `written`: NULL, or receives
 * the version and sequence that the key has now. `changed`: NULL, or receives 1 if the value was written, 0 if it
 * was there already. Since 0.1.
 */
atomkv_status atomkv_put_if_changed(atomkv_table *table,
                                    const void *key,
                                    size_t key_size,
                                    const void *value,
                                    size_t value_size,
                                    atomkv_written *written,
                                    uint32_t *changed);

/**
 * Gives a document another expiry and leaves its value as it is; a new version, as any write. `options` must name an
 * expiry (`atomkv_write_options_set_ttl_ms`, `..._set_expires_at_ms`), and may name the rest. `ATOMKV_NOT_FOUND` if
 * the key is not there. `written`: NULL, or receives the version and sequence. Since 0.1.
 */
atomkv_status atomkv_set_expiry(atomkv_table *table,
                                const void *key,
                                size_t key_size,
                                const atomkv_write_options *options,
                                atomkv_written *written);

/**
 * Adds `operand` to a signed integer of 8 bytes, little-endian; a key that is not there counts as 0. `result`: NULL,
 * or receives the sum. `written`: NULL, or receives version and sequence. `ATOMKV_ERR_MERGE` if the value has not 8
 * bytes or the sum is out of range; nothing is written then. Threads may add to one key at once; no sum is lost.
 * Since 0.1.
 */
atomkv_status atomkv_add_integer(atomkv_table *table,
                                 const void *key,
                                 size_t key_size,
                                 int64_t operand,
                                 int64_t *result,
                                 atomkv_written *written);

/**
 * Adds a decimal integer written as text, such as `-12`, to one that is stored as text; a key that is not there
 * counts as 0. Operand, value and sum are in the range of 128 bits and without plus sign, spaces or leading zeros.
 * `operand` has `operand_size` bytes. `result`: NULL, or receives the sum as text, whose data the caller frees with
 * `atomkv_free`. `written` and errors: as `atomkv_add_integer`. Since 0.1.
 */
atomkv_status atomkv_add_decimal(atomkv_table *table,
                                 const void *key,
                                 size_t key_size,
                                 const void *operand,
                                 size_t operand_size,
                                 atomkv_buffer *result,
                                 atomkv_written *written);

/**
 * Appends `operand`, of `operand_size` bytes, to a value; a key that is not there counts as empty. `result`: NULL,
 * or receives the whole new value, whose data the caller frees with `atomkv_free`. `written`: NULL, or receives
 * version and sequence. `ATOMKV_ERR_VALUE_TOO_LARGE` if the result would be too long; nothing is written then. Since
 * 0.1.
 */
atomkv_status atomkv_append(atomkv_table *table,
                            const void *key,
                            size_t key_size,
                            const void *operand,
                            size_t operand_size,
                            atomkv_buffer *result,
                            atomkv_written *written);

/**
 * Applies a JSON merge patch (RFC 7396) to a JSON value; a key that is not there counts as `null`. Members that the
 * patch does not name stay byte for byte. `patch` has `patch_size` bytes. `result`: NULL, or receives the whole new
 * value, whose data the caller frees with `atomkv_free`. `written`: NULL, or receives version and sequence.
 * `ATOMKV_ERR_MERGE` if the value is no JSON, `ATOMKV_ERR_INVALID_ARGUMENT` if the patch is none; nothing is written
 * then. Since 0.1.
 */
atomkv_status atomkv_merge_json(atomkv_table *table,
                                const void *key,
                                size_t key_size,
                                const void *patch,
                                size_t patch_size,
                                atomkv_buffer *result,
                                atomkv_written *written);

/**
 * The document gets this value, which is copied. Only in an `atomkv_update_fn`. `ATOMKV_ERR_VALUE_TOO_LARGE` if it is
 * too long; `atomkv_update` ends with that too then, with nothing written, unless the callback says something else
 * by another put or a delete. Since 0.1.
 */
atomkv_status atomkv_update_put(atomkv_update_result *result,
                                const void *value,
                                size_t value_size);

/** The document is deleted, if it is there. Only in an `atomkv_update_fn`. Since 0.1. */
atomkv_status atomkv_update_delete(atomkv_update_result *result);

/**
 * Changes a document by a function of what is there: reads, calls `update` with `user_data`, and writes if nobody
 * else has changed the document meanwhile, else begins anew. Without a callback: `atomkv_get_entry`, then
 * `atomkv_put_with` and the sequence as `ATOMKV_EXPECT_SEQUENCE`, again while it is `ATOMKV_ERR_CONFLICT`.
 * `written`: NULL, or receives version and sequence. `ATOMKV_NOT_FOUND` if nothing was written because the callback
 * said nothing; what `atomkv_update_put` has refused at last, whatever the callback returned. Since 0.1.
 */
atomkv_status atomkv_update(atomkv_table *table,
                            const void *key,
                            size_t key_size,
                            atomkv_update_fn update,
                            void *user_data,
                            atomkv_written *written);

/** An empty batch, freed with `atomkv_batch_free`. Never NULL. Since 0.1. */
atomkv_batch *atomkv_batch_new(void);

/** Frees a batch. NULL does nothing. Since 0.1. */
void atomkv_batch_free(atomkv_batch *batch);

/**
 * Adds a put into `table`. Key and value are copied; a validator looks at the key when the batch is applied. Of
 * several operations on one key the last holds. Since 0.1.
 */
atomkv_status atomkv_batch_put(atomkv_batch *batch,
                               atomkv_table *table,
                               const void *key,
                               size_t key_size,
                               const void *value,
                               size_t value_size);

/**
 * `atomkv_batch_put` into `table` with options: what must be there for the batch to be applied, and expiry; the
 * durability is that of `atomkv_apply`. `options`: NULL for the defaults; not needed after the call. Since 0.1.
 */
atomkv_status atomkv_batch_put_with(atomkv_batch *batch,
                                    atomkv_table *table,
                                    const void *key,
                                    size_t key_size,
                                    const void *value,
                                    size_t value_size,
                                    const atomkv_write_options *options);

/**
 * `atomkv_batch_delete` from `table` with options: what must be there for the batch to be applied. `options`: NULL
 * for the defaults; not needed after the call. Since 0.1.
 */
atomkv_status atomkv_batch_delete_with(atomkv_batch *batch,
                                       atomkv_table *table,
                                       const void *key,
                                       size_t key_size,
                                       const atomkv_write_options *options);

/**
 * Makes the batch wait for a condition on a key of `table` that it need not change: `what`, an `atomkv_expect`, and
 * `number`, the version or sequence where one is expected. If it does not hold, `atomkv_apply` is
 * `ATOMKV_ERR_CONFLICT` and nothing happens. Since 0.1.
 */
atomkv_status atomkv_batch_expect(atomkv_batch *batch,
                                  const atomkv_table *table,
                                  const void *key,
                                  size_t key_size,
                                  int32_t what,
                                  uint64_t number);

/** Adds a delete of a key from `table`, whether or not it is there. Since 0.1. */
atomkv_status atomkv_batch_delete(atomkv_batch *batch, atomkv_table *table, const void *key, size_t key_size);

/** The number of operations in the batch. Since 0.1. */
atomkv_status atomkv_batch_len(const atomkv_batch *batch, size_t *operations);

/** Empties a batch for reuse. Since 0.1. */
atomkv_status atomkv_batch_clear(atomkv_batch *batch);

/**
 * Applies a batch: all of it or nothing, for every reader and after every crash, under one sequence. The batch stays
 * as it is. An empty one, one larger than 255 MiB, or one with a table of another database is
 * `ATOMKV_ERR_INVALID_ARGUMENT`.
 *
 * `how`: an `atomkv_durability`; `ATOMKV_DURABILITY_TABLE` is buffered here, since a batch may have several
 * tables. `sequence`: NULL, or receives the commit's sequence; 0 if there was nothing to do because the batch only
 * deletes keys that are not there. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_apply(atomkv_db *db,
                           const atomkv_batch *batch,
                           int32_t how,
                           uint64_t *sequence,
                           atomkv_error **error);

/** An empty arena, freed with `atomkv_arena_free`. Never NULL. Since 0.1. */
atomkv_arena *atomkv_arena_new(void);

/** Frees an arena and the bytes that slices point to in it. NULL does nothing. Since 0.1. */
void atomkv_arena_free(atomkv_arena *arena);

/**
 * Reads the values of many keys at once, faster than one by one: their places in memory are fetched together.
 *
 * `keys`: `count` slices. `arena`: receives the bytes. `values`: room for `count` slices, which point into the arena
 * until it is used again or freed; a key that is not there has NULL. Each key is read by itself: a write meanwhile
 * may be seen for one and not for another (`atomkv_snapshot_get_many` sees one moment). On failure all values are
 * NULL. At most 4 GiB at a time are sensible; there is no limit.
 *
 * A key that lies in `arena`, such as a value of the call before, is `ATOMKV_ERR_INVALID_ARGUMENT`. So are `keys` and
 * `values` that are one array, or overlap; they stay as they are then. Since 0.1.
 */
atomkv_status atomkv_get_many(const atomkv_table *table,
                              const atomkv_slice *keys,
                              size_t count,
                              atomkv_arena *arena,
                              atomkv_slice *values);

/** As `atomkv_get_many`, as the snapshot sees the table. Since 0.1. */
atomkv_status atomkv_snapshot_get_many(const atomkv_snapshot *snapshot,
                                       const atomkv_table *table,
                                       const atomkv_slice *keys,
                                       size_t count,
                                       atomkv_arena *arena,
                                       atomkv_slice *values);

/** Scan options for all keys, freed with `atomkv_scan_options_free`. Never NULL. Since 0.1. */
atomkv_scan_options *atomkv_scan_options_new(void);

/** Frees scan options. NULL does nothing. Since 0.1. */
void atomkv_scan_options_free(atomkv_scan_options *options);

/**
 * Only keys that are not below `key`, by the order of their bytes; or, if `inclusive` is 0, only those above it. On
 * a table without order all keys are looked at for this. Takes the place of a prefix. Since 0.1.
 */
atomkv_status atomkv_scan_options_set_low(atomkv_scan_options *options,
                                          const void *key,
                                          size_t key_size,
                                          int inclusive);

/** Only keys below `key`, or, if `inclusive` is not 0, not above it. Takes the place of a prefix. Since 0.1. */
atomkv_status atomkv_scan_options_set_high(atomkv_scan_options *options,
                                           const void *key,
                                           size_t key_size,
                                           int inclusive);

/** Only keys that begin with `prefix`, of `prefix_size` bytes. Takes the place of a range. Since 0.1. */
atomkv_status atomkv_scan_options_set_prefix(atomkv_scan_options *options,
                                             const void *prefix,
                                             size_t prefix_size);

/** Only keys in which `part`, of `part_size` bytes, occurs. Since 0.1. */
atomkv_status atomkv_scan_options_set_contains(atomkv_scan_options *options,
                                               const void *part,
                                               size_t part_size);

/**
 * Only keys that match a pattern as a whole: `*` stands for any bytes, `?` for one, `[a-c]` for one of some,
 * `[!a-c]` for one of the others; a backslash takes the meaning from what follows. Since 0.1.
 */
atomkv_status atomkv_scan_options_set_glob(atomkv_scan_options *options,
                                           const void *pattern,
                                           size_t pattern_size);

/**
 * From the last key to the first; only of ordered tables, else the iteration is `ATOMKV_ERR_INVALID_ARGUMENT`.
 * Default no. Since 0.1.
 */
atomkv_status atomkv_scan_options_set_reverse(atomkv_scan_options *options,
                                              int yes);

/** No more than so many keys. Default no limit. Since 0.1. */
atomkv_status atomkv_scan_options_set_limit(atomkv_scan_options *options, uint64_t keys);

/** Without values, which are not read then and are empty. Default no. Since 0.1. */
atomkv_status atomkv_scan_options_set_keys_only(atomkv_scan_options *options, int yes);

/**
 * Whether the iteration will be continued by `atomkv_iter_page_token`. Iterations of ordered tables, and those with
 * a limit, can be in any case; of another table, what is read lies farther apart then. Default no. Since 0.1.
 */
atomkv_status atomkv_scan_options_set_paged(atomkv_scan_options *options,
                                            int yes);

/**
 * Goes on behind the last key of an earlier iteration over the same table: `token` is what `atomkv_iter_page_token`
 * has told. The other options should be the same as then. Since 0.1.
 */
atomkv_status atomkv_scan_options_set_after(atomkv_scan_options *options,
                                            const void *token,
                                            size_t token_size);

/**
 * Begins an iteration over the keys of a table with their values as they are now, whatever is written meanwhile; in
 * the order of the keys if the table is ordered, else in none. Until it has come to its end or is freed, versions
 * that it may still come to are kept. `options`: NULL for all keys; not needed after the call. `iter` receives the
 * iterator, freed with `atomkv_iter_free`. Since 0.1.
 */
atomkv_status atomkv_iter_new(const atomkv_table *table,
                              const atomkv_scan_options *options,
                              atomkv_iter **iter);

/** As `atomkv_iter_new`, over what the snapshot sees of the table. Since 0.1. */
atomkv_status atomkv_snapshot_iter_new(const atomkv_snapshot *snapshot,
                                       const atomkv_table *table,
                                       const atomkv_scan_options *options,
                                       atomkv_iter **iter);

/**
 * Goes to the next key. `ATOMKV_DONE` at the end, as often as asked. `key`, `value` and `written` may be NULL; they
 * receive the key, its value and the write that stored it. The bytes stay valid until the next call on this iterator
 * or until it is freed. A damaged record is `ATOMKV_ERR_CORRUPT`; the next call goes on behind it. Since 0.1.
 */
atomkv_status atomkv_iter_next(atomkv_iter *iter,
                               atomkv_slice *key,
                               atomkv_slice *value,
                               atomkv_written *written);

/**
 * What is known of the document at which the iterator stands, after a successful `atomkv_iter_next`;
 * `ATOMKV_NOT_FOUND` if it stands at none. Since 0.1.
 */
atomkv_status atomkv_iter_entry(const atomkv_iter *iter, atomkv_entry *entry);

/**
 * Goes over many keys in one call, for callers to whom a call is dear.
 *
 * `arena`: receives the bytes. `count`: how many at most, at least 1; `bytes`: about how many bytes at most, 0 for 1
 * MiB: the call ends with the key that goes beyond, so there is always one. `keys`, `values`, `written`: each NULL
 * or with room for `count`; the slices point into the arena until it is used again or freed. `found` receives how
 * many there are; `ATOMKV_DONE` with 0 at the end. A damaged record ends the call before it; the next call is
 * `ATOMKV_ERR_CORRUPT` then, and the one after goes on behind it. Since 0.1.
 */
atomkv_status atomkv_iter_next_many(atomkv_iter *iter,
                                    atomkv_arena *arena,
                                    size_t count,
                                    size_t bytes,
                                    atomkv_slice *keys,
                                    atomkv_slice *values,
                                    atomkv_written *written,
                                    size_t *found);

/**
 * Where a later iteration goes on, with `atomkv_scan_options_set_after`: behind the key at which this one stands.
 * `token` receives bytes that hold for any process and after any reopening, whose data the caller frees with
 * `atomkv_free`. After `ATOMKV_DONE` that is the last key that came. `ATOMKV_NOT_FOUND` if the iteration cannot be
 * continued: nothing was read yet, it is a transaction's, or the table has no order and the options neither a limit
 * nor `atomkv_scan_options_set_paged`. Since 0.1.
 */
atomkv_status atomkv_iter_page_token(const atomkv_iter *iter,
                                     atomkv_buffer *token);

/** Ends an iteration. NULL does nothing. Since 0.1. */
void atomkv_iter_free(atomkv_iter *iter);

/**
 * Takes a snapshot. `snapshot` receives it, or NULL on failure; free it with `atomkv_snapshot_free`. `error`: NULL,
 * or receives the details of a failure, freed with `atomkv_error_free`. Since 0.1.
 */
atomkv_status atomkv_snapshot_new(atomkv_db *db,
                                  atomkv_snapshot **snapshot,
                                  atomkv_error **error);

/** Lets a snapshot go. NULL does nothing. Since 0.1. */
void atomkv_snapshot_free(atomkv_snapshot *snapshot);

/**
 * The last commit that the snapshot sees, and when it was taken, in milliseconds since the Unix epoch. `sequence`
 * and `time_ms` may be NULL. Since 0.1.
 */
atomkv_status atomkv_snapshot_sequence(const atomkv_snapshot *snapshot,
                                       uint64_t *sequence,
                                       uint64_t *time_ms);

/** `atomkv_contains`, as the snapshot sees the table. Since 0.1. */
atomkv_status atomkv_snapshot_contains(const atomkv_snapshot *snapshot,
                                       const atomkv_table *table,
                                       const void *key,
                                       size_t key_size);

/**
 * `atomkv_get`, as the snapshot sees the table: copies the value into the caller's `buffer` of `buffer_size` bytes,
 * and tells its length in `value_size` in any case. Since 0.1.
 */
atomkv_status atomkv_snapshot_get(const atomkv_snapshot *snapshot,
                                  const atomkv_table *table,
                                  const void *key,
                                  size_t key_size,
                                  void *buffer,
                                  size_t buffer_size,
                                  size_t *value_size);

/**
 * `atomkv_get_entry`, as the snapshot sees the table. `value` and `entry` may be NULL; free `value`'s data with
 * `atomkv_free`. Since 0.1.
 */
atomkv_status atomkv_snapshot_get_entry(const atomkv_snapshot *snapshot,
                                        const atomkv_table *table,
                                        const void *key,
                                        size_t key_size,
                                        atomkv_buffer *value,
                                        atomkv_entry *entry);

/**
 * Begins a transaction. `txn` receives it, or NULL on failure; free it with `atomkv_txn_free`. `error`: NULL, or
 * receives the details of a failure, freed with `atomkv_error_free`. Since 0.1.
 */
atomkv_status atomkv_txn_begin(atomkv_db *db,
                               atomkv_txn **txn,
                               atomkv_error **error);

/** Frees a transaction; one that was not committed has done nothing. NULL does nothing. Since 0.1. */
void atomkv_txn_free(atomkv_txn *txn);

/** The last commit that the transaction sees. `sequence` receives it. Since 0.1. */
atomkv_status atomkv_txn_sequence(const atomkv_txn *txn, uint64_t *sequence);

/**
 * Reads a value into the caller's `buffer` of `buffer_size` bytes, as `atomkv_get` does; `value_size` receives its
 * length in any case. Since 0.1.
 */
atomkv_status atomkv_txn_get(atomkv_txn *txn,
                             const atomkv_table *table,
                             const void *key,
                             size_t key_size,
                             void *buffer,
                             size_t buffer_size,
                             size_t *value_size);

/**
 * Reads a value into a buffer of its own, as `atomkv_get_owned` does: `value` receives it, and the caller frees its
 * data with `atomkv_free`. Since 0.1.
 */
atomkv_status atomkv_txn_get_owned(atomkv_txn *txn,
                                   const atomkv_table *table,
                                   const void *key,
                                   size_t key_size,
                                   atomkv_buffer *value);

/** Whether a key is in `table`: `ATOMKV_OK` or `ATOMKV_NOT_FOUND`. Since 0.1. */
atomkv_status atomkv_txn_contains(atomkv_txn *txn,
                                  const atomkv_table *table,
                                  const void *key,
                                  size_t key_size);

/**
 * Stores a value in `table` when the transaction is committed; it sees it itself at once. Key and value are copied.
 * Their lengths are checked at once: after a key or a value that no table takes the transaction is as it was. A
 * validator looks at the key at the commit. `options`: NULL for the defaults, else expiry and what must be there,
 * evaluated at the commit; the durability is that of the commit. Since 0.1.
 */
atomkv_status atomkv_txn_put(atomkv_txn *txn,
                             atomkv_table *table,
                             const void *key,
                             size_t key_size,
                             const void *value,
                             size_t value_size,
                             const atomkv_write_options *options);

/**
 * Removes a key from `table` when the transaction is committed, whether or not it is there; its length is checked at
 * once. `options`: NULL for the defaults, else what must be there, evaluated at the commit. Since 0.1.
 */
atomkv_status atomkv_txn_delete(atomkv_txn *txn,
                                atomkv_table *table,
                                const void *key,
                                size_t key_size,
                                const atomkv_write_options *options);

/**
 * Begins an iteration over what the transaction sees of a table, its own writes among it. All of it is read at once
 * and counts as read by the transaction: narrow it with `options` (NULL for all keys). The iterator gives keys and
 * values; it does not know versions, and does not need the transaction any more. `iter` receives it, freed with
 * `atomkv_iter_free`. Since 0.1.
 */
atomkv_status atomkv_txn_iter_new(atomkv_txn *txn,
                                  const atomkv_table *table,
                                  const atomkv_scan_options *options,
                                  atomkv_iter **iter);

/**
 * Commits: all that the transaction has written happens at once, if all that it has read is still so. Else it is
 * `ATOMKV_ERR_CONFLICT`, nothing has happened, and the transaction is to be begun anew. Either way this one has
 * ended; free it.
 *
 * `how`: an `atomkv_durability`; `ATOMKV_DURABILITY_TABLE` is buffered here, since a transaction may have several
 * tables. `sequence`: NULL, or receives the commit's sequence; 0 if there was nothing to write. `error`: NULL, or
 * receives the details of a failure, freed with `atomkv_error_free`. Since 0.1.
 */
atomkv_status atomkv_txn_commit(atomkv_txn *txn,
                                int32_t how,
                                uint64_t *sequence,
                                atomkv_error **error);

/**
 * Ends a transaction without doing anything; the same as freeing it, but the handle stays. Of one that has ended
 * already nothing happens. Since 0.1.
 */
atomkv_status atomkv_txn_abort(atomkv_txn *txn);

/**
 * Begins to write a document of any length. Nobody sees it before `atomkv_writer_finish`. `writer` receives the
 * writer, or NULL on failure; free it with `atomkv_writer_free`. Since 0.1.
 */
atomkv_status atomkv_writer_new(atomkv_table *table,
                                const void *key,
                                size_t key_size,
                                atomkv_writer **writer);

/** Appends `size` bytes of `data` to the document. After a failure the writer can only be freed. Since 0.1. */
atomkv_status atomkv_writer_append(atomkv_writer *writer, const void *data, size_t size);

/**
 * Stores the document under its key, as a whole: readers see all of it or what was there before. The writer has
 * ended then; free it.
 *
 * `options`: NULL for the defaults, else durability, what must be there, expiry. `written`: NULL, or receives
 * version and sequence. `error`: NULL, or receives the details of a failure, freed with `atomkv_error_free`. On
 * failure nothing is stored. Since 0.1.
 */
atomkv_status atomkv_writer_finish(atomkv_writer *writer,
                                   const atomkv_write_options *options,
                                   atomkv_written *written,
                                   atomkv_error **error);

/** Frees a writer; a document that was not finished is forgotten. NULL does nothing. Since 0.1. */
void atomkv_writer_free(atomkv_writer *writer);

/**
 * Opens a document for reading by parts, streamed or not. `reader` receives the reader, or NULL; free it with
 * `atomkv_reader_free`. `ATOMKV_NOT_FOUND` if the key is not there. Since 0.1.
 */
atomkv_status atomkv_reader_new(const atomkv_table *table,
                                const void *key,
                                size_t key_size,
                                atomkv_reader **reader);

/** As `atomkv_reader_new`, of what the snapshot sees. Since 0.1. */
atomkv_status atomkv_snapshot_reader_new(const atomkv_snapshot *snapshot,
                                         const atomkv_table *table,
                                         const void *key,
                                         size_t key_size,
                                         atomkv_reader **reader);

/**
 * The length of the document in bytes, and the write that stored it. `length` and `written` may be NULL. Since 0.1.
 */
atomkv_status atomkv_reader_len(const atomkv_reader *reader,
                                uint64_t *length,
                                atomkv_written *written);

/**
 * Reads the part of the document from the byte `offset` into `buffer`, of `buffer_size` bytes. `read` receives how
 * many there are: all that fit, less only at the document's end, 0 behind it. What is read was verified. Since 0.1.
 */
atomkv_status atomkv_reader_read(const atomkv_reader *reader,
                                 uint64_t offset,
                                 void *buffer,
                                 size_t buffer_size,
                                 size_t *read);

/** Frees a reader. NULL does nothing. Since 0.1. */
void atomkv_reader_free(atomkv_reader *reader);

/** Watch options for all tables from now on, freed with `atomkv_watch_options_free`. Never NULL. Since 0.1. */
atomkv_watch_options *atomkv_watch_options_new(void);

/** Frees watch options. NULL does nothing. Since 0.1. */
void atomkv_watch_options_free(atomkv_watch_options *options);

/**
 * Only changes of this table, and of others that are named so. A table with a compressor of the program's own must
 * be named, since only its handle can read the values. Since 0.1.
 */
atomkv_status atomkv_watch_options_add_table(atomkv_watch_options *options,
                                             const atomkv_table *table);

/** Only changes of keys that begin with `prefix`, of `prefix_size` bytes. Since 0.1. */
atomkv_status atomkv_watch_options_set_prefix(atomkv_watch_options *options,
                                              const void *prefix,
                                              size_t prefix_size);

/**
 * From the commit with this `sequence` on, itself included, instead of from now on. If it is not in the log any
 * more, the watch is `ATOMKV_ERR_COMPACTED`. Since 0.1.
 */
atomkv_status atomkv_watch_options_set_from(atomkv_watch_options *options,
                                            uint64_t sequence);

/** Whether all documents that are there come first, as `ATOMKV_CHANGE_STATE`. Default no. Since 0.1. */
atomkv_status atomkv_watch_options_set_state_first(atomkv_watch_options *options, int yes);

/**
 * Begins a watch. `options`: NULL for all tables from now on; not needed after the call. `watch` receives the watch,
 * or NULL on failure; free it with `atomkv_watch_free`. `error`: NULL, or receives the details of a failure, freed
 * with `atomkv_error_free`.
 *
 * Where a table has a compressor of the program's own, name it, and all others that are wanted, by
 * `atomkv_watch_options_add_table`. Else the watch stays before the first of its values: that `atomkv_watch_next`,
 * and each one after it, is `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
 */
atomkv_status atomkv_watch_new(atomkv_db *db,
                               const atomkv_watch_options *options,
                               atomkv_watch **watch,
                               atomkv_error **error);

/**
 * Waits for the next change, in the order of the commits.
 *
 * `timeout_ms`: how long it waits at most, in milliseconds; 0 for not at all. Interrupt a longer wait by closing the
 * database, or wait in small portions. `change` receives the change; its slices live until the next call on the
 * watch. `ATOMKV_TIMEOUT` if there was none. `ATOMKV_ERR_COMPACTED` if the watch has fallen so far behind that it
 * was not waited for. Since 0.1.
 */
atomkv_status atomkv_watch_next(atomkv_watch *watch,
                                uint64_t timeout_ms,
                                atomkv_change *change);

/**
 * From which sequence a later watch goes on where this one is, for `atomkv_watch_options_set_from`: it does not give
 * a commit again of which all changes were given. `sequence` receives it. Since 0.1.
 */
atomkv_status atomkv_watch_resume_from(const atomkv_watch *watch,
                                       uint64_t *sequence);

/** Ends a watch. NULL does nothing. Since 0.1. */
void atomkv_watch_free(atomkv_watch *watch);

/**
 * One of the numbers by its name, NUL-terminated. `value` receives it. Another name is
 * `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
 */
atomkv_status atomkv_report_value(const atomkv_report *report, const char *name, uint64_t *value);

/**
 * The numbers one after the other, from `index` 0. `name`: NULL, or receives its name, NUL-terminated, which lives
 * as long as the report. `value`: NULL, or receives it. `ATOMKV_DONE` if there are not so many. Since 0.1.
 */
atomkv_status atomkv_report_at(const atomkv_report *report,
                               size_t index,
                               const char **name,
                               uint64_t *value);

/**
 * The whole report as a JSON object, NUL-terminated UTF-8, with texts and lists that are no numbers too. It lives as
 * long as the report; an empty text for NULL. Since 0.1.
 */
const char *atomkv_report_json(const atomkv_report *report);

/** Frees a report and its texts. NULL does nothing. Since 0.1. */
void atomkv_report_free(atomkv_report *report);

/** Somebody to follow a call, freed with `atomkv_progress_free`. Never NULL. Since 0.1. */
atomkv_progress *atomkv_progress_new(void);

/** Frees it; not while a call uses it. NULL does nothing. Since 0.1. */
void atomkv_progress_free(atomkv_progress *progress);

/**
 * Has a callback told of calls that begin from now on. `callback`: NULL for none. `user_data` is handed to it.
 * `destroy`: NULL, or called once with `user_data` when the callback is not needed any more: after the free, or when
 * another takes its place; also if this call fails. Since 0.1.
 */
atomkv_status atomkv_progress_set_callback(atomkv_progress *progress,
                                           atomkv_progress_fn callback,
                                           void *user_data,
                                           void (*destroy)(void *user_data));

/**
 * How far the call is that uses it, or how far the last one came. From any thread. `values` receives it. Since 0.1.
 */
atomkv_status atomkv_progress_get(const atomkv_progress *progress,
                                  atomkv_progress_values *values);

/**
 * Ends the call that uses it, within moments, with `ATOMKV_ERR_CANCELLED` (one that is all but done may succeed),
 * and every later one, until it is allowed again: `yes` 1 to end, 0 to allow. From any thread. Since 0.1.
 */
atomkv_status atomkv_progress_cancel(atomkv_progress *progress,
                                     int yes);

/**
 * Makes a new file to write to. `file_path`: NUL-terminated, in the system's encoding; a file that exists is
 * `ATOMKV_ERR_ALREADY_EXISTS`. `output` receives the output, or NULL; free it with `atomkv_output_free`. What is
 * written is on stable storage when the call that writes it has succeeded; after a failure, what was written so far
 * stays. Since 0.1.
 */
atomkv_status atomkv_output_file(const char *file_path,
                                 atomkv_output **output);

/**
 * Memory to write to, taken with `atomkv_output_take`. Never NULL; free it with `atomkv_output_free`. Since 0.1.
 */
atomkv_output *atomkv_output_memory(void);

/**
 * A callback to write to. `user_data` is handed to it. `destroy`: NULL, or called once with `user_data` when the
 * output is freed; also if this call fails. `output` receives the output, or NULL; free it with
 * `atomkv_output_free`. Since 0.1.
 */
atomkv_status atomkv_output_callback(atomkv_write_fn write,
                                     void *user_data,
                                     void (*destroy)(void *user_data),
                                     atomkv_output **output);

/**
 * Takes what was written to memory so far, which is empty again then. `data` receives it; free its data with
 * `atomkv_free`. Of another output it is `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
 */
atomkv_status atomkv_output_take(atomkv_output *output, atomkv_buffer *data);

/** Frees an output, not while a call uses it; a file is closed. NULL does nothing. Since 0.1. */
void atomkv_output_free(atomkv_output *output);

/**
 * Opens a file to read from. `file_path`: NUL-terminated, in the system's encoding. `input` receives the input, or
 * NULL; free it with `atomkv_input_free`. Since 0.1.
 */
atomkv_status atomkv_input_file(const char *file_path,
                                atomkv_input **input);

/**
 * Memory to read from: `size` bytes of `data`, which are copied. `input` receives the input, or NULL; free it with
 * `atomkv_input_free`. Since 0.1.
 */
atomkv_status atomkv_input_memory(const void *data,
                                  size_t size,
                                  atomkv_input **input);

/**
 * A callback to read from. `user_data` is handed to it. `destroy`: NULL, or called once with `user_data` when the
 * input is freed; also if this call fails. `input` receives the input, or NULL; free it with `atomkv_input_free`.
 * Since 0.1.
 */
atomkv_status atomkv_input_callback(atomkv_read_fn read,
                                    void *user_data,
                                    void (*destroy)(void *user_data),
                                    atomkv_input **input);

/** Frees an input, not while a call uses it. NULL does nothing. Since 0.1. */
void atomkv_input_free(atomkv_input *input);

/** Transfer options with the defaults, freed with `atomkv_transfer_options_free`. Never NULL. Since 0.1. */
atomkv_transfer_options *atomkv_transfer_options_new(void);

/** Frees transfer options. NULL does nothing. Since 0.1. */
void atomkv_transfer_options_free(atomkv_transfer_options *options);

/**
 * Sets one option by its name, to a value written as text; both NUL-terminated. Another name, or a value that the
 * option does not have, is `ATOMKV_ERR_INVALID_ARGUMENT`. Since 0.1.
 *
 * Both ways: "format": "jsonl" (default), "csv", "dump". "key_encoding", "value_encoding": "auto", "text", "hex",
 * "base64", "json" (values only). "delimiter": one ASCII character, for CSV.
 *
 * Exports, each "true" or "false": "header" (CSV; default true), "versions" (versions and sequences too; default
 * false), "expiry" (default true), "skip_large" (values that the format cannot hold are left out and counted; default
 * false). Of these `atomkv_dump` knows "versions" only: a dump always tells when its documents expire.
 *
 * Imports: "if_exists": "replace" (default), "skip", "fail". "skip_malformed": how many malformed records are left
 * out and counted before one is an error (default 0). "keep_expiry": "true" (default), "false". "sync": "true"
 * (default: all is on stable storage at the end), "false". "skip_records": how many records of the input to read
 * over. "resume_records" and "resume_offset": "position_records" and "position_offset" of the report of an earlier
 * import of the same input, which goes on there. "record_bytes_max": the most bytes that a record of a text format
 * may take.
 */
atomkv_status atomkv_transfer_options_set(atomkv_transfer_options *options,
                                          const char *name,
                                          const char *value);

/**
 * Which keys an export is for, and in which order. `scan`: NULL for all; not needed after the call. Since 0.1.
 */
atomkv_status atomkv_transfer_options_set_scan(atomkv_transfer_options *options,
                                               const atomkv_scan_options *scan);

/**
 * Keeps an import's position in the database itself, under a key of a table of its own, in the same commits as the
 * records: an import that was killed is simply run again. The key is deleted at the end. Since 0.1.
 */
atomkv_status atomkv_transfer_options_set_bookmark(atomkv_transfer_options *options,
                                                   const atomkv_table *table,
                                                   const void *key,
                                                   size_t key_size);

/** Dumps this table, and others that are named so, instead of all. `table_name`: NUL-terminated. Since 0.1. */
atomkv_status atomkv_transfer_options_add_table(atomkv_transfer_options *options, const char *table_name);

/**
 * Says with which services a table is opened that a dump reads or a load of a dump makes, where they are not
 * AtomKV's own. `table_name`: NUL-terminated. `services`: table options that name them; not needed after the call.
 * Since 0.1.
 */
atomkv_status atomkv_transfer_options_add_services(atomkv_transfer_options *options,
                                                   const char *table_name,
                                                   const atomkv_table_options *services);

/**
 * Exports a table as it is now, whatever is written meanwhile. The formats are described in docs/transfer.md.
 *
 * `options`: NULL for all records as JSON Lines. `output`: where to. `progress`: NULL, or follows the call and can
 * end it. `report`: NULL, or receives what came of it, on failure too (NULL only if an argument was refused); free
 * it with `atomkv_report_free`. `error`: NULL, or receives the details of a failure, freed with `atomkv_error_free`.
 * Since 0.1.
 */
atomkv_status atomkv_export(const atomkv_table *table,
                            const atomkv_transfer_options *options,
                            atomkv_output *output,
                            atomkv_progress *progress,
                            atomkv_report **report,
                            atomkv_error **error);

/** `atomkv_export` of what the snapshot sees of the table. Since 0.1. */
atomkv_status atomkv_snapshot_export(const atomkv_snapshot *snapshot,
                                     const atomkv_table *table,
                                     const atomkv_transfer_options *options,
                                     atomkv_output *output,
                                     atomkv_progress *progress,
                                     atomkv_report **report,
                                     atomkv_error **error);

/**
 * Imports records into a table. They are committed a few thousand at a time; after a failure those before it are
 * imported, and the report says where to go on. `input`: where from. The other arguments as in `atomkv_export`.
 * `ATOMKV_ERR_INPUT` if the input is not as it should be. Since 0.1.
 */
atomkv_status atomkv_import(atomkv_table *table,
                            const atomkv_transfer_options *options,
                            atomkv_input *input,
                            atomkv_progress *progress,
                            atomkv_report **report,
                            atomkv_error **error);

/**
 * Dumps all tables of a database, or those that `options` name, as they are at one moment, with their definitions.
 * The arguments as in `atomkv_export`. Since 0.1.
 */
atomkv_status atomkv_dump(atomkv_db *db,
                          const atomkv_transfer_options *options,
                          atomkv_output *output,
                          atomkv_progress *progress,
                          atomkv_report **report,
                          atomkv_error **error);

/**
 * Loads a dump: makes the tables that are not there and imports their records. The arguments as in `atomkv_import`.
 * Since 0.1.
 */
atomkv_status atomkv_load_dump(atomkv_db *db,
                               const atomkv_transfer_options *options,
                               atomkv_input *input,
                               atomkv_progress *progress,
                               atomkv_report **report,
                               atomkv_error **error);

/**
 * Settles everything written so far and gives the space of all that is dead back to the file system. Runs by itself
 * as dead bytes gather. Readers and writers go on meanwhile; the call takes as long as copying the database.
 *
 * `progress`: NULL, or follows the call and can end it; what was settled by then stays so. `report`: NULL, or
 * receives "segments_removed", "segments_written", "records_moved", "segments_damaged", "bytes_before",
 * "bytes_after"; NULL on failure; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. `ATOMKV_ERR_IO` may
 * come when all the rest is settled: where a segment could not be read for what has expired in it, which goes a later
 * time. Since 0.1.
 */
atomkv_status atomkv_compact(atomkv_db *db,
                             atomkv_progress *progress,
                             atomkv_report **report,
                             atomkv_error **error);

/**
 * Asks the background not to compact until `pause` and all others like it are freed, with
 * `atomkv_compaction_pause_free`. A round that is running goes on to its end. `pause` receives it, or NULL on
 * failure. Space that is dead is not given back meanwhile. Since 0.1.
 */
atomkv_status atomkv_pause_compaction(atomkv_db *db, atomkv_compaction_pause **pause);

/** Ends a pause. NULL does nothing. Since 0.1. */
void atomkv_compaction_pause_free(atomkv_compaction_pause *pause);

/**
 * Gives a table another number of partitions, 1 to 16,384, in milliseconds and while it is used.
 *
 * `report`: NULL, or receives "from", "to", "subtables_shared", "entries_copied", "bytes_written", "elapsed_us",
 * "writers_waited_us"; NULL on failure; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_table_resize(atomkv_table *table,
                                  uint32_t partitions,
                                  atomkv_report **report,
                                  atomkv_error **error);

/**
 * Makes a backup in a directory, of one moment, while the database is used; into an earlier backup of the same
 * database it adds what is new. A backup is a database: open it, or `atomkv_restore` it.
 *
 * `directory`: NUL-terminated, in the system's encoding. `flags`: `atomkv_backup_flags`, or 0. `progress`: NULL, or
 * follows the call and can end it. `report`: NULL, or receives "sequence", "files", "files_kept", "files_linked",
 * "bytes", "bytes_copied", "elapsed_us"; NULL on failure; free it with `atomkv_report_free`. `error`: as in
 * `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_backup(atomkv_db *db,
                            const char *directory,
                            uint32_t flags,
                            atomkv_progress *progress,
                            atomkv_report **report,
                            atomkv_error **error);

/**
 * Writes a backup as a tar archive with checksums. `output`: where to; after a failure what was written is no
 * backup. The other arguments as in `atomkv_backup`. Since 0.1.
 */
atomkv_status atomkv_backup_stream(atomkv_db *db,
                                   atomkv_output *output,
                                   atomkv_progress *progress,
                                   atomkv_report **report,
                                   atomkv_error **error);

/**
 * Restores a backup into a new directory. `backup` and `directory`: NUL-terminated, in the system's encoding; the
 * directory must be missing or empty. `flags`: `ATOMKV_BACKUP_VERIFY`, or 0. `progress`: NULL, or follows the call
 * and can end it. `report`: NULL, or receives "sequence", "taken_ms", "files", "bytes", "elapsed_us"; NULL on
 * failure; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_restore(const char *backup,
                             const char *directory,
                             uint32_t flags,
                             atomkv_progress *progress,
                             atomkv_report **report,
                             atomkv_error **error);

/**
 * Restores what `atomkv_backup_stream` has written, into a new directory. `input`: where from. The other arguments
 * as in `atomkv_restore`. Since 0.1.
 */
atomkv_status atomkv_restore_stream(atomkv_input *input,
                                    const char *directory,
                                    uint32_t flags,
                                    atomkv_progress *progress,
                                    atomkv_report **report,
                                    atomkv_error **error);

/**
 * Reads all that a database has stored and verifies it, while it is used. `ATOMKV_ERR_CORRUPT` if anything is
 * damaged; the report lists what.
 *
 * `progress`: NULL, or follows the call and can end it. `report`: NULL, or receives "files", "records", "bytes",
 * "keys", "damage_count", "unclean_end", and in its JSON the damages with file, offset, table and key; with damage
 * too, NULL on other failures; free it with `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_verify(atomkv_db *db,
                            atomkv_progress *progress,
                            atomkv_report **report,
                            atomkv_error **error);

/**
 * `atomkv_verify` of a database that is not open, without opening it; nothing is changed. `directory`:
 * NUL-terminated, in the system's encoding. Since 0.1.
 */
atomkv_status atomkv_verify_directory(const char *directory,
                                      atomkv_progress *progress,
                                      atomkv_report **report,
                                      atomkv_error **error);

/**
 * Copies what can be read of a damaged database into a new one. The damaged one is not changed.
 *
 * `damaged` and `directory`: NUL-terminated, in the system's encoding; the directory must be missing or empty.
 * `services_table` and `services`: NULL, or the name of a table and table options with its services, where they are
 * not AtomKV's own. `progress`: NULL, or follows the call and can end it. `report`: NULL, or receives
 * "manifest_found", "records", "bytes", "documents", "old_versions_left_out", "damage_count", "lost_count",
 * "older_count", "undecodable_count", and in its JSON the tables and the lists; NULL on failure; free it with
 * `atomkv_report_free`. `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_salvage(const char *damaged,
                             const char *directory,
                             const char *services_table,
                             const atomkv_table_options *services,
                             atomkv_progress *progress,
                             atomkv_report **report,
                             atomkv_error **error);

/**
 * All statistics of a database, explained in docs/statistics.md: counters, sizes in bytes, latencies. `report`
 * receives them, or NULL on failure; free it with `atomkv_report_free`. Works on a closed database too. Since 0.1.
 */
atomkv_status atomkv_stats(const atomkv_db *db,
                           atomkv_report **report);

/**
 * All statistics of a table: "keys", "partitions", "index_bytes" and more, explained in docs/statistics.md. `report`
 * receives them, or NULL on failure; free it with `atomkv_report_free`. Since 0.1.
 */
atomkv_status atomkv_table_stats(const atomkv_table *table,
                                 atomkv_report **report);

/**
 * Sends what the databases of this process report to a callback: openings, checkpoints, compaction, resizes, slow
 * and failed syncs, damage, never single reads and writes. Holds for all databases of the process, open or opened
 * later, and replaces an earlier callback. Any thread.
 *
 * `level`: an `atomkv_log_level`; events of it and graver ones come. `callback`: receives an event as a line of
 * text, "name key=value key=value", where values with spaces or quotation marks are quoted and escaped; `text` is
 * NUL-terminated UTF-8, shorter than `ATOMKV_LOG_LINE_BYTES`, `size` its bytes without the NUL, both for the time of
 * the call. NULL, or the level `ATOMKV_LOG_OFF`, ends an earlier callback. `user_data`: handed to each call; may be
 * NULL. `destroy`: NULL, or called once for `user_data` when the callback is called no more, also if this call
 * fails, which leaves an earlier callback as it was.
 *
 * The callback runs on a thread of AtomKV's own that holds none of its locks, one line after the other and a moment
 * after the event: it needs no locks of its own towards itself, may be slow, and may call AtomKV, also with the
 * database that reports; events of such calls come later like all others. Up to 1,024 lines wait for it; if there
 * are more, the oldest are dropped, and a line "log lines dropped count=N" tells how many. It must not throw,
 * unwind, `longjmp` or end its thread. `destroy` runs on that thread too, or on the one that makes a call that
 * fails.
 *
 * When this call returns, the earlier callback has received all that was waiting and its `destroy` has run. So do
 * not call while holding a lock that the callback takes; call it with NULL before the program ends, or the last
 * lines may be missing. From within the callback it may be called as well: then it does not wait, and the callback
 * that is replaced receives what is waiting, and its `destroy` runs, after it has returned.
 *
 * In a child of fork() nothing is reported until the child calls this; the parent's `destroy` does not run there. A
 * runtime that cannot be called on a foreign thread uses `atomkv_log_collect` and `atomkv_log_next`.
 *
 * Errors: `ATOMKV_ERR_INVALID_ARGUMENT` for a level that does not exist; `ATOMKV_ERR_ALREADY_EXISTS` in a program
 * that is linked with the static library and has already another receiver of such events;
 * `ATOMKV_ERR_IO` if no thread can be started. Since 0.1.
 */
atomkv_status atomkv_log_set(int32_t level,
                             void (*callback)(void *user_data,
                                              atomkv_log_level level,
                                              const char *text,
                                              size_t size),
                             void *user_data,
                             void (*destroy)(void *user_data));

/**
 * Begins to collect what the databases of this process report, for `atomkv_log_next`, beside a callback if there is
 * one. Nothing is collected before. `level`: an `atomkv_log_level`; events of it and graver ones are collected.
 * `capacity`: how many lines wait, 1 to 1,048,576, each of up to `ATOMKV_LOG_LINE_BYTES`; if there are more, the
 * oldest are dropped, and a line "log lines dropped count=N" tells how many. `ATOMKV_LOG_OFF` or 0 ends it; what
 * waits may still be taken. Called again, it changes level and capacity. Any thread.
 *
 * In a child of fork() nothing is collected until the child calls this. Errors: as `atomkv_log_set`. Since 0.1.
 */
atomkv_status atomkv_log_collect(int32_t level,
                                 size_t capacity);

/**
 * Takes the oldest line that was collected, see `atomkv_log_collect`, or waits for one: the form of the log for
 * programs that are not to be called. The lines are those of `atomkv_log_set`.
 *
 * `buffer`: receives the text and a NUL; room for `buffer_size` bytes, of which `ATOMKV_LOG_LINE_BYTES` are always
 * enough; may be NULL if `buffer_size` is 0. `text_size`: receives the size of the text without the NUL, also with
 * `ATOMKV_ERR_BUFFER_TOO_SMALL`, which leaves the line where it is; 0 if there is none. `level`: NULL, or receives
 * the line's level; `ATOMKV_LOG_OFF` if there is none. `timeout_ms`: how long to wait for a line, in milliseconds; 0
 * to not wait, `UINT64_MAX` for ever.
 *
 * `ATOMKV_TIMEOUT` if there was none in that time; `ATOMKV_DONE` if there is none and none will come, since nothing
 * is collected (any more). Any thread; each line goes to one caller. Since 0.1.
 */
atomkv_status atomkv_log_next(char *buffer,
                              size_t buffer_size,
                              size_t *text_size,
                              atomkv_log_level *level,
                              uint64_t timeout_ms);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ATOMKV_H */
