/* What atomkv.h offers beyond put, get and delete, used and misused, in C99. usage: test_features DIRECTORY */

#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

static const char *directory;

static atomkv_db *open_db(const char *name)
{
    char path[4096];
    atomkv_db *db = NULL;
    path_of(path, sizeof path, directory, name);
    REQUIRE(atomkv_open(path, NULL, &db, NULL) == ATOMKV_OK);
    return db;
}

static atomkv_table *open_table(atomkv_db *db, const char *name, int ordered, uint32_t versions)
{
    atomkv_table *table = NULL;
    atomkv_table_options *options = atomkv_table_options_new();
    CHECK(atomkv_table_options_set_ordered(options, ordered) == ATOMKV_OK);
    if (versions > 1)
        CHECK(atomkv_table_options_set_retention_versions(options, versions) == ATOMKV_OK);
    REQUIRE(atomkv_table_open(db, name, options, &table, NULL) == ATOMKV_OK);
    atomkv_table_options_free(options);
    return table;
}

static void put(atomkv_table *table, const char *key, const char *value)
{
    REQUIRE(atomkv_put(table, key, strlen(key), value, strlen(value), NULL) == ATOMKV_OK);
}

static int holds(atomkv_table *table, const char *key, const char *value)
{
    char buffer[256];
    size_t size = 0;
    return atomkv_get(table, key, strlen(key), buffer, sizeof buffer, &size) == ATOMKV_OK &&
           size == strlen(value) && memcmp(buffer, value, size) == 0;
}

static int is(atomkv_slice slice, const char *text)
{
    return slice.data != NULL && slice.size == strlen(text) && memcmp(slice.data, text, slice.size) == 0;
}

static int owned_is(atomkv_buffer buffer, const char *text)
{
    int same = buffer.data != NULL && buffer.size == strlen(text) &&
               memcmp(buffer.data, text, buffer.size) == 0;
    atomkv_free(buffer.data);
    return same;
}

static uint64_t value_of(const atomkv_report *report, const char *name)
{
    uint64_t value = 0;
    CHECK(atomkv_report_value(report, name, &value) == ATOMKV_OK);
    return value;
}

static void test_conditions_and_expiry(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "conditions", 0, 1);
    atomkv_write_options *options = atomkv_write_options_new();
    atomkv_written first = {0, 0}, second = {0, 0}, found = {0, 0};
    atomkv_error *error = NULL;
    atomkv_batch *batch = atomkv_batch_new();
    atomkv_slice key;
    atomkv_entry entry;
    atomkv_buffer value;
    uint32_t changed = 7;
    uint64_t synced = 0, earlier_ms;

    CHECK(atomkv_write_options_set_expect(options, ATOMKV_EXPECT_ABSENT, 0) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "k", 1, "1", 1, options, &first) == ATOMKV_OK);
    CHECK(first.version == 1 && first.sequence > 0);
    CHECK(atomkv_put_with(table, "k", 1, "2", 1, options, &second) == ATOMKV_ERR_CONFLICT);
    CHECK(second.version == 0 && holds(table, "k", "1"));
    CHECK(atomkv_write_options_set_expect(options, ATOMKV_EXPECT_SEQUENCE, first.sequence) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "k", 1, "2", 1, options, &second) == ATOMKV_OK && second.version == 2);
    CHECK(atomkv_write_options_set_expect(options, ATOMKV_EXPECT_VERSION, 1) == ATOMKV_OK);
    CHECK(atomkv_delete_with(table, "k", 1, options, NULL) == ATOMKV_ERR_CONFLICT);
    CHECK(atomkv_write_options_set_expect(options, 9, 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_write_options_free(options);

    /* A batch waits for a condition on a key that it does not change; the error tells what is there. */
    CHECK(atomkv_batch_put(batch, table, "l", 1, "1", 1) == ATOMKV_OK);
    CHECK(atomkv_batch_expect(batch, table, "k", 1, ATOMKV_EXPECT_ABSENT, 0) == ATOMKV_OK);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, NULL, &error) == ATOMKV_ERR_CONFLICT);
    CHECK(error != NULL && strcmp(atomkv_error_table(error), "conditions") == 0);
    CHECK(atomkv_error_conflict(error, &key, &found) == ATOMKV_OK && is(key, "k"));
    CHECK(found.version == 2 && found.sequence == second.sequence);
    atomkv_error_free(error);
    CHECK(atomkv_error_conflict(NULL, &key, &found) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(!holds(table, "l", "1"));
    CHECK(atomkv_batch_clear(batch) == ATOMKV_OK);
    options = atomkv_write_options_new();
    CHECK(atomkv_write_options_set_expires_at_ms(options, 4102444800000u) == ATOMKV_OK);
    CHECK(atomkv_batch_put_with(batch, table, "l", 1, "1", 1, options) == ATOMKV_OK);
    CHECK(atomkv_batch_delete_with(batch, table, "k", 1, NULL) == ATOMKV_OK);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_OK);
    atomkv_batch_free(batch);

    CHECK(atomkv_get_entry(table, "l", 1, &value, &entry) == ATOMKV_OK && owned_is(value, "1"));
    CHECK(entry.version == 1 && entry.expires_at_ms == 4102444800000u && entry.time_ms > 0);
    CHECK(entry.is_tombstone == 0);
    CHECK(atomkv_write_options_set_expires_at_ms(options, ATOMKV_NEVER) == ATOMKV_OK);
    CHECK(atomkv_set_expiry(table, "l", 1, options, &found) == ATOMKV_OK && found.version == 2);
    CHECK(atomkv_get_entry(table, "l", 1, NULL, &entry) == ATOMKV_OK && entry.expires_at_ms == ATOMKV_NEVER);
    earlier_ms = entry.time_ms;
    CHECK(atomkv_set_expiry(table, "none", 4, options, NULL) == ATOMKV_NOT_FOUND);
    /* An expiry is what it is about; a delete has none. */
    CHECK(atomkv_set_expiry(table, "l", 1, NULL, &found) == ATOMKV_ERR_INVALID_ARGUMENT && found.version == 0);
    CHECK(atomkv_delete_with(table, "l", 1, options, &found) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_write_options_set_ttl_ms(options, 0) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_contains(table, "l", 1) == ATOMKV_OK);
    /* A time that is over. */
    CHECK(atomkv_write_options_set_expires_at_ms(options, 1) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "old", 3, "x", 1, options, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_contains(table, "old", 3) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_write_options_set_ttl_ms(options, 3600000) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "new", 3, "x", 1, options, NULL) == ATOMKV_OK);
    CHECK(atomkv_get_entry(table, "new", 3, NULL, &entry) == ATOMKV_OK);
    /* It counts from the call, which may be a moment before the commit. */
    CHECK(entry.expires_at_ms >= earlier_ms + 3600000 && entry.expires_at_ms <= entry.time_ms + 3600000);
    atomkv_write_options_free(options);

    /* A durability is taken back by the table's own; what fails leaves no old results. */
    options = atomkv_write_options_new();
    CHECK(atomkv_write_options_set_durability(options, ATOMKV_DURABILITY_SYNC) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "s", 1, "x", 1, options, NULL) == ATOMKV_OK);
    CHECK(atomkv_write_options_set_durability(options, ATOMKV_DURABILITY_TABLE) == ATOMKV_OK);
    CHECK(atomkv_stat(db, "synced_sequence", &synced) == ATOMKV_OK);
    CHECK(atomkv_put_with(table, "s", 1, "y", 1, options, &found) == ATOMKV_OK && found.sequence > synced);
    atomkv_write_options_free(options);
    CHECK(atomkv_put(table, "", 0, "y", 1, &found) == ATOMKV_ERR_KEY_EMPTY && found.sequence == 0);

    CHECK(atomkv_put_if_changed(table, "c", 1, "1", 1, &found, &changed) == ATOMKV_OK && changed == 1);
    CHECK(atomkv_put_if_changed(table, "c", 1, "1", 1, &found, &changed) == ATOMKV_OK && changed == 0);
    CHECK(found.version == 1);
    atomkv_table_free(table);
}

static void test_histories(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "histories", 0, 3);
    atomkv_history *history = NULL;
    atomkv_written second = {0, 0};
    atomkv_entry entry;
    atomkv_buffer value;
    atomkv_slice bytes;
    size_t count = 0;

    put(table, "k", "1");
    CHECK(atomkv_put(table, "k", 1, "2", 1, &second) == ATOMKV_OK);
    put(table, "k", "3");
    CHECK(atomkv_delete(table, "k", 1, NULL) == ATOMKV_OK);
    CHECK(atomkv_history_new(table, "k", 1, &history) == ATOMKV_OK);
    CHECK(atomkv_history_len(history, &count) == ATOMKV_OK && count == 3);
    CHECK(atomkv_history_at(history, 0, &bytes, &entry) == ATOMKV_OK);
    CHECK(bytes.data == NULL && entry.is_tombstone == 1 && entry.version == 4);
    CHECK(atomkv_history_at(history, 2, &bytes, &entry) == ATOMKV_OK);
    CHECK(is(bytes, "2") && entry.sequence == second.sequence && entry.is_tombstone == 0);
    CHECK(atomkv_history_at(history, 3, &bytes, NULL) == ATOMKV_DONE && bytes.data == NULL);
    CHECK(atomkv_get_version(table, "k", 1, 2, &value, &entry) == ATOMKV_OK && owned_is(value, "2"));
    CHECK(atomkv_get_version(table, "k", 1, 4, &value, &entry) == ATOMKV_OK);
    CHECK(value.data == NULL && entry.is_tombstone == 1);
    CHECK(atomkv_get_version(table, "k", 1, 1, &value, NULL) == ATOMKV_ERR_VERSION_COMPACTED);
    CHECK(atomkv_get_version(table, "k", 1, 99, NULL, NULL) == ATOMKV_ERR_VERSION_NOT_FOUND);
    CHECK(atomkv_get_at(table, "k", 1, second.sequence, &value, NULL) == ATOMKV_OK && owned_is(value, "2"));
    /* It does not need the table any more. */
    atomkv_table_free(table);
    CHECK(atomkv_history_at(history, 1, &bytes, NULL) == ATOMKV_OK && is(bytes, "3"));
    atomkv_history_free(history);
}

static void test_transactions(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "accounts", 1, 1);
    atomkv_txn *txn = NULL;
    atomkv_iter *iter = NULL;
    atomkv_slice key, value;
    atomkv_buffer owned, token;
    char buffer[8];
    size_t size = 0;
    uint64_t sequence = 0, begun = 0;
    int attempts = 0, status;

    put(table, "a", "10");
    /* The retry loop of the documentation, with somebody who comes between once. */
    do {
        status = atomkv_txn_begin(db, &txn, NULL);
        REQUIRE(status == ATOMKV_OK);
        CHECK(atomkv_txn_get_owned(txn, table, "a", 1, &owned) == ATOMKV_OK);
        CHECK(owned_is(owned, attempts == 0 ? "10" : "11"));
        if (attempts++ == 0)
            put(table, "a", "11");
        CHECK(atomkv_txn_put(txn, table, "a", 1, "20", 2, NULL) == ATOMKV_OK);
        status = atomkv_txn_commit(txn, ATOMKV_DURABILITY_SYNC, &sequence, NULL);
        /* It has ended, either way. */
        CHECK(atomkv_txn_put(txn, table, "a", 1, "30", 2, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
        CHECK(atomkv_txn_commit(txn, 0, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
        CHECK(atomkv_txn_abort(txn) == ATOMKV_OK);
        atomkv_txn_free(txn);
    } while (status == ATOMKV_ERR_CONFLICT);
    CHECK(status == ATOMKV_OK && attempts == 2 && sequence > 0 && holds(table, "a", "20"));

    CHECK(atomkv_txn_begin(db, &txn, NULL) == ATOMKV_OK);
    CHECK(atomkv_txn_sequence(txn, &begun) == ATOMKV_OK && begun == sequence);
    CHECK(atomkv_txn_get(txn, table, "a", 1, buffer, 1, &size) == ATOMKV_ERR_BUFFER_TOO_SMALL && size == 2);
    CHECK(atomkv_txn_get(txn, table, "a", 1, buffer, sizeof buffer, &size) == ATOMKV_OK);
    CHECK(size == 2 && memcmp(buffer, "20", 2) == 0);
    CHECK(atomkv_txn_get(txn, table, "z", 1, buffer, sizeof buffer, &size) == ATOMKV_NOT_FOUND && size == 0);
    CHECK(atomkv_txn_contains(txn, table, "a", 1) == ATOMKV_OK);
    CHECK(atomkv_txn_put(txn, table, "b", 1, "1", 1, NULL) == ATOMKV_OK);
    CHECK(atomkv_txn_delete(txn, table, "a", 1, NULL) == ATOMKV_OK);
    CHECK(atomkv_txn_contains(txn, table, "a", 1) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_txn_iter_new(txn, table, NULL, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_next(iter, &key, &value, NULL) == ATOMKV_OK && is(key, "b") && is(value, "1"));
    CHECK(atomkv_iter_page_token(iter, &token) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_DONE);
    CHECK(atomkv_txn_abort(txn) == ATOMKV_OK);
    CHECK(atomkv_txn_contains(txn, table, "a", 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_txn_free(txn);
    atomkv_iter_free(iter);
    CHECK(holds(table, "a", "20") && atomkv_contains(table, "b", 1) == ATOMKV_NOT_FOUND);
    atomkv_table_free(table);
}

static void test_snapshots(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "snapshots", 1, 1);
    atomkv_snapshot *snapshot = NULL;
    atomkv_iter *iter = NULL;
    atomkv_arena *arena = atomkv_arena_new();
    atomkv_slice keys[2] = {{"a", 1}, {"b", 1}}, values[2], key;
    atomkv_entry entry;
    atomkv_buffer owned;
    char buffer[8];
    size_t size = 0;
    uint64_t sequence = 0, time_ms = 0;

    put(table, "a", "1");
    CHECK(atomkv_snapshot_new(db, &snapshot, NULL) == ATOMKV_OK);
    CHECK(atomkv_snapshot_sequence(snapshot, &sequence, &time_ms) == ATOMKV_OK && sequence > 0 && time_ms > 0);
    put(table, "a", "2");
    put(table, "b", "1");
    CHECK(atomkv_snapshot_get(snapshot, table, "a", 1, buffer, sizeof buffer, &size) == ATOMKV_OK);
    CHECK(size == 1 && buffer[0] == '1');
    CHECK(atomkv_snapshot_contains(snapshot, table, "b", 1) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_snapshot_get_entry(snapshot, table, "a", 1, &owned, &entry) == ATOMKV_OK);
    CHECK(owned_is(owned, "1") && entry.version == 1);
    CHECK(atomkv_snapshot_get_many(snapshot, table, keys, 2, arena, values) == ATOMKV_OK);
    CHECK(is(values[0], "1") && values[1].data == NULL);
    CHECK(atomkv_snapshot_iter_new(snapshot, table, NULL, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_OK && is(key, "a"));
    CHECK(atomkv_iter_entry(iter, &entry) == ATOMKV_OK && entry.version == 1);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_DONE);
    CHECK(atomkv_iter_entry(iter, &entry) == ATOMKV_NOT_FOUND);
    atomkv_snapshot_free(snapshot);
    atomkv_iter_free(iter);
    atomkv_arena_free(arena);
    atomkv_table_free(table);
}

static void test_scans(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "scans", 1, 1), *hashed = open_table(db, "hashed", 0, 1);
    atomkv_scan_options *options = atomkv_scan_options_new();
    atomkv_arena *arena = atomkv_arena_new();
    atomkv_iter *iter = NULL;
    atomkv_slice keys[8], values[8], key, value;
    atomkv_written written[8];
    atomkv_buffer token;
    size_t found = 0;
    char name[16];

    for (int number = 0; number < 10; number++) {
        snprintf(name, sizeof name, "k%d", number);
        put(table, name, number == 4 ? "" : "v");
        put(hashed, name, "v");
    }
    put(table, "other", "v");
    CHECK(atomkv_scan_options_set_prefix(options, "k", 1) == ATOMKV_OK);
    CHECK(atomkv_scan_options_set_reverse(options, 1) == ATOMKV_OK);
    CHECK(atomkv_scan_options_set_limit(options, 2) == ATOMKV_OK);
    CHECK(atomkv_iter_new(table, options, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_page_token(iter, &token) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_OK && is(key, "k9"));
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_OK && is(key, "k8"));
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_DONE);
    CHECK(atomkv_iter_page_token(iter, &token) == ATOMKV_OK && token.size > 0);
    atomkv_iter_free(iter);
    CHECK(atomkv_scan_options_set_after(options, token.data, token.size) == ATOMKV_OK);
    atomkv_free(token.data);
    CHECK(atomkv_iter_new(table, options, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_next(iter, &key, NULL, NULL) == ATOMKV_OK && is(key, "k7"));
    atomkv_iter_free(iter);
    CHECK(atomkv_scan_options_set_after(options, "nonsense", 8) == ATOMKV_OK);
    CHECK(atomkv_iter_new(table, options, &iter) == ATOMKV_ERR_INVALID_ARGUMENT && iter == NULL);
    CHECK(atomkv_iter_new(hashed, options, &iter) == ATOMKV_ERR_INVALID_ARGUMENT && iter == NULL);
    atomkv_scan_options_free(options);

    /* A range, many keys a call, an empty value among them. */
    options = atomkv_scan_options_new();
    CHECK(atomkv_scan_options_set_low(options, "k2", 2, 0) == ATOMKV_OK);
    CHECK(atomkv_scan_options_set_high(options, "k8", 2, 1) == ATOMKV_OK);
    CHECK(atomkv_iter_new(table, options, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_next_many(iter, arena, 4, 0, keys, values, written, &found) == ATOMKV_OK && found == 4);
    CHECK(is(keys[0], "k3") && is(keys[3], "k6") && is(values[0], "v") && is(values[1], ""));
    CHECK(written[0].version == 1 && written[0].sequence > 0);
    CHECK(atomkv_iter_next_many(iter, arena, 4, 1, keys, NULL, NULL, &found) == ATOMKV_OK && found == 1);
    CHECK(is(keys[0], "k7"));
    CHECK(atomkv_iter_next(iter, &key, &value, NULL) == ATOMKV_OK && is(key, "k8") && is(value, "v"));
    CHECK(atomkv_iter_next_many(iter, arena, 4, 0, keys, values, written, &found) == ATOMKV_DONE && found == 0);
    CHECK(atomkv_iter_next_many(iter, arena, 0, 0, keys, values, written, &found) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_iter_next_many(iter, NULL, 1, 0, keys, values, written, &found) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_iter_free(iter);
    atomkv_scan_options_free(options);

    options = atomkv_scan_options_new();
    CHECK(atomkv_scan_options_set_glob(options, "*[45]", 5) == ATOMKV_OK);
    CHECK(atomkv_scan_options_set_contains(options, "5", 1) == ATOMKV_OK);
    CHECK(atomkv_scan_options_set_keys_only(options, 1) == ATOMKV_OK);
    CHECK(atomkv_scan_options_set_paged(options, 1) == ATOMKV_OK);
    CHECK(atomkv_iter_new(hashed, options, &iter) == ATOMKV_OK);
    CHECK(atomkv_iter_next(iter, &key, &value, NULL) == ATOMKV_OK && is(key, "k5") && value.size == 0);
    CHECK(atomkv_iter_next(iter, &key, &value, NULL) == ATOMKV_DONE && key.data == NULL);
    atomkv_iter_free(iter);
    atomkv_scan_options_free(options);
    atomkv_arena_free(arena);
    atomkv_table_free(table);
    atomkv_table_free(hashed);
}

static void test_many_gets(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "many", 0, 1);
    atomkv_arena *arena = atomkv_arena_new();
    atomkv_slice keys[4] = {{"a", 1}, {"missing", 7}, {"b", 1}, {"a", 1}}, values[4];
    atomkv_slice bad[2] = {{"a", 1}, {NULL, 3}};
    atomkv_snapshot *snapshot = NULL;

    put(table, "a", "first");
    put(table, "b", "");
    CHECK(atomkv_get_many(table, keys, 4, arena, values) == ATOMKV_OK);
    CHECK(is(values[0], "first") && values[1].data == NULL && is(values[2], "") && is(values[3], "first"));
    CHECK(atomkv_get_many(table, NULL, 0, arena, NULL) == ATOMKV_OK);
    CHECK(atomkv_get_many(table, NULL, 1, arena, values) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get_many(table, keys, 1, arena, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_get_many(table, keys, 1, NULL, values) == ATOMKV_ERR_INVALID_ARGUMENT);
    values[0].size = values[1].size = 77;
    CHECK(atomkv_get_many(table, bad, 2, arena, values) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(values[0].data == NULL && values[0].size == 0 && values[1].size == 0);
    values[0].size = 77;
    CHECK(atomkv_get_many(NULL, keys, 1, arena, values) == ATOMKV_ERR_INVALID_ARGUMENT && values[0].size == 0);
    CHECK(atomkv_get_many(table, keys, SIZE_MAX, arena, values) == ATOMKV_ERR_INVALID_ARGUMENT);
    /* What the call fills must not be what it reads. */
    put(table, "b", "a");
    keys[0].data = "b";
    CHECK(atomkv_get_many(table, keys, 1, arena, values) == ATOMKV_OK && is(values[0], "a"));
    keys[1] = values[0];
    CHECK(atomkv_get_many(table, keys, 2, arena, values) == ATOMKV_ERR_INVALID_ARGUMENT && values[0].data == NULL);
    CHECK(strstr(atomkv_last_error(), "arena") != NULL);
    CHECK(atomkv_snapshot_new(db, &snapshot, NULL) == ATOMKV_OK);
    CHECK(atomkv_snapshot_get_many(snapshot, table, keys, 2, arena, values) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_snapshot_free(snapshot);
    CHECK(atomkv_get_many(table, keys, 1, arena, keys) == ATOMKV_ERR_INVALID_ARGUMENT && is(keys[0], "b"));
    CHECK(strstr(atomkv_last_error(), "overlap") != NULL);
    CHECK(atomkv_get_many(table, keys, 2, arena, keys + 1) == ATOMKV_ERR_INVALID_ARGUMENT && is(keys[0], "b"));
    CHECK(atomkv_get_many(table, keys + 1, 2, arena, keys) == ATOMKV_ERR_INVALID_ARGUMENT && is(keys[0], "b"));
    keys[2] = keys[3];
    CHECK(atomkv_get_many(table, keys + 2, 2, arena, keys) == ATOMKV_OK && is(keys[0], "first"));
    keys[0] = keys[3];
    keys[1].size = 0;
    CHECK(atomkv_get_many(table, keys, 4, arena, values) == ATOMKV_ERR_KEY_EMPTY && values[0].data == NULL);
    atomkv_arena_free(arena);
    atomkv_table_free(table);
}

struct update {
    int calls;
    int code;
    atomkv_table *other;
};

static int32_t append_x(void *user_data, const void *value, size_t value_size, atomkv_update_result *result)
{
    struct update *update = user_data;
    char grown[16];
    if (update->calls++ == 0 && update->other)
        put(update->other, "k", "between");
    if (update->code)
        return update->code;
    if (value == NULL)
        return 0;
    if (value_size == 4 && memcmp(value, "dead", 4) == 0)
        return atomkv_update_delete(result);
    memcpy(grown, value, value_size);
    grown[value_size] = 'x';
    return atomkv_update_put(result, grown, value_size + 1);
}

static void test_merges_and_updates(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "merges", 0, 1);
    struct update update = {0, 0, NULL};
    atomkv_written written;
    atomkv_buffer result;
    int64_t sum = 0;

    CHECK(atomkv_add_integer(table, "n", 1, 40, &sum, NULL) == ATOMKV_OK && sum == 40);
    CHECK(atomkv_add_integer(table, "n", 1, 2, &sum, &written) == ATOMKV_OK && sum == 42);
    CHECK(written.version == 2);
    CHECK(atomkv_add_integer(table, "n", 1, INT64_MAX, &sum, NULL) == ATOMKV_ERR_MERGE && sum == 0);
    CHECK(atomkv_add_decimal(table, "d", 1, "-12", 3, &result, NULL) == ATOMKV_OK && owned_is(result, "-12"));
    CHECK(atomkv_add_decimal(table, "d", 1, "seven", 5, &result, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(result.data == NULL);
    CHECK(atomkv_append(table, "t", 1, "ab", 2, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_append(table, "t", 1, "c", 1, &result, NULL) == ATOMKV_OK && owned_is(result, "abc"));
    put(table, "j", "{\"a\":1.50,\"b\":2}");
    CHECK(atomkv_merge_json(table, "j", 1, "{\"b\":null}", 10, &result, NULL) == ATOMKV_OK);
    CHECK(owned_is(result, "{\"a\":1.50}"));
    CHECK(atomkv_merge_json(table, "t", 1, "{}", 2, NULL, NULL) == ATOMKV_ERR_MERGE);

    put(table, "k", "1");
    CHECK(atomkv_update(table, "k", 1, append_x, &update, &written) == ATOMKV_OK && holds(table, "k", "1x"));
    update.calls = 0;
    update.other = table;
    CHECK(atomkv_update(table, "k", 1, append_x, &update, NULL) == ATOMKV_OK);
    CHECK(update.calls == 2 && holds(table, "k", "betweenx"));
    update.code = 5;
    CHECK(atomkv_update(table, "k", 1, append_x, &update, &written) == ATOMKV_ERR_CALLBACK);
    CHECK(written.version == 0 && holds(table, "k", "betweenx") && strstr(atomkv_last_error(), "5"));
    update.code = 0;
    CHECK(atomkv_update(table, "none", 4, append_x, &update, NULL) == ATOMKV_NOT_FOUND);
    put(table, "k", "dead");
    CHECK(atomkv_update(table, "k", 1, append_x, &update, NULL) == ATOMKV_OK);
    CHECK(atomkv_contains(table, "k", 1) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_update(table, "k", 1, NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_table_free(table);
}

static void test_streams(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "streams", 0, 1);
    atomkv_writer *writer = NULL;
    atomkv_reader *reader = NULL;
    atomkv_snapshot *snapshot = NULL;
    static char part[1000000];
    char tail[10];
    uint64_t length = 0;
    size_t read = 0;

    CHECK(atomkv_writer_new(table, "big", 3, &writer) == ATOMKV_OK);
    for (int number = 0; number < 5; number++) {
        memset(part, 'a' + number, sizeof part);
        CHECK(atomkv_writer_append(writer, part, sizeof part) == ATOMKV_OK);
    }
    CHECK(atomkv_contains(table, "big", 3) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_writer_finish(writer, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_writer_append(writer, part, 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_writer_finish(writer, NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_writer_free(writer);
    CHECK(atomkv_snapshot_new(db, &snapshot, NULL) == ATOMKV_OK);
    CHECK(atomkv_reader_new(table, "big", 3, &reader) == ATOMKV_OK);
    CHECK(atomkv_delete(table, "big", 3, NULL) == ATOMKV_OK);
    CHECK(atomkv_reader_len(reader, &length, NULL) == ATOMKV_OK && length == 5000000);
    CHECK(atomkv_reader_read(reader, 4999995, tail, sizeof tail, &read) == ATOMKV_OK && read == 5);
    CHECK(memcmp(tail, "eeeee", 5) == 0);
    CHECK(atomkv_reader_read(reader, 999995, tail, sizeof tail, &read) == ATOMKV_OK && read == 10);
    CHECK(memcmp(tail, "aaaaabbbbb", 10) == 0);
    CHECK(atomkv_reader_read(reader, UINT64_MAX, tail, sizeof tail, &read) == ATOMKV_OK && read == 0);
    CHECK(atomkv_reader_read(reader, 0, NULL, 4, &read) == ATOMKV_ERR_INVALID_ARGUMENT);
    atomkv_reader_free(reader);
    CHECK(atomkv_reader_new(table, "big", 3, &reader) == ATOMKV_NOT_FOUND && reader == NULL);
    CHECK(atomkv_snapshot_reader_new(snapshot, table, "big", 3, &reader) == ATOMKV_OK);
    CHECK(atomkv_reader_len(reader, &length, NULL) == ATOMKV_OK && length == 5000000);
    atomkv_reader_free(reader);
    atomkv_snapshot_free(snapshot);
    /* A writer that is given up leaves nothing. */
    CHECK(atomkv_writer_new(table, "none", 4, &writer) == ATOMKV_OK);
    CHECK(atomkv_writer_append(writer, part, sizeof part) == ATOMKV_OK);
    atomkv_writer_free(writer);
    CHECK(atomkv_contains(table, "none", 4) == ATOMKV_NOT_FOUND);
    atomkv_table_free(table);
}

/* Overwrites a byte amid the large values of a database. */
static void damage_large_values(const char *name)
{
    char path[4096], file[8192];
    struct dirent *entry;
    FILE *stream;
    DIR *listing;

    path_of(path, sizeof path, directory, name);
    listing = opendir(path);
    REQUIRE(listing != NULL);
    while ((entry = readdir(listing)) != NULL) {
        if (strncmp(entry->d_name, "extent-", 7) != 0)
            continue;
        path_of(file, sizeof file, path, entry->d_name);
        stream = fopen(file, "r+b");
        REQUIRE(stream != NULL);
        CHECK(fseek(stream, 5000000, SEEK_SET) == 0 && fputc('!', stream) == '!');
        fclose(stream);
    }
    closedir(listing);
}

/* What is known of a document is told without its value: with damage in a streamed one, which nobody reads. */
static void test_entries_without_values(void)
{
    atomkv_db *db = open_db("entries");
    atomkv_table *table = open_table(db, "t", 0, 1);
    atomkv_write_options *options = atomkv_write_options_new();
    atomkv_writer *writer = NULL;
    atomkv_reader *reader = NULL;
    atomkv_snapshot *snapshot = NULL;
    atomkv_written stored;
    atomkv_entry entry, seen;
    atomkv_buffer value;
    static char part[1 << 20];

    CHECK(atomkv_write_options_set_expires_at_ms(options, 4102444800000u) == ATOMKV_OK);
    CHECK(atomkv_writer_new(table, "big", 3, &writer) == ATOMKV_OK);
    for (int number = 0; number < 8; number++)
        CHECK(atomkv_writer_append(writer, part, sizeof part) == ATOMKV_OK);
    CHECK(atomkv_writer_finish(writer, options, NULL, NULL) == ATOMKV_OK);
    atomkv_writer_free(writer);
    atomkv_write_options_free(options);
    CHECK(atomkv_get_entry(table, "big", 3, &value, &seen) == ATOMKV_OK && value.size == 8 * sizeof part);
    atomkv_free(value.data);
    damage_large_values("entries");

    CHECK(atomkv_get_entry(table, "big", 3, &value, &entry) == ATOMKV_ERR_CORRUPT && value.data == NULL);
    CHECK(atomkv_get_entry(table, "big", 3, NULL, &entry) == ATOMKV_OK);
    CHECK(entry.version == 1 && entry.expires_at_ms == 4102444800000u && entry.is_tombstone == 0);
    CHECK(entry.sequence == seen.sequence && entry.time_ms == seen.time_ms);
    CHECK(atomkv_reader_new(table, "big", 3, &reader) == ATOMKV_OK);
    CHECK(atomkv_reader_len(reader, NULL, &stored) == ATOMKV_OK);
    CHECK(stored.version == entry.version && stored.sequence == entry.sequence);
    atomkv_reader_free(reader);
    CHECK(atomkv_get_entry(table, "big", 3, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_get_entry(table, "none", 4, NULL, &entry) == ATOMKV_NOT_FOUND && entry.version == 0);

    CHECK(atomkv_snapshot_new(db, &snapshot, NULL) == ATOMKV_OK);
    put(table, "big", "small");
    CHECK(atomkv_get_entry(table, "big", 3, NULL, &entry) == ATOMKV_OK && entry.version == 2);
    CHECK(entry.expires_at_ms == ATOMKV_NEVER);
    CHECK(atomkv_snapshot_get_entry(snapshot, table, "big", 3, NULL, &entry) == ATOMKV_OK && entry.version == 1);
    CHECK(entry.sequence == seen.sequence && entry.expires_at_ms == 4102444800000u);
    CHECK(atomkv_snapshot_get_entry(snapshot, table, "none", 4, NULL, &entry) == ATOMKV_NOT_FOUND);
    atomkv_snapshot_free(snapshot);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

static void test_the_change_feed(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "feed", 0, 1), *other = open_table(db, "unwatched", 0, 1);
    atomkv_watch_options *options = atomkv_watch_options_new();
    atomkv_watch *watch = NULL;
    atomkv_change change;
    uint64_t resume = 0;

    put(table, "k1", "old");
    CHECK(atomkv_watch_options_add_table(options, table) == ATOMKV_OK);
    CHECK(atomkv_watch_options_set_prefix(options, "k", 1) == ATOMKV_OK);
    CHECK(atomkv_watch_options_set_state_first(options, 1) == ATOMKV_OK);
    CHECK(atomkv_watch_new(db, options, &watch, NULL) == ATOMKV_OK);
    put(other, "k2", "x");
    put(table, "z", "x");
    put(table, "k2", "new");
    CHECK(atomkv_delete(table, "k1", 2, NULL) == ATOMKV_OK);
    CHECK(atomkv_watch_next(watch, 5000, &change) == ATOMKV_OK && change.kind == ATOMKV_CHANGE_STATE);
    CHECK(is(change.table, "feed") && is(change.key, "k1") && is(change.value, "old"));
    CHECK(atomkv_watch_next(watch, 5000, &change) == ATOMKV_OK && change.kind == ATOMKV_CHANGE_PUT);
    CHECK(is(change.key, "k2") && is(change.value, "new") && change.last_of_commit == 1);
    CHECK(atomkv_watch_next(watch, 5000, &change) == ATOMKV_OK && change.kind == ATOMKV_CHANGE_DELETE);
    CHECK(is(change.key, "k1") && change.value.data == NULL && change.version == 2);
    CHECK(atomkv_watch_next(watch, 0, &change) == ATOMKV_TIMEOUT && change.key.data == NULL);
    CHECK(atomkv_watch_next(watch, 20, &change) == ATOMKV_TIMEOUT);
    CHECK(atomkv_watch_resume_from(watch, &resume) == ATOMKV_OK && resume > change.sequence);
    atomkv_watch_free(watch);
    atomkv_watch_options_free(options);
    put(table, "k3", "later");
    options = atomkv_watch_options_new();
    CHECK(atomkv_watch_options_set_from(options, resume) == ATOMKV_OK);
    CHECK(atomkv_watch_new(db, options, &watch, NULL) == ATOMKV_OK);
    CHECK(atomkv_watch_next(watch, 5000, &change) == ATOMKV_OK && is(change.key, "k3"));
    atomkv_watch_options_free(options);
    /* A watch is freed after its table and keeps the database. */
    atomkv_table_free(table);
    atomkv_table_free(other);
    atomkv_watch_free(watch);
}

static int told;

static int32_t tell(void *user_data, const atomkv_progress_values *values)
{
    told++;
    return values->bytes == UINT64_MAX ? 1 : *(int *)user_data;
}

static void count(void *user_data)
{
    ++*(int *)user_data;
}

static int32_t take(void *user_data, const void *data, size_t size)
{
    (void)data;
    *(size_t *)user_data += size;
    return 0;
}

static int32_t drain_itself(void *user_data, const void *data, size_t size)
{
    atomkv_buffer taken;
    (void)data, (void)size;
    return atomkv_output_take(*(atomkv_output **)user_data, &taken) == ATOMKV_ERR_INVALID_ARGUMENT ? 0 : 1;
}

static int refusals;

static int32_t refuse(void *user_data, const void *data, size_t size)
{
    (void)user_data, (void)data, (void)size;
    refusals++;
    return 77;
}

static int32_t boast(void *user_data, void *buffer, size_t buffer_size, size_t *read)
{
    (void)user_data, (void)buffer;
    *read = buffer_size + 1;
    return 0;
}

static int32_t refuse_to_read(void *user_data, void *buffer, size_t buffer_size, size_t *read)
{
    (void)user_data, (void)buffer, (void)buffer_size, (void)read;
    return 78;
}

static void test_transfer(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "transfer", 1, 1), *copy = open_table(db, "copy", 1, 1);
    atomkv_transfer_options *options = atomkv_transfer_options_new();
    atomkv_output *output = atomkv_output_memory();
    atomkv_input *input = NULL;
    atomkv_report *report = NULL;
    atomkv_error *error = NULL;
    atomkv_snapshot *snapshot = NULL;
    atomkv_db *memory = NULL;
    atomkv_table *loaded = NULL;
    atomkv_buffer data;
    char path[4096];
    size_t taken = 0;
    int destroyed = 0;
    const char *expected = "key,value,expires_at_ms\r\na,1,\r\nb,2,\r\n";

    put(table, "a", "1");
    put(table, "b", "2");
    CHECK(atomkv_transfer_options_set(options, "format", "csv") == ATOMKV_OK);
    CHECK(atomkv_transfer_options_set(options, "format", "xml") == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(strstr(atomkv_last_error(), "jsonl") != NULL);
    CHECK(atomkv_transfer_options_set(options, "colour", "red") == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_transfer_options_set(options, "skip_malformed", "-1") == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_export(table, options, output, NULL, &report, NULL) == ATOMKV_OK);
    CHECK(value_of(report, "records") == 2 && strstr(atomkv_report_json(report), "\"records\":2") != NULL);
    atomkv_report_free(report);
    CHECK(atomkv_output_take(output, &data) == ATOMKV_OK && owned_is(data, expected));
    CHECK(atomkv_output_take(output, &data) == ATOMKV_OK && owned_is(data, ""));
    CHECK(atomkv_input_memory(expected, strlen(expected), &input) == ATOMKV_OK);
    CHECK(atomkv_import(copy, options, input, NULL, &report, NULL) == ATOMKV_OK);
    CHECK(value_of(report, "records") == 2 && holds(copy, "b", "2"));
    atomkv_report_free(report);
    atomkv_input_free(input);
    /* A report of what failed says where to go on. */
    CHECK(atomkv_input_memory("{\"key\":\"c\",\"value\":\"3\"}\nnonsense\n", 33, &input) == ATOMKV_OK);
    CHECK(atomkv_import(copy, NULL, input, NULL, &report, &error) == ATOMKV_ERR_INPUT);
    CHECK(report != NULL && value_of(report, "position_records") == 1 && holds(copy, "c", "3"));
    CHECK(error != NULL && atomkv_error_offset(error) == 24);
    atomkv_error_free(error);
    atomkv_report_free(report);
    atomkv_input_free(input);

    /* Files, callbacks, and what is wrong with them. */
    path_of(path, sizeof path, directory, "export.jsonl");
    atomkv_output_free(output);
    CHECK(atomkv_output_file(path, &output) == ATOMKV_OK);
    CHECK(atomkv_output_take(output, &data) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_snapshot_new(db, &snapshot, NULL) == ATOMKV_OK);
    CHECK(atomkv_snapshot_export(snapshot, table, NULL, output, NULL, NULL, NULL) == ATOMKV_OK);
    atomkv_snapshot_free(snapshot);
    atomkv_output_free(output);
    CHECK(atomkv_output_file(path, &output) == ATOMKV_ERR_ALREADY_EXISTS && output == NULL);
    CHECK(atomkv_input_file(path, &input) == ATOMKV_OK);
    CHECK(atomkv_import(copy, NULL, input, NULL, NULL, NULL) == ATOMKV_OK);
    atomkv_input_free(input);
    CHECK(atomkv_input_file("/nowhere/at/all", &input) == ATOMKV_ERR_IO && input == NULL);
    CHECK(atomkv_output_callback(take, &taken, NULL, &output) == ATOMKV_OK);
    CHECK(atomkv_export(table, NULL, output, NULL, NULL, NULL) == ATOMKV_OK && taken > 20);
    atomkv_output_free(output);
    /* A call on an output from within a call that uses it is refused, where it would wait for itself. */
    CHECK(atomkv_output_callback(drain_itself, &output, NULL, &output) == ATOMKV_OK);
    CHECK(atomkv_export(table, NULL, output, NULL, NULL, NULL) == ATOMKV_OK);
    atomkv_output_free(output);
    CHECK(atomkv_output_callback(refuse, &destroyed, count, &output) == ATOMKV_OK);
    CHECK(atomkv_export(table, NULL, output, NULL, NULL, NULL) == ATOMKV_ERR_CALLBACK);
    CHECK(strstr(atomkv_last_error(), "77") != NULL && destroyed == 0);
    /* Once is enough, also where an archive is ended behind what was refused; the next call asks anew. */
    refusals = 0;
    CHECK(atomkv_backup_stream(db, output, NULL, NULL, NULL) == ATOMKV_ERR_CALLBACK && refusals == 1);
    CHECK(atomkv_dump(db, NULL, output, NULL, NULL, NULL) == ATOMKV_ERR_CALLBACK && refusals == 2);
    atomkv_output_free(output);
    CHECK(destroyed == 1);
    CHECK(atomkv_output_callback(NULL, &destroyed, count, &output) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(destroyed == 2);
    CHECK(atomkv_input_callback(boast, NULL, NULL, &input) == ATOMKV_OK);
    CHECK(atomkv_import(copy, NULL, input, NULL, NULL, NULL) == ATOMKV_ERR_CALLBACK);
    atomkv_input_free(input);
    CHECK(atomkv_input_callback(refuse_to_read, NULL, NULL, &input) == ATOMKV_OK);
    CHECK(atomkv_import(copy, NULL, input, NULL, NULL, NULL) == ATOMKV_ERR_CALLBACK);
    CHECK(strstr(atomkv_last_error(), "78") != NULL);
    atomkv_input_free(input);

    /* A dump of one table, into a database in memory. */
    CHECK(atomkv_transfer_options_add_table(options, "transfer") == ATOMKV_OK);
    output = atomkv_output_memory();
    CHECK(atomkv_dump(db, options, output, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_output_take(output, &data) == ATOMKV_OK);
    CHECK(atomkv_input_memory(data.data, data.size, &input) == ATOMKV_OK);
    atomkv_free(data.data);
    CHECK(atomkv_open_in_memory(&memory, NULL) == ATOMKV_OK);
    CHECK(atomkv_load_dump(memory, NULL, input, NULL, NULL, NULL) == ATOMKV_OK);
    loaded = open_table(memory, "transfer", 1, 1);
    CHECK(holds(loaded, "a", "1"));
    atomkv_table_free(loaded);
    atomkv_db_free(memory);
    atomkv_input_free(input);
    atomkv_output_free(output);
    atomkv_transfer_options_free(options);
    atomkv_table_free(table);
    atomkv_table_free(copy);
}

static void test_care(void)
{
    atomkv_db *db = open_db("care"), *reader = NULL, *newer = NULL;
    atomkv_table *table = open_table(db, "t", 0, 1);
    atomkv_progress *progress = atomkv_progress_new();
    atomkv_progress_values values;
    atomkv_report *report = NULL;
    atomkv_compaction_pause *pause = NULL;
    atomkv_options *options = atomkv_options_new();
    atomkv_output *output = NULL;
    atomkv_input *input = NULL;
    atomkv_buffer data;
    char path[4096], backup[4096], restored[4096], key[16];
    const char *name = NULL;
    uint64_t value = 0;
    size_t tables = 0;
    uint32_t partitions = 0;
    int stop = 0, destroyed = 0;

    for (int number = 0; number < 2000; number++) {
        snprintf(key, sizeof key, "k%d", number % 500);
        put(table, key, "some value that takes a little room");
    }
    CHECK(atomkv_progress_set_callback(progress, tell, &stop, NULL) == ATOMKV_OK);
    CHECK(atomkv_pause_compaction(db, &pause) == ATOMKV_OK);
    atomkv_compaction_pause_free(pause);
    CHECK(atomkv_compact(db, progress, &report, NULL) == ATOMKV_OK && told > 0);
    CHECK(value_of(report, "segments_removed") > 0);
    CHECK(atomkv_report_value(report, "colour", &value) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_report_at(report, 0, &name, NULL) == ATOMKV_OK && strcmp(name, "segments_removed") == 0);
    CHECK(atomkv_report_at(report, 1000, &name, &value) == ATOMKV_DONE && name == NULL);
    atomkv_report_free(report);
    CHECK(atomkv_progress_get(progress, &values) == ATOMKV_OK);
    CHECK(atomkv_table_resize(table, 64, &report, NULL) == ATOMKV_OK && value_of(report, "to") == 64);
    atomkv_report_free(report);
    CHECK(atomkv_table_partitions(table, &partitions) == ATOMKV_OK && partitions == 64);
    CHECK(atomkv_table_resize(table, 0, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);

    CHECK(atomkv_stats(db, &report) == ATOMKV_OK && value_of(report, "keys") == 500);
    CHECK(atomkv_stat(db, "keys", &value) == ATOMKV_OK && value == 500);
    CHECK(atomkv_report_json(report)[0] == '{');
    atomkv_report_free(report);
    CHECK(atomkv_table_stats(table, &report) == ATOMKV_OK && value_of(report, "partitions") == 64);
    atomkv_report_free(report);
    CHECK(atomkv_table_names(db, &data, &tables) == ATOMKV_OK && tables == 1);
    CHECK(data.size == 2 && strcmp(data.data, "t") == 0);
    atomkv_free(data.data);
    CHECK(atomkv_table_name(table, &data) == ATOMKV_OK && strcmp(data.data, "t") == 0 && data.size == 1);
    atomkv_free(data.data);
    path_of(path, sizeof path, directory, "care");
    CHECK(atomkv_path(db, &data) == ATOMKV_OK && data.size > 4);
    CHECK(strcmp((const char *)data.data + data.size - 4, "care") == 0);
    atomkv_free(data.data);

    /* A backup twice, as an archive, restored, verified. */
    path_of(backup, sizeof backup, directory, "backup");
    path_of(restored, sizeof restored, directory, "restored");
    CHECK(atomkv_backup(db, backup, ATOMKV_BACKUP_VERIFY, NULL, &report, NULL) == ATOMKV_OK);
    CHECK(value_of(report, "files") > 0);
    atomkv_report_free(report);
    CHECK(atomkv_backup(db, backup, ATOMKV_BACKUP_COPY, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_backup(db, backup, 4, NULL, NULL, NULL) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_restore(backup, restored, ATOMKV_BACKUP_VERIFY, NULL, &report, NULL) == ATOMKV_OK);
    atomkv_report_free(report);
    CHECK(atomkv_restore(backup, restored, 0, NULL, NULL, NULL) == ATOMKV_ERR_ALREADY_EXISTS);
    CHECK(atomkv_verify_directory(restored, NULL, &report, NULL) == ATOMKV_OK);
    CHECK(value_of(report, "keys") == 500 && value_of(report, "damage_count") == 0);
    atomkv_report_free(report);
    output = atomkv_output_memory();
    CHECK(atomkv_backup_stream(db, output, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_output_take(output, &data) == ATOMKV_OK);
    CHECK(atomkv_input_memory(data.data, data.size, &input) == ATOMKV_OK);
    atomkv_free(data.data);
    path_of(restored, sizeof restored, directory, "unpacked");
    CHECK(atomkv_restore_stream(input, restored, 0, NULL, NULL, NULL) == ATOMKV_OK);
    atomkv_input_free(input);
    atomkv_output_free(output);
    CHECK(atomkv_verify(db, NULL, &report, NULL) == ATOMKV_OK);
    atomkv_report_free(report);
    path_of(restored, sizeof restored, directory, "salvaged");
    CHECK(atomkv_salvage(backup, restored, NULL, NULL, NULL, &report, NULL) == ATOMKV_OK);
    CHECK(value_of(report, "documents") == 500);
    atomkv_report_free(report);

    /* Cancelled from elsewhere, and by the callback. */
    CHECK(atomkv_progress_cancel(progress, 1) == ATOMKV_OK);
    CHECK(atomkv_verify(db, progress, &report, NULL) == ATOMKV_ERR_CANCELLED || report != NULL);
    atomkv_report_free(report);
    CHECK(atomkv_progress_cancel(progress, 0) == ATOMKV_OK);
    CHECK(atomkv_progress_set_callback(progress, tell, &stop, NULL) == ATOMKV_OK);
    CHECK(atomkv_progress_set_callback(progress, NULL, &destroyed, count) == ATOMKV_OK);
    CHECK(atomkv_progress_set_callback(NULL, NULL, &destroyed, count) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(destroyed == 2);
    atomkv_progress_free(progress);

    /* A reader beside the writer follows it. */
    CHECK(atomkv_options_set_read_only(options, 1) == ATOMKV_OK);
    CHECK(atomkv_open(path, options, &reader, NULL) == ATOMKV_OK);
    CHECK(atomkv_refresh(reader, &newer, NULL) == ATOMKV_DONE && newer == NULL);
    put(table, "fresh", "1");
    CHECK(atomkv_sync(db) == ATOMKV_OK);
    CHECK(atomkv_refresh(reader, &newer, NULL) == ATOMKV_OK && newer != NULL);
    atomkv_db_free(reader);
    CHECK(atomkv_refresh(db, &reader, NULL) == ATOMKV_ERR_INVALID_ARGUMENT && reader == NULL);
    atomkv_options_free(options);
    atomkv_db_free(newer);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

struct shared {
    atomkv_table *table;
    atomkv_txn *txn;
    atomkv_batch *batch;
    atomkv_db *db;
    pthread_mutex_t mutex;
    int stop;
};

/* Is in the middle of a call on a transaction or a batch most of the time. */
static void *change(void *argument)
{
    struct shared *shared = argument;
    for (uint64_t number = 0;; number++) {
        uint64_t key = number % 3000;
        static const char value[300];
        int stop;
        pthread_mutex_lock(&shared->mutex);
        stop = shared->stop;
        pthread_mutex_unlock(&shared->mutex);
        if (stop)
            return NULL;
        if (atomkv_txn_put(shared->txn, shared->table, &key, sizeof key, value, number % 300, NULL) != ATOMKV_OK ||
            (number % 50 == 0 &&
             atomkv_apply(shared->db, shared->batch, ATOMKV_DURABILITY_BUFFERED, NULL, NULL) != ATOMKV_OK))
            return argument;
    }
}

/* A child crashed as it freed a transaction that a thread of its parent was changing, and waited for its batch. */
static void test_a_forked_child_frees_what_was_in_use(void)
{
    struct shared shared = {NULL, NULL, NULL, NULL, PTHREAD_MUTEX_INITIALIZER, 0};
    pthread_t thread;
    void *outcome = NULL;
    if (!FORKS_BESIDE_THREADS)
        return;
    shared.db = open_db("fork");
    shared.table = open_table(shared.db, "t", 0, 1);
    shared.batch = atomkv_batch_new();
    REQUIRE(atomkv_txn_begin(shared.db, &shared.txn, NULL) == ATOMKV_OK);
    for (uint64_t key = 0; key < 1000; key++)
        CHECK(atomkv_batch_put(shared.batch, shared.table, &key, sizeof key, "value", 5) == ATOMKV_OK);
    REQUIRE(pthread_create(&thread, NULL, change, &shared) == 0);
    for (int round = 0; round < 40; round++) {
        struct timespec pause = {0, 100000 + 37000 * round};
        int status = 0;
        pid_t child;
        nanosleep(&pause, NULL);
        fflush(NULL);
        child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            size_t operations;
            int good;
            alarm(30);
            good = atomkv_batch_len(shared.batch, &operations) == ATOMKV_ERR_FORKED &&
                   atomkv_batch_clear(shared.batch) == ATOMKV_ERR_FORKED &&
                   atomkv_txn_abort(shared.txn) == ATOMKV_ERR_FORKED;
            atomkv_txn_free(shared.txn);
            atomkv_batch_free(shared.batch);
            atomkv_table_free(shared.table);
            atomkv_db_free(shared.db);
            /* Ended so that leak checkers do not count what a forked child must leave alone. */
            if (good)
                kill(getpid(), SIGKILL);
            _exit(1);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fprintf(stderr, "round %d: the child ended with status %#x\n", round, (unsigned)status);
    }
    pthread_mutex_lock(&shared.mutex);
    shared.stop = 1;
    pthread_mutex_unlock(&shared.mutex);
    CHECK(pthread_join(thread, &outcome) == 0 && outcome == NULL);
    atomkv_txn_free(shared.txn);
    atomkv_batch_free(shared.batch);
    atomkv_table_free(shared.table);
    atomkv_db_free(shared.db);
}

static void test_after_closing(void)
{
    atomkv_db *db = open_db("closing");
    atomkv_table *table = open_table(db, "t", 1, 1);
    atomkv_snapshot *snapshot = NULL, *second = NULL;
    atomkv_txn *txn = NULL;
    atomkv_watch *watch = NULL;
    atomkv_writer *writer = NULL;
    atomkv_reader *reader = NULL;
    atomkv_iter *iter = NULL;
    atomkv_arena *arena = atomkv_arena_new();
    atomkv_slice key = {"k", 1}, value;
    atomkv_change change;
    char buffer[4];
    size_t size;

    put(table, "k", "v");
    CHECK(atomkv_snapshot_new(db, &snapshot, NULL) == ATOMKV_OK);
    CHECK(atomkv_txn_begin(db, &txn, NULL) == ATOMKV_OK);
    CHECK(atomkv_watch_new(db, NULL, &watch, NULL) == ATOMKV_OK);
    CHECK(atomkv_writer_new(table, "w", 1, &writer) == ATOMKV_OK);
    CHECK(atomkv_reader_new(table, "k", 1, &reader) == ATOMKV_OK);
    CHECK(atomkv_snapshot_iter_new(snapshot, table, NULL, &iter) == ATOMKV_OK);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    CHECK(atomkv_snapshot_get(snapshot, table, "k", 1, buffer, 4, &size) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_snapshot_contains(snapshot, table, "k", 1) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_txn_get(txn, table, "k", 1, buffer, 4, &size) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_txn_commit(txn, 0, NULL, NULL) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_watch_next(watch, 1000000, &change) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_writer_append(writer, "x", 1) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_writer_finish(writer, NULL, NULL, NULL) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_reader_read(reader, 0, buffer, 4, &size) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_iter_next(iter, NULL, NULL, NULL) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_get_many(table, &key, 1, arena, &value) == ATOMKV_ERR_CLOSED);
    CHECK(atomkv_snapshot_new(db, &second, NULL) == ATOMKV_ERR_CLOSED && second == NULL);
    CHECK(atomkv_add_integer(table, "n", 1, 1, NULL, NULL) == ATOMKV_ERR_CLOSED);
    /* The parent first: any order is right. */
    atomkv_db_free(db);
    atomkv_table_free(table);
    atomkv_iter_free(iter);
    atomkv_reader_free(reader);
    atomkv_writer_free(writer);
    atomkv_watch_free(watch);
    atomkv_txn_free(txn);
    atomkv_snapshot_free(snapshot);
    atomkv_arena_free(arena);
}

static void test_handles_of_the_wrong_kind(atomkv_db *db)
{
    atomkv_table *table = open_table(db, "kinds", 0, 1);
    atomkv_batch *batch = atomkv_batch_new();
    atomkv_iter *iter = NULL;
    uint64_t keys;

    CHECK(atomkv_table_len((atomkv_table *)(void *)db, &keys) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(strstr(atomkv_last_error(), "atomkv_table") != NULL);
    CHECK(atomkv_sync((atomkv_db *)(void *)table) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_iter_new(table, (atomkv_scan_options *)(void *)batch, &iter) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_sync((atomkv_db *)(void *)((char *)(void *)db + 3)) == ATOMKV_ERR_INVALID_ARGUMENT);
    /* Freeing does nothing then. */
    atomkv_batch_free((atomkv_batch *)(void *)table);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK);
    atomkv_batch_free(batch);
    atomkv_table_free(table);
}

int main(int count, char **arguments)
{
    atomkv_db *db;
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    directory = arguments[1];
    db = open_db("features");
    test_conditions_and_expiry(db);
    test_histories(db);
    test_transactions(db);
    test_snapshots(db);
    test_scans(db);
    test_many_gets(db);
    test_merges_and_updates(db);
    test_streams(db);
    test_the_change_feed(db);
    test_transfer(db);
    test_handles_of_the_wrong_kind(db);
    atomkv_db_free(db);
    test_care();
    test_entries_without_values();
    test_after_closing();
    test_a_forked_child_frees_what_was_in_use();
    return report("C features");
}
