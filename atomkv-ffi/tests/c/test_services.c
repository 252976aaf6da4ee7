/* Services as callbacks: used, failing, lying, missing. usage: test_services DIRECTORY */

#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include "test.h"

static const char *directory;

/* What a service's callbacks share with the test; many threads count at once. */
typedef struct {
    int calls;
    int destroyed;
    /* What the next calls shall do wrong. */
    int fault;
} service;

static void count(int *number)
{
    __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
}

static int now(const int *number)
{
    return __atomic_load_n(number, __ATOMIC_SEQ_CST);
}

enum {
    FAULT_NONE,
    FAULT_COMPRESS_FAILS,
    FAULT_COMPRESS_CLAIMS_TOO_MUCH,
    FAULT_COMPRESS_CLAIMS_MAXIMUM,
    FAULT_COMPRESS_CLAIMS_LESS,
    FAULT_COMPRESS_CLAIMS_MORE,
    FAULT_COMPRESS_WRITES_BEHIND,
    FAULT_COMPRESS_WRITES_BEFORE,
    FAULT_COMPRESS_LOSES_A_BYTE,
    FAULT_DECOMPRESS_FAILS,
    FAULT_DECOMPRESS_GIVES_LESS,
    FAULT_DECOMPRESS_GIVES_MORE,
    FAULT_DECOMPRESS_GIVES_NOTHING,
    FAULT_DECOMPRESS_WRITES_BEHIND
};

static void destroy(void *user_data)
{
    count(&((service *)user_data)->destroyed);
}

static uint64_t hash_fnv(void *user_data, uint64_t seed, const void *key, size_t key_size)
{
    const unsigned char *bytes = (const unsigned char *)key;
    uint64_t hash = seed ^ 14695981039346656037u;
    size_t at;
    if (user_data != NULL)
        count(&((service *)user_data)->calls);
    for (at = 0; at < key_size; at++)
        hash = (hash ^ bytes[at]) * 1099511628211u;
    hash = (hash ^ hash >> 33) * 18397679294719823053u;
    return hash ^ hash >> 33;
}

/* All keys collide. */
static uint64_t hash_nothing(void *user_data, uint64_t seed, const void *key, size_t key_size)
{
    (void)user_data, (void)seed, (void)key, (void)key_size;
    return 7;
}

/* By the first letter; capitals get slots that do not exist. */
static uint32_t slot_of_letter(void *user_data, const void *key, size_t key_size, uint64_t hash)
{
    unsigned char first = *(const unsigned char *)key;
    (void)key_size, (void)hash;
    count(&((service *)user_data)->calls);
    switch (first) {
    case 'A': return 16384;
    case 'B': return 65536;
    case 'C': return UINT32_MAX;
    case 'z': return 16383;
    default: return (uint32_t)(first & 127) * 100;
    }
}

static int32_t no_spaces(void *user_data, const void *key, size_t key_size, char *reason, size_t reason_size)
{
    count(&((service *)user_data)->calls);
    if (reason_size != ATOMKV_REASON_BYTES)
        return -1;
    if (memchr(key, ' ', key_size) != NULL) {
        snprintf(reason, reason_size, "a space at %d",
                 (int)((const char *)memchr(key, ' ', key_size) - (const char *)key));
        return 1;
    }
    if (memchr(key, '#', key_size) != NULL)
        return 42;
    if (memchr(key, '!', key_size) != NULL) {
        /* No NUL, and no UTF-8. */
        memset(reason, 0xff, reason_size);
        return 1;
    }
    if (memchr(key, '>', key_size) != NULL)
        memset(reason, 'x', reason_size + 1);
    return 0;
}

/* Runs of one byte: a count below 256 and the byte. */
static int32_t compress_runs(void *user_data, const void *value, size_t value_size, void *out, size_t out_capacity,
                             size_t *out_size)
{
    const unsigned char *from = (const unsigned char *)value;
    unsigned char *to = (unsigned char *)out;
    size_t at = 0, size = 0;
    service *state = (service *)user_data;
    int fault = now(&state->fault);
    count(&state->calls);
    if (*out_size != 0 || out_capacity < value_size)
        return -99;
    if (fault == FAULT_COMPRESS_FAILS)
        return 77;
    while (at < value_size) {
        size_t run = 1;
        while (at + run < value_size && run < 255 && from[at + run] == from[at])
            run++;
        if (size + 2 > out_capacity)
            return 0;
        to[size++] = (unsigned char)run;
        to[size++] = from[at];
        at += run;
    }
    *out_size = size;
    if (fault == FAULT_COMPRESS_CLAIMS_TOO_MUCH)
        *out_size = out_capacity + 1;
    if (fault == FAULT_COMPRESS_CLAIMS_MAXIMUM)
        *out_size = SIZE_MAX;
    if (fault == FAULT_COMPRESS_CLAIMS_LESS)
        *out_size = size - 2;
    if (fault == FAULT_COMPRESS_CLAIMS_MORE)
        *out_size = size + 2;
    if (fault == FAULT_COMPRESS_WRITES_BEHIND)
        to[out_capacity] = 0;
    if (fault == FAULT_COMPRESS_WRITES_BEFORE)
        to[-1] = 0;
    if (fault == FAULT_COMPRESS_LOSES_A_BYTE)
        to[1] = (unsigned char)(to[1] ^ 1);
    return 0;
}

static int32_t decompress_runs(void *user_data, const void *data, size_t data_size, void *out, size_t out_capacity,
                               size_t *out_size)
{
    const unsigned char *from = (const unsigned char *)data;
    unsigned char *to = (unsigned char *)out;
    size_t at, size = 0;
    service *state = (service *)user_data;
    int fault = now(&state->fault);
    count(&state->calls);
    if (fault == FAULT_DECOMPRESS_FAILS)
        return -5;
    for (at = 0; at + 1 < data_size; at += 2) {
        if (size + from[at] > out_capacity)
            return 6;
        memset(to + size, from[at + 1], from[at]);
        size += from[at];
    }
    *out_size = size;
    if (fault == FAULT_DECOMPRESS_GIVES_LESS)
        *out_size = size - 1;
    if (fault == FAULT_DECOMPRESS_GIVES_MORE)
        *out_size = size + 1;
    if (fault == FAULT_DECOMPRESS_GIVES_NOTHING)
        *out_size = 0;
    if (fault == FAULT_DECOMPRESS_WRITES_BEHIND)
        to[out_capacity] = 1;
    return 0;
}

static atomkv_db *open_db(const char *name)
{
    char path[4096];
    atomkv_db *db = NULL;
    atomkv_options *options = atomkv_options_new();
    path_of(path, sizeof path, directory, name);
    CHECK(atomkv_options_set_segment_bytes(options, 65536, 262144) == ATOMKV_OK);
    REQUIRE(atomkv_open(path, options, &db, NULL) == ATOMKV_OK);
    atomkv_options_free(options);
    return db;
}

static int status_of_opening(atomkv_db *db, const char *name, const atomkv_table_options *options, atomkv_table **table)
{
    return atomkv_table_open(db, name, options, table, NULL);
}

static int put(atomkv_table *table, const char *key, const void *value, size_t size)
{
    return atomkv_put(table, key, strlen(key), value, size, NULL);
}

static int holds(atomkv_table *table, const char *key, const void *value, size_t size)
{
    atomkv_buffer found;
    int same = atomkv_get_owned(table, key, strlen(key), &found) == ATOMKV_OK && found.size == size &&
               memcmp(found.data, value, size) == 0;
    atomkv_free(found.data);
    return same;
}

static int says(const char *part)
{
    return strstr(atomkv_last_error(), part) != NULL;
}

static int set_runs(atomkv_table_options *options, service *state)
{
    return atomkv_table_options_set_compressor(options, "runs", 1, compress_runs, decompress_runs, state, destroy);
}

static void test_arguments(void)
{
    service state = {0, 0, 0};
    char longest[257];
    atomkv_table_options *options = atomkv_table_options_new();
    atomkv_options *wrong = atomkv_options_new();
    int expected = 0;

    /* Each call that fails destroys once, each that succeeds when the next replaces it. */
#define REFUSED(call)                                                                                          \
    do {                                                                                                       \
        CHECK((call) == ATOMKV_ERR_INVALID_ARGUMENT);                                                          \
        CHECK(now(&state.destroyed) == ++expected);                                                    \
    } while (0)

    REFUSED(atomkv_table_options_set_hasher(NULL, "h", 1, hash_fnv, &state, destroy));
    REFUSED(atomkv_table_options_set_hasher(options, NULL, 1, hash_fnv, &state, destroy));
    REFUSED(atomkv_table_options_set_hasher(options, "h", 1, NULL, &state, destroy));
    REFUSED(atomkv_table_options_set_hasher(options, "", 1, hash_fnv, &state, destroy));
    REFUSED(atomkv_table_options_set_hasher(options, "\xff\xfe", 1, hash_fnv, &state, destroy));
    REFUSED(atomkv_table_options_set_hasher(options, "rapidhash-v3", 2, hash_fnv, &state, destroy));
    REFUSED(atomkv_table_options_set_hasher((atomkv_table_options *)(void *)wrong, "h", 1, hash_fnv, &state, destroy));
    REFUSED(atomkv_table_options_set_sharder(options, "s", 1, NULL, &state, destroy));
    REFUSED(atomkv_table_options_set_sharder(options, "redis-slots", 1, slot_of_letter, &state, destroy));
    REFUSED(atomkv_table_options_set_validator(options, "v", 1, NULL, &state, destroy));
    REFUSED(atomkv_table_options_set_validator(options, "any-bytes", 1, no_spaces, &state, destroy));
    REFUSED(atomkv_table_options_set_compressor(options, "c", 1, NULL, decompress_runs, &state, destroy));
    REFUSED(atomkv_table_options_set_compressor(options, "c", 1, compress_runs, NULL, &state, destroy));
    REFUSED(atomkv_table_options_set_compressor(options, "lz4", 9, compress_runs, decompress_runs, &state, destroy));
    CHECK(says("lz4") && says("atomkv_table_options_set_service"));
    memset(longest, 'n', 256);
    longest[256] = '\0';
    REFUSED(atomkv_table_options_set_validator(options, longest, 1, no_spaces, &state, destroy));
    longest[255] = '\0';
    CHECK(atomkv_table_options_set_validator(options, longest, 1, no_spaces, &state, destroy) == ATOMKV_OK);
    CHECK(now(&state.destroyed) == expected);
    CHECK(atomkv_table_options_set_validator(options, "v", UINT32_MAX, no_spaces, &state, destroy) == ATOMKV_OK);
    CHECK(now(&state.destroyed) == ++expected);
    CHECK(atomkv_table_options_set_service(options, "validator", "any-bytes") == ATOMKV_OK);
    CHECK(now(&state.destroyed) == ++expected);

    CHECK(atomkv_table_options_set_compressor_check(NULL, 0) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_compressor_check(options, 0) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(set_runs(options, &state) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_compressor_check(options, 0) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_compressor_check(options, 1) == ATOMKV_OK);
    CHECK(now(&state.destroyed) == expected);
    CHECK(atomkv_table_options_set_service(options, "compressor", "none") == ATOMKV_OK);
    CHECK(now(&state.destroyed) == ++expected);
    CHECK(atomkv_table_options_set_compressor_check(options, 0) == ATOMKV_ERR_INVALID_ARGUMENT);

    CHECK(atomkv_table_options_set_serializer_identity(NULL, "s", 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_serializer_identity(options, NULL, 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_serializer_identity(options, "json", 2) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_table_options_set_serializer_identity(options, "cbor", 1) == ATOMKV_OK);

    /* All at once, freed without a table. No destroy and no data are allowed. */
    CHECK(atomkv_table_options_set_hasher(options, "h", 1, hash_fnv, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_sharder(options, "s", 1, slot_of_letter, &state, destroy) == ATOMKV_OK);
    CHECK(set_runs(options, &state) == ATOMKV_OK);
    atomkv_table_options_free(options);
    CHECK(now(&state.destroyed) == expected + 2);
    CHECK(now(&state.calls) == 0);
    atomkv_options_free(wrong);
#undef REFUSED
}

static atomkv_table_options *all_services(service states[4])
{
    atomkv_table_options *options = atomkv_table_options_new();
    CHECK(atomkv_table_options_set_hasher(options, "fnv", 1, hash_fnv, &states[0], destroy) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_sharder(options, "letters", 2, slot_of_letter, &states[1], destroy) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_validator(options, "no-spaces", 3, no_spaces, &states[2], destroy) == ATOMKV_OK);
    CHECK(set_runs(options, &states[3]) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_serializer_identity(options, "cbor", 5) == ATOMKV_OK);
    CHECK(atomkv_table_options_set_partitions(options, 64) == ATOMKV_OK);
    return options;
}

enum { KEYS = 3000, VALUE_BYTES = 400 };

static void key_and_value(int number, char key[32], unsigned char value[VALUE_BYTES], int generation)
{
    int at;
    snprintf(key, 32, "%c%d", 'a' + number % 26, number);
    for (at = 0; at < VALUE_BYTES; at++)
        value[at] = (unsigned char)(number % 3 == 0 ? at * 7 + number : number + generation);
}

static int count_right(atomkv_table *table, int generation)
{
    char key[32];
    unsigned char value[VALUE_BYTES];
    int number, right = 0;
    for (number = 0; number < KEYS; number++) {
        key_and_value(number, key, value, number % 2 == 0 ? generation : 0);
        right += holds(table, key, value, VALUE_BYTES);
    }
    return right;
}

/* Removes the images of the index; how many there were. */
static int remove_checkpoints(const char *path)
{
    DIR *files = opendir(path);
    struct dirent *file;
    char name[8192];
    int removed = 0;
    REQUIRE(files != NULL);
    while ((file = readdir(files)) != NULL) {
        if (strncmp(file->d_name, "checkpoint", 10) == 0) {
            path_of(name, sizeof name, path, file->d_name);
            removed += unlink(name) == 0;
        }
    }
    closedir(files);
    return removed;
}

static void test_life(void)
{
    service states[4] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    service others[4] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    atomkv_db *db = open_db("life");
    atomkv_table_options *options = all_services(states);
    atomkv_table *table = NULL, *second = NULL;
    atomkv_error *error = NULL;
    char key[32], path[4096];
    unsigned char value[VALUE_BYTES];
    uint32_t slot = 0;
    uint64_t keys = 0;
    int number, before;

    REQUIRE(status_of_opening(db, "t", options, &table) == ATOMKV_OK);
    for (number = 0; number < KEYS; number++) {
        key_and_value(number, key, value, 0);
        CHECK(put(table, key, value, VALUE_BYTES) == ATOMKV_OK);
    }
    for (number = 0; number < KEYS; number += 2) {
        key_and_value(number, key, value, 1);
        CHECK(put(table, key, value, VALUE_BYTES) == ATOMKV_OK);
    }
    CHECK(atomkv_slot(table, "z1", 2, &slot, NULL) == ATOMKV_OK && slot == 16383);
    CHECK(atomkv_slot(table, "a1", 2, &slot, NULL) == ATOMKV_OK && slot == 9700);
    CHECK(count_right(table, 1) == KEYS);
    for (number = 0; number < 4; number++)
        CHECK(now(&states[number].calls) > 0);

    /* Compaction asks none of them. */
    before = now(&states[0].calls) + now(&states[1].calls) + now(&states[2].calls) +
             now(&states[3].calls);
    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_checkpoint(db) == ATOMKV_OK);
    CHECK(before == now(&states[0].calls) + now(&states[1].calls) + now(&states[2].calls) +
                        now(&states[3].calls));
    CHECK(count_right(table, 1) == KEYS);
    /* Behind the checkpoint, for the replay. */
    key_and_value(1, key, value, 0);
    CHECK(put(table, key, value, VALUE_BYTES) == ATOMKV_OK);

    /* The options may go first; the table keeps the services, and a second table too. */
    REQUIRE(status_of_opening(db, "t", options, &second) == ATOMKV_OK);
    atomkv_table_options_free(options);
    for (number = 0; number < 4; number++)
        CHECK(now(&states[number].destroyed) == 0);
    atomkv_table_free(table);
    CHECK(count_right(second, 1) == KEYS);
    CHECK(now(&states[3].destroyed) == 0);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    CHECK(put(second, "a", "v", 1) == ATOMKV_ERR_CLOSED);
    atomkv_table_free(second);
    atomkv_db_free(db);
    for (number = 0; number < 4; number++)
        CHECK(now(&states[number].destroyed) == 1);

    /* Without its checkpoints the index is made anew, which asks none of them either. */
    path_of(path, sizeof path, directory, "life");
    CHECK(remove_checkpoints(path) > 0);
    db = open_db("life");
    CHECK(atomkv_stat(db, "rebuilt_index", &keys) == ATOMKV_OK && keys == 1);
    options = all_services(others);
    CHECK(status_of_opening(db, "t", NULL, &table) == ATOMKV_ERR_SERVICES_MISMATCH && table == NULL);
    CHECK(atomkv_table_open(db, "t", NULL, &table, &error) == ATOMKV_ERR_SERVICES_MISMATCH);
    CHECK(strcmp(atomkv_error_table(error), "t") == 0);
    CHECK(strstr(atomkv_error_message(error), "fnv/1") != NULL);
    atomkv_error_free(error);
#define MISMATCH(call)                                                                                         \
    do {                                                                                                       \
        CHECK((call) == ATOMKV_OK);                                                                            \
        CHECK(status_of_opening(db, "t", options, &table) == ATOMKV_ERR_SERVICES_MISMATCH && table == NULL);   \
        atomkv_table_options_free(options);                                                                    \
        options = all_services(others);                                                                        \
    } while (0)
    MISMATCH(atomkv_table_options_set_hasher(options, "fnv", 2, hash_fnv, &others[0], destroy));
    MISMATCH(atomkv_table_options_set_hasher(options, "fnv2", 1, hash_fnv, &others[0], destroy));
    MISMATCH(atomkv_table_options_set_sharder(options, "letters", 1, slot_of_letter, &others[1], destroy));
    MISMATCH(atomkv_table_options_set_validator(options, "spaces", 3, no_spaces, &others[2], destroy));
    MISMATCH(atomkv_table_options_set_compressor(options, "runs", 3, compress_runs, decompress_runs, &others[3], destroy));
    MISMATCH(atomkv_table_options_set_service(options, "compressor", "lz4"));
    MISMATCH(atomkv_table_options_set_serializer_identity(options, "cbor", 6));
    MISMATCH(atomkv_table_options_set_service(options, "serializer", "json"));
#undef MISMATCH
    REQUIRE(status_of_opening(db, "t", options, &table) == ATOMKV_OK);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == KEYS);
    CHECK(count_right(table, 1) == KEYS);
    CHECK(now(&others[0].destroyed) == 10 && now(&others[1].destroyed) == 9);
    atomkv_table_options_free(options);
    atomkv_db_free(db);
    /* The table holds its database and its services to the last. */
    CHECK(count_right(table, 1) == KEYS);
    CHECK(now(&others[0].destroyed) == 10);
    atomkv_table_free(table);
    CHECK(now(&others[0].destroyed) == 11);
}

static void test_keys(void)
{
    service states[4] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    atomkv_db *db = open_db("keys");
    atomkv_table_options *options = all_services(states);
    atomkv_table *table = NULL;
    atomkv_batch *batch = atomkv_batch_new();
    char buffer[8];
    size_t size;
    uint64_t keys = 9;
    int letter;

    REQUIRE(status_of_opening(db, "t", options, &table) == ATOMKV_OK);
    CHECK(put(table, "good", "v", 1) == ATOMKV_OK);
    for (letter = 'A'; letter <= 'C'; letter++) {
        char key[2] = {(char)letter, 0};
        CHECK(put(table, key, "v", 1) == ATOMKV_ERR_INVALID_KEY);
        CHECK(says("letters/2") && says(letter == 'A' ? "16384" : "65535"));
        CHECK(atomkv_get(table, key, 1, buffer, sizeof buffer, &size) == ATOMKV_ERR_INVALID_KEY);
        CHECK(atomkv_delete(table, key, 1, NULL) == ATOMKV_ERR_INVALID_KEY);
        CHECK(atomkv_contains(table, key, 1) == ATOMKV_ERR_INVALID_KEY);
        CHECK(atomkv_slot(table, key, 1, NULL, NULL) == ATOMKV_ERR_INVALID_KEY);
    }
    CHECK(put(table, "a b", "v", 1) == ATOMKV_ERR_INVALID_KEY && says("a space at 1"));
    CHECK(put(table, "a#b", "v", 1) == ATOMKV_ERR_INVALID_KEY && says("no-spaces/3") && says("42"));
    CHECK(put(table, "a!b", "v", 1) == ATOMKV_ERR_INVALID_KEY);
    CHECK(put(table, "a>b", "v", 1) == ATOMKV_ERR_INVALID_KEY && says("past the end"));
    CHECK(atomkv_get(table, "a b", 3, buffer, sizeof buffer, &size) == ATOMKV_ERR_INVALID_KEY);

    /* One bad key, and nothing of the batch happens. */
    CHECK(atomkv_batch_put(batch, table, "fine", 4, "v", 1) == ATOMKV_OK);
    CHECK(atomkv_batch_put(batch, table, "A", 1, "v", 1) == ATOMKV_OK);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_ERR_INVALID_KEY);
    CHECK(atomkv_contains(table, "fine", 4) == ATOMKV_NOT_FOUND);
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 1);
    atomkv_batch_free(batch);
    atomkv_table_options_free(options);
    atomkv_table_free(table);

    /* A hasher that is of no use is slow, and loses nothing. */
    options = atomkv_table_options_new();
    CHECK(atomkv_table_options_set_hasher(options, "nothing", 1, hash_nothing, NULL, NULL) == ATOMKV_OK);
    REQUIRE(status_of_opening(db, "collisions", options, &table) == ATOMKV_OK);
    for (letter = 0; letter < 200; letter++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", letter);
        CHECK(put(table, key, key, strlen(key)) == ATOMKV_OK);
    }
    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(holds(table, "key0", "key0", 4) && holds(table, "key199", "key199", 6));
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 200);
    atomkv_table_options_free(options);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

static void test_compressor(void)
{
    static const struct {
        int fault;
        const char *message;
    } writes[] = {
        {FAULT_COMPRESS_FAILS, "failed with 77"},
        {FAULT_COMPRESS_CLAIMS_TOO_MUCH, "claims"},
        {FAULT_COMPRESS_CLAIMS_MAXIMUM, "claims"},
        {FAULT_COMPRESS_CLAIMS_LESS, "gave 965 bytes back of a value of 1000"},
        /* It comes from zeros: the right size, for the run is one of none. */
        {FAULT_COMPRESS_WRITES_BEHIND, "outside of its buffer"},
        {FAULT_COMPRESS_WRITES_BEFORE, "outside of its buffer"},
        {FAULT_COMPRESS_LOSES_A_BYTE, "does not give the value back"},
        {FAULT_DECOMPRESS_FAILS, "failed with -5"},
        {FAULT_DECOMPRESS_GIVES_LESS, "gave 999 bytes"},
        {FAULT_DECOMPRESS_GIVES_MORE, "claims 1001"},
        {FAULT_DECOMPRESS_GIVES_NOTHING, "gave 0 bytes"},
        {FAULT_DECOMPRESS_WRITES_BEHIND, "outside of its buffer"},
    };
    service state = {0, 0, 0};
    atomkv_db *db = open_db("compressor");
    atomkv_table_options *options = atomkv_table_options_new();
    atomkv_table *table = NULL, *unchecked = NULL;
    atomkv_batch *batch = atomkv_batch_new();
    atomkv_view *view = NULL;
    atomkv_slice slice;
    char value[1000], noise[1000];
    char *large = (char *)malloc(3000000);
    size_t at;
    uint64_t keys;
    int calls;

    memset(value, 'v', 200);
    memset(value + 200, 'w', 800);
    for (at = 0; at < sizeof noise; at++)
        noise[at] = (char)(at * 37);
    REQUIRE(large != NULL);
    memset(large, 'l', 3000000);
    CHECK(set_runs(options, &state) == ATOMKV_OK);
    REQUIRE(status_of_opening(db, "t", options, &table) == ATOMKV_OK);
    CHECK(put(table, "key", value, sizeof value) == ATOMKV_OK);
    CHECK(now(&state.calls) == 2);
    CHECK(holds(table, "key", value, sizeof value));
    CHECK(now(&state.calls) == 3);
    /* What does not become shorter is stored as it is, and what is tiny is not even tried. */
    CHECK(put(table, "noise", noise, sizeof noise) == ATOMKV_OK);
    calls = now(&state.calls);
    CHECK(calls == 4);
    CHECK(holds(table, "noise", noise, sizeof noise));
    CHECK(put(table, "tiny", "aaaaa", 5) == ATOMKV_OK && put(table, "empty", NULL, 0) == ATOMKV_OK);
    CHECK(holds(table, "tiny", "aaaaa", 5) && holds(table, "empty", "", 0));
    CHECK(now(&state.calls) == calls);
    /* 6 bytes are the least; 2 and the length are not shorter than 6. */
    CHECK(put(table, "six", "aaaaaa", 6) == ATOMKV_OK && holds(table, "six", "aaaaaa", 6));
    CHECK(put(table, "large", large, 3000000) == ATOMKV_OK && holds(table, "large", large, 3000000));
    CHECK(atomkv_get_view(table, "key", 3, &view, &slice) == ATOMKV_OK);
    CHECK(slice.size == sizeof value && memcmp(slice.data, value, sizeof value) == 0);
    atomkv_view_release(view);

    for (at = 0; at < sizeof writes / sizeof *writes; at++) {
        state.fault = writes[at].fault;
        CHECK(put(table, "key", value, sizeof value) == ATOMKV_ERR_DOCUMENT);
        CHECK(says("runs/1") && says(writes[at].message));
        CHECK(put(table, "new", value, sizeof value) == ATOMKV_ERR_DOCUMENT);
        CHECK(atomkv_batch_clear(batch) == ATOMKV_OK);
        CHECK(atomkv_batch_put(batch, table, "six", 3, "other", 5) == ATOMKV_OK);
        CHECK(atomkv_batch_put(batch, table, "key", 3, value, sizeof value) == ATOMKV_OK);
        CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_TABLE, NULL, NULL) == ATOMKV_ERR_DOCUMENT);
        /* Reads fail where the reading half does. */
        if (writes[at].fault >= FAULT_DECOMPRESS_FAILS) {
            atomkv_buffer owned = {NULL, 5};
            CHECK(atomkv_get_owned(table, "key", 3, &owned) == ATOMKV_ERR_DOCUMENT);
            CHECK(owned.data == NULL && owned.size == 0 && says(writes[at].message));
            view = NULL;
            CHECK(atomkv_get_view(table, "key", 3, &view, &slice) == ATOMKV_ERR_DOCUMENT && view == NULL);
        } else {
            CHECK(holds(table, "key", value, sizeof value));
        }
        state.fault = FAULT_NONE;
        CHECK(holds(table, "key", value, sizeof value) && holds(table, "six", "aaaaaa", 6));
        CHECK(atomkv_contains(table, "new", 3) == ATOMKV_NOT_FOUND);
    }
    /* More than was written are zeros, runs of none: the value comes back. */
    state.fault = FAULT_COMPRESS_CLAIMS_MORE;
    CHECK(put(table, "more", value, sizeof value) == ATOMKV_OK && holds(table, "more", value, sizeof value));

    /* Unchecked: the write succeeds, and the reader is told that the value is none. */
    CHECK(atomkv_table_options_set_compressor_check(options, 0) == ATOMKV_OK);
    REQUIRE(status_of_opening(db, "t", options, &unchecked) == ATOMKV_OK);
    state.fault = FAULT_COMPRESS_CLAIMS_LESS;
    calls = now(&state.calls);
    CHECK(put(unchecked, "lost", value, sizeof value) == ATOMKV_OK);
    CHECK(now(&state.calls) == calls + 1);
    state.fault = FAULT_NONE;
    CHECK(!holds(unchecked, "lost", value, sizeof value) && says("gave 965 bytes"));
    /* The other table checks as before. */
    state.fault = FAULT_COMPRESS_LOSES_A_BYTE;
    CHECK(put(table, "lost", value, sizeof value) == ATOMKV_ERR_DOCUMENT);
    state.fault = FAULT_NONE;
    CHECK(put(table, "lost", value, sizeof value) == ATOMKV_OK && holds(table, "lost", value, sizeof value));

    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(holds(table, "key", value, sizeof value) && holds(table, "large", large, 3000000));
    CHECK(atomkv_table_len(table, &keys) == ATOMKV_OK && keys == 8);
    atomkv_batch_free(batch);
    atomkv_table_options_free(options);
    atomkv_table_free(table);
    CHECK(now(&state.destroyed) == 0);
    atomkv_table_free(unchecked);
    CHECK(now(&state.destroyed) == 1);
    atomkv_db_free(db);
    free(large);
}

typedef struct {
    atomkv_table *table;
    int first;
    int right;
} work;

static void *write_and_read(void *argument)
{
    work *mine = (work *)argument;
    char key[32];
    unsigned char value[VALUE_BYTES];
    int number;
    for (number = 0; number < 500; number++) {
        key_and_value(mine->first + number, key, value, 0);
        mine->right += put(mine->table, key, value, VALUE_BYTES) == ATOMKV_OK;
        mine->right += holds(mine->table, key, value, VALUE_BYTES);
    }
    return NULL;
}

static void test_threads(void)
{
    service states[4] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}};
    atomkv_db *db = open_db("threads");
    atomkv_table_options *options = all_services(states);
    atomkv_table *table = NULL;
    pthread_t threads[4];
    work works[4];
    int at;

    REQUIRE(status_of_opening(db, "t", options, &table) == ATOMKV_OK);
    atomkv_table_options_free(options);
    for (at = 0; at < 4; at++) {
        works[at].table = table;
        works[at].first = at * 500;
        works[at].right = 0;
        REQUIRE(pthread_create(&threads[at], NULL, write_and_read, &works[at]) == 0);
    }
    for (at = 0; at < 3; at++)
        CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    for (at = 0; at < 4; at++) {
        CHECK(pthread_join(threads[at], NULL) == 0);
        CHECK(works[at].right == 1000);
    }
    atomkv_table_free(table);
    for (at = 0; at < 4; at++)
        CHECK(now(&states[at].destroyed) == 1);
    atomkv_db_free(db);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_services DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    test_arguments();
    test_life();
    test_keys();
    test_compressor();
    test_threads();
    return report("services in C");
}
