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
    /** There is not enough memory. */
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

/** How grave an event is. As a limit: events of this level and graver ones. */
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

/** When an acknowledged write is on stable storage. */
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

/**
 * Puts and deletes over any tables of one database that are applied together. Any thread; calls on one batch wait
 * for each other. It keeps the database of its first table open.
 */
typedef struct atomkv_batch atomkv_batch;

/** An open database. Any thread, many at once. */
typedef struct atomkv_db atomkv_db;

/**
 * The details of an error. Made by calls that have an `error` parameter; free it with `atomkv_error_free`. It may
 * be read by several threads at once.
 */
typedef struct atomkv_error atomkv_error;

/** An iteration over a table. Any thread; calls on one iterator wait for each other. */
typedef struct atomkv_iter atomkv_iter;

/** How a database is opened. One thread at a time; may be used for several databases and freed at any time. */
typedef struct atomkv_options atomkv_options;

/**
 * A table of an open database. Any thread, many at once. It keeps its database open until it is freed or the
 * database is closed.
 */
typedef struct atomkv_table atomkv_table;

/**
 * How a table is created or opened. One thread at a time; may be used for several tables and freed at any time.
 */
typedef struct atomkv_table_options atomkv_table_options;

/**
 * A value that is held where it lies, see `atomkv_get_view`. May be read by many threads at once and released on
 * any thread.
 */
typedef struct atomkv_view atomkv_view;

/** How a single write happens. One thread at a time; may be used for many writes and freed at any time. */
typedef struct atomkv_write_options atomkv_write_options;

/** Bytes that belong to somebody else. */
typedef struct {
    /**
     * The first byte; NULL if there is no result (not found, the end of an iteration, an error). Not NUL-terminated.
     */
    const void *data;
    /** How many bytes. */
    size_t size;
} atomkv_slice;

/** What a write did. */
typedef struct {
    /** The key's version: 1 for a new key, one more with each change. A delete has a version too. */
    uint64_t version;
    /** The commit's place in the history of the database: rising, without two alike. */
    uint64_t sequence;
} atomkv_written;

/** Bytes that belong to the caller, who frees `data` with `atomkv_free`. */
typedef struct {
    /** The first byte; NULL if there is no result (not found, an error). Not NUL-terminated. */
    void *data;
    /** How many bytes. */
    size_t size;
} atomkv_buffer;

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
 * The seed that the hashes of a new database's keys begin with; random unless given. For tests: a seed that strangers
 * know lets them choose keys that make a table slow. Since 0.1.
 */
atomkv_status atomkv_options_set_hash_seed(atomkv_options *options,
                                           uint64_t seed);

/** Table options with the defaults, freed with `atomkv_table_options_free`. Never NULL. Since 0.1. */
atomkv_table_options *atomkv_table_options_new(void);

/** Frees table options. NULL does nothing. Since 0.1. */
void atomkv_table_options_free(atomkv_table_options *options);

/** Whether a table that is missing is created (default) or is `ATOMKV_ERR_TABLE_NOT_FOUND`. Since 0.1. */
atomkv_status atomkv_table_options_set_create_if_missing(atomkv_table_options *options, int yes);

/**
 * The number of partitions that a new table begins with, 1 to 16,384; 16 by default. A table that exists keeps what it
 * has. Since 0.1.
 */
atomkv_status atomkv_table_options_set_partitions(atomkv_table_options *options,
                                                  uint32_t partitions);

/**
 * The durability of writes that do not name one: an `atomkv_durability`. Stored when the table is created; for an
 * existing table it holds for the handle. Since 0.1.
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
 * How many versions of a document are kept, the newest among them, at least 1. Stored when the table is created. Default
 * 1: nothing of the past. Since 0.1.
 */
atomkv_status atomkv_table_options_set_retention_versions(atomkv_table_options *options,
                                                          uint32_t versions);

/**
 * How long a version is kept after a newer one has replaced it, in milliseconds, at least 1. Stored when the table is
 * created. Since 0.1.
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
 * The document expires at a time in milliseconds since the Unix epoch; `ATOMKV_NEVER` for never, also where the table
 * has a time to live. Since 0.1.
 */
atomkv_status atomkv_write_options_set_expires_at_ms(atomkv_write_options *options,
                                                     uint64_t time_ms);

/**
 * Gives the table a hasher of the program's own: `hash` turns a key into 64 well-mixed bits. It should depend on `seed`,
 * which is the database's; else strangers who choose keys can make the table slow. Keys that collide are told apart.
 *
 * `name`: NUL-terminated UTF-8 of 1 to 255 bytes, none of AtomKV's own, and `version`: what the service is, stored when
 * the table is created. Opening the table with another, or without it, is `ATOMKV_ERR_SERVICES_MISMATCH`. Change the
 * version when the answers change. `user_data`: handed to each call of `hash`; may be NULL. `destroy`: NULL, or called
 * once for `user_data` when neither options nor open tables use the service any more, on the thread that frees the last
 * of them; at once if this call fails. A setter that is called again replaces the earlier service.
 *
 * Rules for the callbacks of all services. They are called only on threads that call AtomKV, within the call: none of
 * the database's own threads does, since compaction and the replay at opening move stored bytes, and records of such
 * tables carry the key's place. Several threads may call at once, so `user_data` must bear that. A callback must give
 * the same answer for the same input for ever, in every process; must not keep its pointers, which hold for the call;
 * must not call AtomKV with the same database; must not throw, unwind, `longjmp` or end its thread; and should be
 * quick, since reads and writes wait for it. There is no form with polling: each call needs its answer before it can
 * go on. A runtime that cannot be called from foreign threads is called only on those of its own from which it calls
 * AtomKV; one that cannot be called at all chooses from AtomKV's own services with `atomkv_table_options_set_service`
 * and compresses or checks before it puts.
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
 * over partitions. `hash`: the key's hash by the table's hasher. A slot above 16,383 refuses the key: the call that has
 * brought it, reading or writing, is `ATOMKV_ERR_INVALID_KEY`, and nothing is written.
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
 * Gives the table a validator of the program's own, which is asked about the key of each call, reading or writing, that
 * has 1 to 65,535 bytes. `validate` gives 0 to take the key; any other number refuses it, and the call is
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
 * `compress` is asked about each value of at least 6 bytes. It reads `value`, may write up to `out_capacity` bytes to
 * `out`, and stores in `out_size` how many they are; the room is a sixth and a kilobyte larger than the value, enough for
 * the worst case of the usual compressors. 0 bytes (which `out_size` is before the call) say that the value is to be
 * stored as it is; so it is too if what was written is not at least 5 bytes shorter. `decompress` reads the bytes that
 * `compress` wrote, writes the value to `out` and stores its size in `out_size`; `out_capacity` is the size of the value,
 * which AtomKV keeps, and exactly so much must come. Both give 0, or another number for a failure.
 *
 * A failure, a size larger than the buffer, bytes outside of the buffer (as far as 64 bytes round it show them) and a value
 * that does not come back are `ATOMKV_ERR_DOCUMENT`, whose message has the number; a write is refused then and what was
 * there stays, a read gives nothing. Each value is decompressed and compared before it is written, unless
 * `atomkv_table_options_set_compressor_check` says otherwise, so a compressor that is broken refuses writes instead of
 * losing data. The data behind a table cannot be read without its compressor: keep it as long as the data.
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
 * Whether each value that the program's own compressor has made shorter is decompressed again and compared before it is
 * written. Default yes. Without, writes are faster, and a compressor that is broken loses data. Holds for the tables
 * that are opened with these options afterwards, until `atomkv_table_options_set_compressor` is called again.
 * `ATOMKV_ERR_INVALID_ARGUMENT` if the options have no compressor of the program's own. Since 0.1.
 */
atomkv_status atomkv_table_options_set_compressor_check(atomkv_table_options *options,
                                                        int yes);

/**
 * Says which serializer the program uses to turn its documents into the bytes that it puts, for layers that have typed
 * documents. AtomKV never calls it; it stores what it is when the table is created, and opening the table with another is
 * `ATOMKV_ERR_SERVICES_MISMATCH`. Without this call a table counts as one of "json" documents, whatever its values are.
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
 * Writes everything out, ends the background threads and gives the directory free. The handle stays valid, and it
 * and everything that was opened from it answers `ATOMKV_ERR_CLOSED` from then on, except what needs no database
 * (names, numbers of partitions, counters); views stay readable. A second call returns when the directory is free and
 * succeeds. May be called while other threads use the database: their calls end or answer
 * `ATOMKV_ERR_CLOSED`. On failure the directory is given free all the same. `error`: as in `atomkv_open`. Since 0.1.
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
 * Settles everything written so far and gives the space of all that is dead back to the file system. Runs by itself
 * as dead bytes gather. Readers and writers go on meanwhile; the call takes as long as copying the database.
 * `error`: as in `atomkv_open`. Since 0.1.
 */
atomkv_status atomkv_compact(atomkv_db *db,
                             atomkv_error **error);

/**
 * One of the database's counters by its name. Sizes are bytes:
 * "tables", "keys", "sequence", "synced_sequence", "unsynced_bytes", "log_segments", "page_segments", "live_bytes",
 * "dead_bytes", "disk_bytes", "index_bytes", "checkpoint_generation", "checkpoints", "compactions", "syncs",
 * "replayed_records", "rebuilt_index", "damaged_records_skipped", "read_only". Another name is
 * `ATOMKV_ERR_INVALID_ARGUMENT`. Works on a closed database too. Since 0.1.
 */
atomkv_status atomkv_stat(const atomkv_db *db,
                          const char *name,
                          uint64_t *value);

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

/** An empty batch, freed with `atomkv_batch_free`. Never NULL. Since 0.1. */
atomkv_batch *atomkv_batch_new(void);

/** Frees a batch. NULL does nothing. Since 0.1. */
void atomkv_batch_free(atomkv_batch *batch);

/**
 * Adds a put. Key and value are copied; a validator looks at the key when the batch is applied. Of several operations on one key the
 * last holds. Since 0.1.
 */
atomkv_status atomkv_batch_put(atomkv_batch *batch,
                               atomkv_table *table,
                               const void *key,
                               size_t key_size,
                               const void *value,
                               size_t value_size);

/** Adds a delete of a key, whether or not it is there. Since 0.1. */
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

/**
 * Begins an iteration over all keys of a table with their values as they are now, whatever is written meanwhile; in the
 * order of the keys if the table is ordered, else in none. Until it has come to its end or is freed, versions that it
 * may still come to are kept. `iter` receives the iterator, freed with `atomkv_iter_free`. Since 0.1.
 */
atomkv_status atomkv_iter_new(const atomkv_table *table,
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

/** Ends an iteration. NULL does nothing. Since 0.1. */
void atomkv_iter_free(atomkv_iter *iter);

/**
 * Sends what the databases of this process report to a callback: openings, checkpoints, compaction, resizes, slow and
 * failed syncs, damage, never single reads and writes. Holds for all databases of the process, open or opened later,
 * and replaces an earlier callback. Any thread.
 *
 * `level`: an `atomkv_log_level`; events of it and graver ones come. `callback`: receives an event as a line of text,
 * "name key=value key=value", where values with spaces or quotation marks are quoted and escaped; `text` is NUL-terminated
 * UTF-8, shorter than `ATOMKV_LOG_LINE_BYTES`, `size` its bytes without the NUL, both for the time of the call. NULL, or
 * the level `ATOMKV_LOG_OFF`, ends an earlier callback. `user_data`: handed to each call; may be NULL. `destroy`: NULL, or
 * called once for `user_data` when the callback is called no more, also if this call fails, which leaves an earlier
 * callback as it was.
 *
 * The callback runs on a thread of AtomKV's own that holds none of its locks, one line after the other and a moment
 * after the event: it needs no locks of its own towards itself, may be slow, and may call AtomKV, also with the database
 * that reports; events of such calls come later like all others. Up to 1,024 lines wait for it; if there are more, the
 * oldest are dropped, and a line "log lines dropped count=N" tells how many. It must not throw, unwind, `longjmp` or end
 * its thread. `destroy` runs on that thread too, or on the one that makes a call that fails.
 *
 * When this call returns, the earlier callback has received all that was waiting and its `destroy` has run. So do not
 * call while holding a lock that the callback takes; call it with NULL before the program ends, or the last lines
 * may be missing. From within the callback it may be called as well: then it does not wait, and the callback that is
 * replaced receives what is waiting, and its `destroy` runs, after it has returned.
 *
 * In a child of fork() nothing is reported until the child calls this; the parent's `destroy` does not run there. A
 * runtime that cannot be called on a foreign thread uses `atomkv_log_collect` and `atomkv_log_next`.
 *
 * Errors: `ATOMKV_ERR_INVALID_ARGUMENT` for a level that does not exist; `ATOMKV_ERR_ALREADY_EXISTS` in a program in Rust
 * that is linked with the static library and has set its own global dispatcher of the crate `tracing`;
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
 * Begins to collect what the databases of this process report, for `atomkv_log_next`, beside a callback if there is one.
 * Nothing is collected before. `level`: an `atomkv_log_level`; events of it and graver ones are collected.
 * `capacity`: how many lines wait, 1 to 1,048,576, each of up to `ATOMKV_LOG_LINE_BYTES`; if there are more, the oldest are
 * dropped, and a line "log lines dropped count=N" tells how many. `ATOMKV_LOG_OFF` or 0 ends it; what waits may still be
 * taken. Called again, it changes level and capacity. Any thread.
 *
 * In a child of fork() nothing is collected until the child calls this. Errors: as `atomkv_log_set`. Since 0.1.
 */
atomkv_status atomkv_log_collect(int32_t level,
                                 size_t capacity);

/**
 * Takes the oldest line that was collected, see `atomkv_log_collect`, or waits for one: the form of the log for programs
 * that are not to be called. The lines are those of `atomkv_log_set`.
 *
 * `buffer`: receives the text and a NUL; room for `buffer_size` bytes, of which `ATOMKV_LOG_LINE_BYTES` are always
 * enough; may be NULL if `buffer_size` is 0. `text_size`: receives the size of the text without the NUL, also with
 * `ATOMKV_ERR_BUFFER_TOO_SMALL`, which leaves the line where it is; 0 if there is none. `level`: NULL, or receives the
 * line's level; `ATOMKV_LOG_OFF` if there is none. `timeout_ms`: how long to wait for a line, in milliseconds; 0 to not
 * wait, `UINT64_MAX` for ever.
 *
 * `ATOMKV_TIMEOUT` if there was none in that time; `ATOMKV_DONE` if there is none and none will come, since nothing is
 * collected (any more). Any thread; each line goes to one caller. Since 0.1.
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
