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
    /** The table's validator refused the key. */
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
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum atomkv_status atomkv_status;
#else
typedef int32_t atomkv_status;
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

/**
 * Puts and deletes over any tables of one database that are applied together. Any thread; calls on one batch wait
 * for each other. It keeps the database of its first table open. Since 0.1.
 */
typedef struct atomkv_batch atomkv_batch;

/** An open database. Any thread, many at once. Since 0.1. */
typedef struct atomkv_db atomkv_db;

/**
 * The details of an error. Made by calls that have an `error` parameter; free it with `atomkv_error_free`. It may
 * be read by several threads at once. Since 0.1.
 */
typedef struct atomkv_error atomkv_error;

/** An iteration over a table. Any thread; calls on one iterator wait for each other. Since 0.1. */
typedef struct atomkv_iter atomkv_iter;

/**
 * How a database is opened. One thread at a time; may be used for several databases and freed at any time.
 * Since 0.1.
 */
typedef struct atomkv_options atomkv_options;

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
 * A value that is held where it lies, see `atomkv_get_view`. May be read by many threads at once and released on
 * any thread. Since 0.1.
 */
typedef struct atomkv_view atomkv_view;

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

/** Bytes that belong to somebody else. Since 0.1. */
typedef struct {
    /**
     * The first byte; NULL if there is no result (not found, the end of an iteration, an error). Not NUL-terminated.
     */
    const void *data;
    /** How many bytes. */
    size_t size;
} atomkv_slice;

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

/** The byte offset in that file at which the damage begins; -1 if there is none. Since 0.1. */
int64_t atomkv_error_offset(const atomkv_error *error);

/** The process that has the database open, after `ATOMKV_ERR_LOCKED`; -1 if it is not known. Since 0.1. */
int64_t atomkv_error_process(const atomkv_error *error);

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
 * Chooses one of AtomKV's own services by its kind and its name, both NUL-terminated:
 * "compressor": "lz4" (default, from 4 KiB), "none", "gzip"; "sharder": "hash-slots" (default), "redis-slots",
 * "key-space-v1"; "validator": "any-bytes" (default), "key-space-v1-keys"; "hasher": "rapidhash-v3"; "serializer":
 * "json". The names are stored when the table is created; opening it with others is
 * `ATOMKV_ERR_SERVICES_MISMATCH`. Since 0.1.
 */
atomkv_status atomkv_table_options_set_service(atomkv_table_options *options,
                                               const char *kind,
                                               const char *name);

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
 * `ATOMKV_ERR_INVALID_ARGUMENT`. `value` receives the count. Works on a closed database too. Since 0.1.
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

/** `atomkv_put` with a durability of its own. `how`: an `atomkv_durability`. Since 0.1. */
atomkv_status atomkv_put_with(atomkv_table *table,
                              const void *key,
                              size_t key_size,
                              const void *value,
                              size_t value_size,
                              int32_t how,
                              atomkv_written *written);

/**
 * Removes a key; `ATOMKV_NOT_FOUND` if it was not there. Durable as the table says. `written` may be NULL; it
 * receives zeros if nothing was written. Since 0.1.
 */
atomkv_status atomkv_delete(atomkv_table *table, const void *key, size_t key_size, atomkv_written *written);

/** `atomkv_delete` with a durability of its own. `how`: an `atomkv_durability`. Since 0.1. */
atomkv_status atomkv_delete_with(atomkv_table *table,
                                 const void *key,
                                 size_t key_size,
                                 int32_t how,
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
 * Adds a put into a table. Key and value are copied; a validator looks at the key when the batch is applied. Of several
 * operations on one key the last holds. Since 0.1.
 */
atomkv_status atomkv_batch_put(atomkv_batch *batch,
                               atomkv_table *table,
                               const void *key,
                               size_t key_size,
                               const void *value,
                               size_t value_size);

/** Adds a delete of a key of a table, whether or not it is there. Since 0.1. */
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

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ATOMKV_H */
