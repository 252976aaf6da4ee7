/* Everything in atomkv.h, used and misused, in C99. usage: test_c DIRECTORY */

#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static const char *directory;

static atomkv_db *open_db(const char *name)
{
    char path[4096];
    atomkv_db *db = NULL;
    path_of(path, sizeof path, directory, name);
    REQUIRE(atomkv_open(path, NULL, &db, NULL) == ATOMKV_OK);
    REQUIRE(db != NULL);
    return db;
}

static atomkv_table *open_table(atomkv_db *db, const char *name)
{
    atomkv_table *table = NULL;
    REQUIRE(atomkv_table_open(db, name, NULL, &table, NULL) == ATOMKV_OK);
    REQUIRE(table != NULL);
    return table;
}

static int put(atomkv_table *table, const char *key, const char *value)
{
    return atomkv_put(table, key, strlen(key), value, strlen(value), NULL);
}

static int holds(atomkv_table *table, const char *key, const char *value)
{
    char buffer[256];
    size_t size = 0;
    return atomkv_get(table, key, strlen(key), buffer, sizeof buffer, &size) == ATOMKV_OK &&
           size == strlen(value) && memcmp(buffer, value, size) == 0;
}

static void test_versions_and_texts(void)
{
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", ATOMKV_VERSION_MAJOR, ATOMKV_VERSION_MINOR,
             ATOMKV_VERSION_PATCH);
    CHECK(strcmp(atomkv_version(), version) == 0);
    CHECK(atomkv_abi_version() == ATOMKV_ABI_VERSION);
    CHECK(strcmp(atomkv_status_name(ATOMKV_ERR_LOCKED), "ATOMKV_ERR_LOCKED") == 0);
    CHECK(strcmp(atomkv_status_name(-9999), "ATOMKV_UNKNOWN") == 0);
    CHECK(strlen(atomkv_status_text(ATOMKV_NOT_FOUND)) > 0);
    CHECK(strlen(atomkv_status_text(12345)) > 0);
    CHECK(atomkv_last_error()[0] == '\0');
}

static void test_three_ways_to_read(void)
{
    atomkv_db *db = open_db("read");
    atomkv_table *table = open_table(db, "t");
    atomkv_written written = {9, 9};
    atomkv_buffer owned = {NULL, 7};
    atomkv_view *view = NULL;
    atomkv_slice slice = {NULL, 7};
    char buffer[8] = "-------";
    size_t size = 7;
    char *large;

    CHECK(atomkv_put(table, "key", 3, "value", 5, &written) == ATOMKV_OK);
    CHECK(written.version == 1 && written.sequence > 0);

    CHECK(atomkv_get(table, "key", 3, buffer, sizeof buffer, &size) == ATOMKV_OK);
    CHECK(size == 5 && memcmp(buffer, "value--", 7) == 0);
    /* The size alone, and a buffer that is one byte short. */
    CHECK(atomkv_get(table, "key", 3, NULL, 0, &size) == ATOMKV_ERR_BUFFER_TOO_SMALL && size == 5);
    memcpy(buffer, "-------", 7);
    CHECK(atomkv_get(table, "key", 3, buffer, 4, &size) == ATOMKV_ERR_BUFFER_TOO_SMALL);
    CHECK(size == 5 && memcmp(buffer, "-------", 7) == 0);
    CHECK(atomkv_get(table, "none", 4, buffer, sizeof buffer, &size) == ATOMKV_NOT_FOUND && size == 0);

    CHECK(atomkv_get_owned(table, "key", 3, &owned) == ATOMKV_OK);
    CHECK(owned.size == 5 && memcmp(owned.data, "value", 5) == 0);
    atomkv_free(owned.data);
    CHECK(atomkv_get_owned(table, "none", 4, &owned) == ATOMKV_NOT_FOUND);
    CHECK(owned.data == NULL && owned.size == 0);
    atomkv_free(owned.data);

    CHECK(atomkv_get_view(table, "key", 3, &view, &slice) == ATOMKV_OK);
    CHECK(atomkv_put(table, "key", 3, "other", 5, &written) == ATOMKV_OK && written.version == 2);
    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(slice.size == 5 && memcmp(slice.data, "value", 5) == 0);
    CHECK(atomkv_view_written(view, &written) == ATOMKV_OK && written.version == 1);
    atomkv_view_release(view);
    CHECK(atomkv_get_view(table, "none", 4, &view, &slice) == ATOMKV_NOT_FOUND);
    CHECK(view == NULL && slice.data == NULL && slice.size == 0);

    /* The empty value is a value. */
    CHECK(atomkv_put(table, "empty", 5, NULL, 0, NULL) == ATOMKV_OK);
    CHECK(atomkv_get(table, "empty", 5, NULL, 0, &size) == ATOMKV_OK && size == 0);
    CHECK(atomkv_get_owned(table, "empty", 5, &owned) == ATOMKV_OK);
    CHECK(owned.data != NULL && owned.size == 0);
    atomkv_free(owned.data);
    CHECK(atomkv_get_view(table, "empty", 5, &view, &slice) == ATOMKV_OK);
    CHECK(slice.data != NULL && slice.size == 0);
    atomkv_view_release(view);

    /* A compressed value and one in a file of its own. */
    large = (char *)malloc(3000000);
    REQUIRE(large != NULL);
    memset(large, 'x', 3000000);
    CHECK(atomkv_put(table, "compressed", 10, large, 100000, NULL) == ATOMKV_OK);
    for (size = 0; size < 3000000; size++)
        large[size] = (char)(size * 2654435761u >> 13);
    CHECK(atomkv_put(table, "large", 5, large, 3000000, NULL) == ATOMKV_OK);
    CHECK(atomkv_get_view(table, "large", 5, &view, &slice) == ATOMKV_OK);
    CHECK(slice.size == 3000000 && memcmp(slice.data, large, 3000000) == 0);
    CHECK(atomkv_get_owned(table, "compressed", 10, &owned) == ATOMKV_OK && owned.size == 100000);
    CHECK(((char *)owned.data)[99999] == 'x');
    atomkv_free(owned.data);
    free(large);

    atomkv_table_free(table);
    atomkv_db_free(db);
    CHECK(slice.size == 3000000);
    atomkv_view_release(view);
}

static void test_delete_contains_and_length(void)
{
    atomkv_db *db = open_db("delete");
    atomkv_table *table = open_table(db, "t");
    atomkv_written written;
    uint64_t keys = 99;
    uint32_t slot = 99999, partition = 99999, partitions = 0;

    CHECK(put(table, "a", "1") == ATOMKV_OK);
    CHECK(put(table, "b", "2") == ATOMKV_OK);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 2);
    CHECK(atomkv_contains(table, "a", 1) == ATOMKV_OK);
    CHECK(atomkv_contains(table, "c", 1) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_delete(table, "a", 1, &written) == ATOMKV_OK && written.version == 2);
    CHECK(atomkv_delete(table, "a", 1, &written) == ATOMKV_NOT_FOUND);
    CHECK(written.version == 0 && written.sequence == 0);
    atomkv_write_options *synced = atomkv_write_options_new();
    CHECK(atomkv_write_options_set_durability(synced, ATOMKV_DURABILITY_SYNC) == ATOMKV_OK);
    CHECK(atomkv_delete_with(table, "b", 1, synced, NULL) == ATOMKV_OK);
    atomkv_write_options_free(synced);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 0);
    CHECK(atomkv_slot(table, "a", 1, &slot, &partition) == ATOMKV_OK);
    CHECK(atomkv_table_partitions(table, &partitions) == ATOMKV_OK && partitions == 16);
    CHECK(slot < 16384 && partition < partitions);
    CHECK(atomkv_slot(table, "a", 1, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_slot(table, "", 0, &slot, NULL) == ATOMKV_ERR_KEY_EMPTY);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

static void test_iteration_and_batches(void)
{
    enum { KEYS = 5000 };
    static char seen[KEYS];
    atomkv_db *db = open_db("iterate");
    atomkv_db *other_db = open_db("iterate-other");
    atomkv_table *table = open_table(db, "t");
    atomkv_table *second = open_table(db, "second");
    atomkv_table *other = open_table(other_db, "t");
    atomkv_batch *batch = atomkv_batch_new();
    atomkv_iter *iter = NULL;
    atomkv_slice key, value;
    atomkv_written written;
    atomkv_error *error = NULL;
    uint64_t sequence = 0;
    size_t size;
    int status, number, count = 0;
    char text[32];

    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, &sequence, &error) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(strstr(atomkv_error_message(error), "empty") != NULL);
    atomkv_error_free(error);
    for (number = 0; number < KEYS; number++) {
        snprintf(text, sizeof text, "%d", number);
        status = number % 2 ? put(table, text, text)
                            : atomkv_batch_put(batch, table, text, strlen(text), text, strlen(text));
        REQUIRE(status == ATOMKV_OK);
    }
    CHECK(atomkv_batch_put(batch, second, "from", 4, "batch", 5) == ATOMKV_OK);
    CHECK(atomkv_batch_delete(batch, second, "not there", 9) == ATOMKV_OK);
    CHECK(atomkv_batch_len(batch, &size) == ATOMKV_OK && size == KEYS / 2 + 2);
    CHECK(!holds(second, "from", "batch"));
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_SYNC, &sequence, &error) == ATOMKV_OK);
    CHECK(error == NULL && sequence > 0);
    CHECK(holds(second, "from", "batch"));
    CHECK(atomkv_batch_clear(batch) == ATOMKV_OK);
    CHECK(atomkv_batch_len(batch, &size) == ATOMKV_OK && size == 0);
    CHECK(atomkv_batch_put(batch, other, "k", 1, "v", 1) == ATOMKV_OK);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_batch_clear(batch) == ATOMKV_OK);
    CHECK(atomkv_batch_delete(batch, table, "not there", 9) == ATOMKV_OK);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, &sequence, NULL) == ATOMKV_OK && sequence == 0);
    CHECK(atomkv_apply(db, batch, 17, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_batch_free(batch);

    REQUIRE(atomkv_iter_new(table, NULL, &iter) == ATOMKV_OK);
    while ((status = atomkv_iter_next(iter, &key, &value, &written)) == ATOMKV_OK) {
        REQUIRE(key.size == value.size && key.size < sizeof text);
        REQUIRE(memcmp(key.data, value.data, key.size) == 0);
        memcpy(text, key.data, key.size);
        text[key.size] = '\0';
        number = atoi(text);
        REQUIRE(number >= 0 && number < KEYS && !seen[number] && written.version == 1);
        seen[number] = 1;
        count++;
    }
    CHECK(status == ATOMKV_DONE && count == KEYS);
    CHECK(atomkv_iter_next(iter, NULL, NULL, NULL) == ATOMKV_DONE);
    atomkv_iter_free(iter);

    /* Children first or last: nothing depends on the order. */
    REQUIRE(atomkv_iter_new(table, NULL, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_OK);
    atomkv_db_free(db);
    atomkv_table_free(table);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_OK);
    atomkv_iter_free(iter);
    CHECK(holds(second, "from", "batch"));
    atomkv_table_free(second);
    atomkv_table_free(other);
    atomkv_db_free(other_db);
}

static void test_reopening_and_closing(void)
{
    atomkv_db *db = open_db("reopen");
    atomkv_table *table = open_table(db, "t");
    atomkv_iter *iter = NULL;
    atomkv_error *error = NULL;
    uint64_t value = 99;
    size_t size;
    char path[4096];
    atomkv_db *second = (atomkv_db *)&second;

    atomkv_write_options *options = atomkv_write_options_new();
    CHECK(atomkv_write_options_set_durability(options, ATOMKV_DURABILITY_SYNC) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "k", 1, "v", 1, options, NULL) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "l", 1, "w", 1, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_write_options_set_durability(options, 42) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_write_options_free(options);
    CHECK(atomkv_sync(db) == ATOMKV_OK);
    CHECK(atomkv_checkpoint(db) == ATOMKV_OK);
    CHECK(atomkv_stat(db, "keys", &value) == ATOMKV_OK && value == 2);
    CHECK(atomkv_stat(db, "unsynced_bytes", &value) == ATOMKV_OK && value == 0);
    CHECK(atomkv_stat(db, "colour", &value) == ATOMKV_ERR_INVALID_ARGUMENT && value == 0);

    /* A second opener, in this process. */
    path_of(path, sizeof path, directory, "reopen");
    CHECK(atomkv_open(path, NULL, &second, &error) == ATOMKV_ERR_LOCKED);
    CHECK(second == NULL && atomkv_error_status(error) == ATOMKV_ERR_LOCKED);
    CHECK(atomkv_error_process(error) == (int64_t)getpid());
    CHECK(strstr(atomkv_error_path(error), "reopen") != NULL);
    CHECK(atomkv_error_offset(error) == -1);
    CHECK(strcmp(atomkv_error_message(error), atomkv_last_error()) == 0);
    atomkv_error_free(error);

    CHECK(atomkv_iter_new(table, NULL, &iter) == ATOMKV_OK);
    CHECK(atomkv_close(db, &error) == ATOMKV_OK && error == NULL);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    CHECK(put(table, "k", "v") == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_get(table, "k", 1, NULL, 0, &size) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_iter_next(iter, NULL, NULL, NULL) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_sync(db) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_checkpoint(db) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_compact(db, NULL, NULL, &error) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_error_status(error) == ATOMKV_ERR_CLOSED && atomkv_error_path(error) == NULL);
    atomkv_error_free(error);
    CHECK(atomkv_stat(db, "keys", &value) == ATOMKV_OK && value == 2);

    /* The directory is free, although old handles live. */
    second = open_db("reopen");
    atomkv_iter_free(iter);
    atomkv_table_free(table);
    atomkv_db_free(db);
    table = open_table(second, "t");
    CHECK(holds(table, "k", "v") && holds(table, "l", "w"));
    atomkv_table_free(table);
    atomkv_db_free(second);
}

/* Each of these once answered ATOMKV_OK although the database was closed. */
static void test_what_needs_no_disk_is_closed_too(void)
{
    atomkv_db *db = open_db("closed");
    atomkv_table *table = open_table(db, "t"), *again = table;
    atomkv_batch *batch = atomkv_batch_new();
    atomkv_iter *iter = (atomkv_iter *)&db;
    uint64_t keys = 99;
    uint32_t slot = 99, partition = 99, partitions = 0;
    size_t size = 99;

    CHECK(put(table, "k", "v") == ATOMKV_OK);
    CHECK(atomkv_batch_put(batch, table, "l", 1, "w", 1) == ATOMKV_OK);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_ERR_CLOSED && keys == 0);
    CHECK(atomkv_slot(table, "k", 1, &slot, &partition) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_contains(table, "k", 1) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_iter_new(table, NULL, &iter) == ATOMKV_ERR_CLOSED && iter == NULL);
    CHECK(atomkv_table_open(db, "t", NULL, &again, NULL) == ATOMKV_ERR_CLOSED && again == NULL);
    CHECK(atomkv_batch_put(batch, table, "k", 1, "v", 1) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_batch_delete(batch, table, "k", 1) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_ERR_CLOSED);
    /* What needs no database. */
    CHECK(atomkv_batch_len(batch, &size) == ATOMKV_OK && size == 1);
    CHECK(atomkv_batch_clear(batch) == ATOMKV_OK);
    CHECK(atomkv_table_partitions(table, &partitions) == ATOMKV_OK && partitions > 0);
    atomkv_batch_free(batch);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

struct too_much {
    size_t length;
    int32_t code;
    int is_second;
    int is_refused;
};

/* Puts a value that is said to be too long, and another one or none. */
static int32_t put_too_much(void *user_data, const void *value, size_t value_size, atomkv_update_result *result)
{
    struct too_much *put = (struct too_much *)user_data;
    (void)value, (void)value_size;
    if (!put->is_second)
        CHECK(atomkv_update_put(result, "before", 6) == ATOMKV_OK);
    put->is_refused = atomkv_update_put(result, "v", put->length) < 0;
    if (put->is_second)
        CHECK(atomkv_update_put(result, "after", 5) == ATOMKV_OK);
    return put->code;
}

/* Batches, transactions and updates copied before they looked: a length that no buffer has ended the process. */
static void test_huge_lengths(void)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX / 2, (size_t)1 << 31};
    atomkv_db *db = open_db("huge");
    atomkv_table *table = open_table(db, "t");
    atomkv_batch *batch = atomkv_batch_new();
    atomkv_txn *txn = NULL;
    struct too_much update = {(size_t)1 << 31, 0, 0, 0};
    uint64_t keys = 99;
    size_t at, size = 99;

    CHECK(atomkv_txn_begin(db, &txn, NULL) == ATOMKV_OK);
    for (at = 0; at < sizeof sizes / sizeof *sizes; at++) {
        struct too_much too_much = {sizes[at], 0, 0, 0};
        CHECK(atomkv_put(table, "k", 1, "v", sizes[at], NULL) < 0);
        CHECK(atomkv_put(table, "k", sizes[at], "v", 1, NULL) < 0);
        CHECK(atomkv_get(table, "k", sizes[at], NULL, 0, &size) < 0);
        CHECK(atomkv_delete(table, "k", sizes[at], NULL) < 0);
        CHECK(atomkv_contains(table, "k", sizes[at]) < 0);
        CHECK(atomkv_batch_put(batch, table, "k", 1, "v", sizes[at]) < 0);
        CHECK(atomkv_batch_put(batch, table, "k", sizes[at], "v", 1) < 0);
        CHECK(atomkv_batch_delete(batch, table, "k", sizes[at]) < 0);
        CHECK(atomkv_txn_put(txn, table, "k", 1, "v", sizes[at], NULL) < 0);
        CHECK(atomkv_txn_put(txn, table, "k", sizes[at], "v", 1, NULL) < 0);
        CHECK(atomkv_txn_delete(txn, table, "k", sizes[at], NULL) < 0);
        CHECK(atomkv_update(table, "k", 1, put_too_much, &too_much, NULL) < 0 && too_much.is_refused);
    }
    CHECK(atomkv_batch_put(batch, table, "k", 65536, "v", 1) == ATOMKV_ERR_KEY_TOO_LONG);
    CHECK(atomkv_batch_put(batch, table, "k", 1, "v", (size_t)1 << 31) == ATOMKV_ERR_VALUE_TOO_LARGE);
    CHECK(atomkv_batch_len(batch, &size) == ATOMKV_OK && size == 0);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 0);
    /* An update says so whatever its callback makes of it, unless that puts something else. */
    CHECK(atomkv_update(table, "k", 1, put_too_much, &update, NULL) == ATOMKV_ERR_VALUE_TOO_LARGE);
    update.code = 5;
    CHECK(atomkv_update(table, "k", 1, put_too_much, &update, NULL) == ATOMKV_ERR_VALUE_TOO_LARGE);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 0);
    update.is_second = 1;
    CHECK(atomkv_update(table, "k", 1, put_too_much, &update, NULL) == ATOMKV_ERR_CALLBACK);
    update.code = 0;
    CHECK(atomkv_update(table, "k", 1, put_too_much, &update, NULL) == ATOMKV_OK && holds(table, "k", "after"));
    /* A transaction says so at once, and goes on. */
    CHECK(atomkv_txn_put(txn, table, "", 0, "v", 1, NULL) == ATOMKV_ERR_KEY_EMPTY);
    CHECK(atomkv_txn_put(txn, table, "k", 65536, "v", 1, NULL) == ATOMKV_ERR_KEY_TOO_LONG);
    CHECK(atomkv_txn_put(txn, table, "k", 1, "v", (size_t)1 << 31, NULL) == ATOMKV_ERR_VALUE_TOO_LARGE);
    CHECK(atomkv_txn_delete(txn, table, "", 0, NULL) == ATOMKV_ERR_KEY_EMPTY);
    CHECK(atomkv_txn_delete(txn, table, "k", 65536, NULL) == ATOMKV_ERR_KEY_TOO_LONG);
    CHECK(atomkv_txn_put(txn, table, "k", 1, "v", 1, NULL) == ATOMKV_OK);
    CHECK(atomkv_txn_commit(txn, ATOMKV_DURABILITY_BUFFERED, NULL, NULL) == ATOMKV_OK && holds(table, "k", "v"));
    atomkv_txn_free(txn);
    atomkv_batch_free(batch);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

static void test_settings(void)
{
    atomkv_db *db = open_db("settings");
    atomkv_table_options *options = atomkv_table_options_new();
    atomkv_options *bad = atomkv_options_new();
    atomkv_options *good = atomkv_options_new();
    atomkv_table *table = NULL;
    atomkv_error *error = NULL;
    atomkv_db *other = NULL;
    uint32_t partitions = 0;
    char path[4096], name[300];

    CHECK(atomkv_table_options_set_create_if_missing(options, 0) == ATOMKV_OK);
    CHECK(atomkv_table_open(db, "t", options, &table, &error) == ATOMKV_ERR_TABLE_NOT_FOUND);
    CHECK(table == NULL && strstr(atomkv_error_message(error), "\"t\"") != NULL);
    atomkv_error_free(error);
    CHECK(atomkv_table_options_set_create_if_missing(options, 1) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_partitions(options, 0) == ATOMKV_OK);
    CHECK(atomkv_table_open(db, "t", options, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_partitions(options, 16385) == ATOMKV_OK);
    CHECK(atomkv_table_open(db, "t", options, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_partitions(options, 64) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_durability(options, 5) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_durability(options, ATOMKV_DURABILITY_SYNC) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_service(options, "compressor", "gzip") == ATOMKV_OK);
    CHECK(atomkv_table_options_set_service(options, "compressor", "magic") == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_service(options, NULL, "gzip") == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_service(options, "sharder", "redis-slots") == ATOMKV_OK);
    REQUIRE(atomkv_table_open(db, "t", options, &table, NULL) == ATOMKV_OK);
    CHECK(atomkv_table_partitions(table, &partitions) == ATOMKV_OK && partitions == 64);
    /* CRC16("123456789") is 0x31c3, a number that everybody knows. */
    CHECK(atomkv_slot(table, "123456789", 9, &partitions, NULL) == ATOMKV_OK && partitions == 0x31c3);
    CHECK(put(table, "key", "value") == ATOMKV_OK);
    atomkv_table_free(table);
    CHECK(atomkv_table_open(db, "t", NULL, &table, &error) == ATOMKV_ERR_SERVICES_MISMATCH);
    CHECK(strstr(atomkv_error_message(error), "redis-slots") != NULL);
    atomkv_error_free(error);
    CHECK(atomkv_table_options_set_partitions(options, 32) == ATOMKV_OK);
    CHECK(atomkv_table_open(db, "t", options, &table, NULL) == ATOMKV_OK);
    CHECK(atomkv_table_partitions(table, &partitions) == ATOMKV_OK && partitions == 64);
    atomkv_table_free(table);
    CHECK(atomkv_table_open(db, "", NULL, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_open(db, "\xff\xfe", NULL, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    CHECK(atomkv_table_open(db, name, NULL, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    name[255] = '\0';
    CHECK(atomkv_table_open(db, name, NULL, &table, NULL) == ATOMKV_OK);
    atomkv_table_free(table);
    atomkv_table_options_free(options);
    atomkv_db_free(db);

    path_of(path, sizeof path, directory, "not-there");
    CHECK(atomkv_options_set_create_if_missing(good, 0) == ATOMKV_OK);
    CHECK(atomkv_open(path, good, &other, &error) == ATOMKV_ERR_NOT_A_DATABASE);
    CHECK(other == NULL && error != NULL);
    atomkv_error_free(error);
    CHECK(access(path, F_OK) != 0);
    CHECK(atomkv_options_set_create_if_missing(good, 1) == ATOMKV_OK);
    CHECK(atomkv_options_set_mapped(good, 0) == ATOMKV_OK);
    CHECK(atomkv_options_set_sync_interval_ms(good, 50) == ATOMKV_OK);
    CHECK(atomkv_options_set_sync_bytes(good, 1 << 20) == ATOMKV_OK);
    CHECK(atomkv_options_set_segment_bytes(good, 64 << 10, 1 << 20) == ATOMKV_OK);
    CHECK(atomkv_options_set_checkpoint_bytes(good, 1 << 20) == ATOMKV_OK);
    CHECK(atomkv_options_set_dead_ratio(good, 0.25) == ATOMKV_OK);
    CHECK(atomkv_options_set_large_value_bytes(good, 4096) == ATOMKV_OK);
    CHECK(atomkv_options_set_verify_checksums(good, 1) == ATOMKV_OK);
    CHECK(atomkv_options_set_skip_damaged_log(good, 0) == ATOMKV_OK);
    REQUIRE(atomkv_open(path, good, &other, NULL) == ATOMKV_OK);
    table = open_table(other, "t");
    CHECK(put(table, "unmapped", "too") == ATOMKV_OK && holds(table, "unmapped", "too"));
    atomkv_table_free(table);
    atomkv_db_free(other);
    path_of(path, sizeof path, directory, "never-made");
    CHECK(atomkv_options_set_dead_ratio(bad, 0.0) == ATOMKV_OK);
    CHECK(atomkv_open(path, bad, &other, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(strstr(atomkv_last_error(), "dead_ratio") != NULL);
    CHECK(access(path, F_OK) != 0);
    atomkv_options_free(bad);
    atomkv_options_free(good);
}

static void test_misuse(void)
{
    atomkv_db *db = (atomkv_db *)1;
    atomkv_table *table = (atomkv_table *)1;
    atomkv_batch *batch = atomkv_batch_new();
    static char long_key[65536];
    char buffer[8];
    size_t size = 99;
    uint64_t number = 99;
    atomkv_buffer owned;
    atomkv_slice slice;
    atomkv_view *view;
    atomkv_written written;
    atomkv_iter *iter;

    CHECK(atomkv_open(NULL, NULL, &db, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(db == NULL);
    CHECK(strstr(atomkv_last_error(), "path is NULL") != NULL);
    CHECK(atomkv_open("x", NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_close(NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_sync(NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_checkpoint(NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_compact(NULL, NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_stat(NULL, "keys", &number) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_open(NULL, "t", NULL, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(table == NULL);
    db = open_db("misuse");
    CHECK(atomkv_table_open(db, NULL, NULL, &table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    table = open_table(db, "t");
    CHECK(atomkv_table_open(db, "t", NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_put(NULL, "k", 1, "v", 1, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_put(table, NULL, 1, "v", 1, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_put(table, "k", 1, NULL, 1, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_put(table, "", 0, "v", 1, NULL) == ATOMKV_ERR_KEY_EMPTY);
    CHECK(atomkv_put(table, NULL, 0, "v", 1, NULL) == ATOMKV_ERR_KEY_EMPTY);
    CHECK(atomkv_put(table, "k", SIZE_MAX, "v", 1, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_put(table, long_key, 65535, "v", 1, NULL) == ATOMKV_OK);
    CHECK(atomkv_put(table, long_key, 65536, "v", 1, NULL) == ATOMKV_ERR_KEY_TOO_LONG);
    CHECK(strstr(atomkv_last_error(), "65536") != NULL);
    CHECK(atomkv_contains(table, long_key, 65535) == ATOMKV_OK);
    CHECK(atomkv_delete(NULL, "k", 1, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_contains(NULL, "k", 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_contains(table, NULL, 0) == ATOMKV_ERR_KEY_EMPTY);
    CHECK(atomkv_get(NULL, "k", 1, buffer, 8, &size) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get(table, "k", 1, buffer, 8, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get(table, "k", 1, NULL, 8, &size) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get_owned(table, "k", 1, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get_owned(NULL, "k", 1, &owned) == ATOMKV_ERR_INVALID_ARGUMENT && owned.data == NULL);
    CHECK(atomkv_get_view(table, "k", 1, NULL, &slice) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get_view(table, "k", 1, &view, NULL) == ATOMKV_ERR_INVALID_ARGUMENT && view == NULL);
    CHECK(atomkv_view_written(NULL, &written) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_len(table, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_len(NULL, &number) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_iter_new(NULL, NULL, &iter) == ATOMKV_ERR_INVALID_ARGUMENT && iter == NULL);
    CHECK(atomkv_iter_new(table, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_iter_next(NULL, NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_batch_put(NULL, table, "k", 1, "v", 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_batch_put(batch, NULL, "k", 1, "v", 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_batch_put(batch, table, "", 0, "v", 1) == ATOMKV_OK);
    CHECK(atomkv_apply(db, batch, 0, NULL, NULL) == ATOMKV_ERR_KEY_EMPTY);
    CHECK(atomkv_apply(db, NULL, 0, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_options_set_sync_bytes(NULL, 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_partitions(NULL, 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_error_status(NULL) == ATOMKV_OK && atomkv_error_message(NULL)[0] == '\0');
    CHECK(atomkv_error_path(NULL) == NULL && atomkv_error_offset(NULL) == -1);
    atomkv_error_free(NULL);
    atomkv_options_free(NULL);
    atomkv_table_options_free(NULL);
    atomkv_table_free(NULL);
    atomkv_batch_free(NULL);
    atomkv_iter_free(NULL);
    atomkv_view_release(NULL);
    atomkv_db_free(NULL);
    atomkv_free(NULL);
    atomkv_batch_free(batch);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

/* Where a directory is no database, and where one is damaged. */
static void test_damage(void)
{
    char path[4096], file[8192];
    struct dirent *entry;
    atomkv_db *db = NULL;
    atomkv_table *table;
    atomkv_error *error = NULL;
    FILE *stream;
    DIR *listing;
    int number, damaged = 0, right = 0, status;
    char text[64], buffer[256];
    size_t size;

    path_of(path, sizeof path, directory, "foreign");
    REQUIRE(mkdir(path, 0777) == 0);
    snprintf(file, sizeof file, "%s/letter.txt", path);
    stream = fopen(file, "w");
    REQUIRE(stream != NULL);
    fputs("dear reader", stream);
    fclose(stream);
    CHECK(atomkv_open(path, NULL, &db, &error) == ATOMKV_ERR_NOT_A_DATABASE);
    CHECK(db == NULL && strstr(atomkv_error_path(error), "foreign") != NULL);
    atomkv_error_free(error);
    CHECK(atomkv_open(file, NULL, &db, NULL) == ATOMKV_ERR_NOT_A_DATABASE);

    db = open_db("damaged");
    table = open_table(db, "t");
    for (number = 0; number < 1000; number++) {
        snprintf(text, sizeof text, "key %d and value %d", number, number);
        REQUIRE(put(table, text, text) == ATOMKV_OK);
    }
    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    atomkv_table_free(table);
    atomkv_db_free(db);
    path_of(path, sizeof path, directory, "damaged");
    listing = opendir(path);
    REQUIRE(listing != NULL);
    while ((entry = readdir(listing)) != NULL) {
        if (strncmp(entry->d_name, "page-", 5) == 0) {
            snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            stream = fopen(file, "r+b");
            REQUIRE(stream != NULL);
            fseek(stream, 20000, SEEK_SET);
            fputs("!!!!!!!!!!!!!!!!", stream);
            fclose(stream);
        }
    }
    closedir(listing);
    db = open_db("damaged");
    table = open_table(db, "t");
    for (number = 0; number < 1000; number++) {
        snprintf(text, sizeof text, "key %d and value %d", number, number);
        status = atomkv_get(table, text, strlen(text), buffer, sizeof buffer, &size);
        if (status == ATOMKV_OK && size == strlen(text) && memcmp(buffer, text, size) == 0)
            right++;
        else if (status == ATOMKV_ERR_CORRUPT && strstr(atomkv_last_error(), "page-") != NULL)
            damaged++;
    }
    CHECK(right + damaged == 1000 && damaged >= 1 && damaged <= 3);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

static void test_a_forked_child_harms_nothing(void)
{
    atomkv_db *db = open_db("fork");
    atomkv_table *table = open_table(db, "t");
    atomkv_iter *iter = NULL;
    int status = 0;
    size_t size;
    pid_t child;

    CHECK(put(table, "k", "parent") == ATOMKV_OK);
    CHECK(atomkv_iter_new(table, NULL, &iter) == ATOMKV_OK);
    fflush(NULL);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int good = put(table, "k", "child") == ATOMKV_ERR_FORKED &&
                   atomkv_get(table, "k", 1, NULL, 0, &size) == ATOMKV_ERR_FORKED &&
                   atomkv_iter_next(iter, NULL, NULL, NULL) == ATOMKV_ERR_FORKED &&
                   atomkv_sync(db) == ATOMKV_ERR_FORKED && atomkv_close(db, NULL) == ATOMKV_ERR_FORKED;
        atomkv_db *own = NULL;
        char path[4096];
        atomkv_iter_free(iter);
        atomkv_table_free(table);
        atomkv_db_free(db);
        path_of(path, sizeof path, directory, "fork-child");
        good = good && atomkv_open(path, NULL, &own, NULL) == ATOMKV_OK;
        good = good && atomkv_close(own, NULL) == ATOMKV_OK;
        atomkv_db_free(own);
        path_of(path, sizeof path, directory, "fork");
        good = good && atomkv_open(path, NULL, &own, NULL) == ATOMKV_ERR_LOCKED;
        /* Ended so that valgrind does not count what a forked child must leave alone. */
        if (good)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK(holds(table, "k", "parent"));
    CHECK(put(table, "k", "again") == ATOMKV_OK);
    atomkv_iter_free(iter);
    atomkv_table_free(table);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    atomkv_db_free(db);
    db = open_db("fork");
    table = open_table(db, "t");
    CHECK(holds(table, "k", "again"));
    atomkv_table_free(table);
    atomkv_db_free(db);
}

struct sharer {
    atomkv_table *table;
    atomkv_iter *iter;
    atomkv_batch *batch;
    atomkv_db *db;
    pthread_mutex_t mutex;
    int stop;
};

static int stops(struct sharer *sharer)
{
    int stop;
    pthread_mutex_lock(&sharer->mutex);
    stop = sharer->stop;
    pthread_mutex_unlock(&sharer->mutex);
    return stop;
}

/* Is in one of the calls on a shared handle most of the time. */
static void *share(void *argument)
{
    struct sharer *sharer = (struct sharer *)argument;
    while (!stops(sharer)) {
        int status = atomkv_iter_next(sharer->iter, NULL, NULL, NULL);
        if (status == ATOMKV_DONE) {
            status = atomkv_apply(sharer->db, sharer->batch, ATOMKV_DURABILITY_BUFFERED, NULL, NULL);
        }
        if (status != ATOMKV_OK)
            return sharer;
    }
    return NULL;
}

/* A child waited for ever for an iterator, a batch or a counter that a thread of its parent was using. */
static void test_a_forked_child_never_waits(void)
{
    enum { ROUNDS_OF_FORKS = 25, KEYS_OF_FORKS = 20000 };
    struct sharer sharer = {NULL, NULL, NULL, NULL, PTHREAD_MUTEX_INITIALIZER, 0};
    pthread_t thread;
    void *bad = &sharer;
    int number, round, status = 0, good = 1;

    if (!FORKS_BESIDE_THREADS)
        return;
    sharer.db = open_db("fork-busy");
    sharer.table = open_table(sharer.db, "t");
    sharer.batch = atomkv_batch_new();
    for (number = 0; number < KEYS_OF_FORKS; number++)
        good = good && atomkv_put(sharer.table, &number, sizeof number, "value", 5, NULL) == ATOMKV_OK;
    for (number = 0; number < 500; number++)
        good = good && atomkv_batch_put(sharer.batch, sharer.table, &number, sizeof number, "v", 1) == ATOMKV_OK;
    CHECK(good);
    REQUIRE(atomkv_iter_new(sharer.table, NULL, &sharer.iter) == ATOMKV_OK);
    fflush(NULL);
    REQUIRE(pthread_create(&thread, NULL, share, &sharer) == 0);
    for (round = 0; round < ROUNDS_OF_FORKS && good; round++) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            uint64_t value = 99;
            atomkv_db *own = NULL;
            atomkv_table *table = NULL;
            alarm(20);
            good = atomkv_stat(sharer.db, "keys", &value) == ATOMKV_ERR_FORKED && value == 0 &&
                   atomkv_table_len(sharer.table, &value) == ATOMKV_ERR_FORKED &&
                   atomkv_iter_next(sharer.iter, NULL, NULL, NULL) == ATOMKV_ERR_FORKED &&
                   atomkv_batch_put(sharer.batch, sharer.table, "k", 1, "v", 1) == ATOMKV_ERR_FORKED &&
                   atomkv_batch_delete(sharer.batch, sharer.table, "k", 1) == ATOMKV_ERR_FORKED &&
                   atomkv_apply(sharer.db, sharer.batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_ERR_FORKED;
            /* The batch is the parent's also beside a database of the child's own. */
            good = good && atomkv_open_in_memory(&own, NULL) == ATOMKV_OK &&
                   atomkv_table_open(own, "t", NULL, &table, NULL) == ATOMKV_OK &&
                   atomkv_batch_put(sharer.batch, table, "k", 1, "v", 1) == ATOMKV_ERR_FORKED &&
                   atomkv_batch_expect(sharer.batch, table, "k", 1, ATOMKV_EXPECT_ABSENT, 0) == ATOMKV_ERR_FORKED &&
                   atomkv_apply(own, sharer.batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_ERR_FORKED;
            /* As above: not for valgrind to judge. A child that waits is ended by the alarm. */
            if (good)
                kill(getpid(), SIGKILL);
            _exit(1);
        }
        good = waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        CHECK(good);
    }
    pthread_mutex_lock(&sharer.mutex);
    sharer.stop = 1;
    pthread_mutex_unlock(&sharer.mutex);
    REQUIRE(pthread_join(thread, &bad) == 0);
    CHECK(bad == NULL);
    atomkv_iter_free(sharer.iter);
    atomkv_batch_free(sharer.batch);
    atomkv_table_free(sharer.table);
    CHECK(atomkv_close(sharer.db, NULL) == ATOMKV_OK);
    atomkv_db_free(sharer.db);
}

enum { THREADS = 4, ROUNDS = 2000 };

struct worker {
    atomkv_table *table;
    int number;
    int good;
};

static void *work(void *argument)
{
    struct worker *worker = (struct worker *)argument;
    char key[32];
    int round;
    worker->good = 1;
    for (round = 0; round < ROUNDS; round++) {
        snprintf(key, sizeof key, "%d/%d", worker->number, round);
        worker->good = worker->good && put(worker->table, key, key) == ATOMKV_OK && holds(worker->table, key, key);
        if (round % 3 == 0)
            worker->good = worker->good && atomkv_delete(worker->table, key, strlen(key), NULL) == ATOMKV_OK;
    }
    /* Messages are each thread's own. */
    worker->good = worker->good && atomkv_put(worker->table, "", 0, "", 0, NULL) == ATOMKV_ERR_KEY_EMPTY &&
                   strstr(atomkv_last_error(), "empty") != NULL;
    return NULL;
}

static void test_threads(void)
{
    atomkv_db *db = open_db("threads");
    atomkv_table *table = open_table(db, "t");
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    uint64_t keys = 0;
    int number, deleted = (ROUNDS + 2) / 3;

    for (number = 0; number < THREADS; number++) {
        workers[number].table = table;
        workers[number].number = number;
        REQUIRE(pthread_create(&threads[number], NULL, work, &workers[number]) == 0);
    }
    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_checkpoint(db) == ATOMKV_OK);
    for (number = 0; number < THREADS; number++) {
        REQUIRE(pthread_join(threads[number], NULL) == 0);
        CHECK(workers[number].good);
    }
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == THREADS * (uint64_t)(ROUNDS - deleted));
    atomkv_table_free(table);
    atomkv_db_free(db);
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    directory = arguments[1];
    test_versions_and_texts();
    test_three_ways_to_read();
    test_delete_contains_and_length();
    test_iteration_and_batches();
    test_reopening_and_closing();
    test_what_needs_no_disk_is_closed_too();
    test_huge_lengths();
    test_settings();
    test_misuse();
    test_damage();
    test_a_forked_child_harms_nothing();
    test_a_forked_child_never_waits();
    test_threads();
    return report("C");
}
