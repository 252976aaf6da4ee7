/* Threads that share one database, its tables, a batch and an iterator, until one of them closes it under the others.
 * Small, for it is run under tools that slow a program down a hundredfold. usage: test_threads_shared DIRECTORY */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>

#include "test.h"

enum { THREADS = 4, ROUNDS = 200, KEYS = 16 };

static atomkv_db *db;
static atomkv_table *table;
static atomkv_iter *iter;
static atomkv_batch *batch;

/* What a thread found wrong; told by its return, since the counters of test.h belong to the main thread. */
struct worker {
    pthread_t thread;
    unsigned number;
    int wrong;
};

static void put_get_and_delete(struct worker *worker)
{
    unsigned round;
    for (round = 0; round < ROUNDS; round++) {
        char key[32], value[32], found[32];
        size_t size = 0;
        atomkv_written written;
        int status;
        size_t key_size = (size_t)snprintf(key, sizeof key, "%u/%u", worker->number, round % KEYS);
        size_t value_size = (size_t)snprintf(value, sizeof value, "value %u", round);
        worker->wrong += atomkv_put(table, key, key_size, value, value_size, &written) != ATOMKV_OK;
        status = atomkv_get(table, key, key_size, found, sizeof found, &size);
        worker->wrong += status != ATOMKV_OK || size != value_size || memcmp(found, value, size) != 0;
        if (round % 5 == 0)
            worker->wrong += atomkv_delete(table, key, key_size, NULL) != ATOMKV_OK;
        /* Another thread's key: there or not, never torn. */
        key[0] = (char)('0' + (worker->number + 1) % THREADS);
        status = atomkv_get(table, key, key_size, found, sizeof found, &size);
        worker->wrong += status != ATOMKV_NOT_FOUND && (status != ATOMKV_OK || memcmp(found, "value ", 6) != 0);
    }
}

static void share_a_batch(struct worker *worker)
{
    char key[32];
    unsigned round;
    for (round = 0; round < KEYS; round++) {
        size_t size = (size_t)snprintf(key, sizeof key, "batch/%u/%u", worker->number, round);
        worker->wrong += atomkv_batch_put(batch, table, key, size, "x", 1) != ATOMKV_OK;
    }
}

static void share_an_iterator(struct worker *worker)
{
    int status;
    while ((status = atomkv_iter_next(iter, NULL, NULL, NULL)) == ATOMKV_OK)
        ;
    worker->wrong += status != ATOMKV_DONE;
}

static void see_it_closed(struct worker *worker)
{
    int status;
    char found[64];
    size_t size;
    do {
        status = atomkv_get(table, "shared", 6, found, sizeof found, &size);
    } while (status == ATOMKV_OK);
    worker->wrong += status != ATOMKV_ERR_CLOSED || strlen(atomkv_last_error()) == 0;
}

static void *all_of_it(void *argument)
{
    struct worker *worker = argument;
    put_get_and_delete(worker);
    share_a_batch(worker);
    share_an_iterator(worker);
    return NULL;
}

static void *until_closed(void *argument)
{
    see_it_closed(argument);
    return NULL;
}

static void run(void *(*work)(void *), int close)
{
    struct worker workers[THREADS];
    unsigned number;
    for (number = 0; number < THREADS; number++) {
        workers[number].number = number;
        workers[number].wrong = 0;
        REQUIRE(pthread_create(&workers[number].thread, NULL, work, &workers[number]) == 0);
    }
    if (close)
        CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    for (number = 0; number < THREADS; number++) {
        REQUIRE(pthread_join(workers[number].thread, NULL) == 0);
        CHECK(workers[number].wrong == 0);
    }
}

int main(int count, char **arguments)
{
    char path[4096];
    size_t operations = 0;
    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    path_of(path, sizeof path, arguments[1], "threads");
    REQUIRE(atomkv_open(path, NULL, &db, NULL) == ATOMKV_OK);
    REQUIRE(atomkv_table_open(db, "t", NULL, &table, NULL) == ATOMKV_OK);
    REQUIRE(atomkv_put(table, "shared", 6, "x", 1, NULL) == ATOMKV_OK);
    REQUIRE(atomkv_iter_new(table, NULL, &iter) == ATOMKV_OK);
    batch = atomkv_batch_new();
    run(all_of_it, 0);
    CHECK(atomkv_batch_len(batch, &operations) == ATOMKV_OK && operations == THREADS * KEYS);
    CHECK(atomkv_apply(db, batch, ATOMKV_DURABILITY_BUFFERED, NULL, NULL) == ATOMKV_OK);
    run(until_closed, 1);
    atomkv_db_free(db);
    atomkv_iter_free(iter);
    atomkv_batch_free(batch);
    atomkv_table_free(table);
    return report("C, threads");
}
