/* The log: to a callback and to be polled, from many threads, from within, in a forked child. usage: test_log DIRECTORY */

#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static const char *directory;

/* What a callback has received. Only its thread writes it, and the test reads it when the callback has ended. */
typedef struct {
    int lines;
    int opened;
    int closed;
    int rolls;
    int wrong;
    int highest;
    int destroyed;
    int dropped;
    /* What the callback does with AtomKV. */
    atomkv_table *table;
    int written;
    int replaces;
    int waits;
} listener;

static void destroy(void *user_data)
{
    ((listener *)user_data)->destroyed++;
}

static void note(listener *state, int level, const char *text, size_t size)
{
    state->lines++;
    if (strlen(text) != size || strchr(text, '\n') != NULL || size >= ATOMKV_LOG_LINE_BYTES)
        state->wrong++;
    if (level < ATOMKV_LOG_ERROR || level > ATOMKV_LOG_TRACE)
        state->wrong++;
    if (level > state->highest)
        state->highest = level;
    if (strncmp(text, "opened path=", 12) == 0)
        state->opened++;
    if (strncmp(text, "closed path=", 12) == 0)
        state->closed++;
    if (strncmp(text, "segment roll path=", 18) == 0)
        state->rolls++;
    if (strncmp(text, "log lines dropped count=", 24) == 0)
        state->dropped++;
}

static void listen(void *user_data, atomkv_log_level level, const char *text, size_t size)
{
    listener *state = (listener *)user_data;
    note(state, (int)level, text, size);
    /* With the database that reports, in the middle of whose work the event was made. */
    if (state->table != NULL && atomkv_put(state->table, "from within", 11, text, size, NULL) == ATOMKV_OK)
        state->written++;
    if (state->replaces) {
        state->replaces = 0;
        if (atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) != ATOMKV_OK || state->destroyed != 0)
            state->wrong++;
    }
    while (__atomic_load_n(&state->waits, __ATOMIC_SEQ_CST)) {
    }
}

static atomkv_db *open_db(const char *name)
{
    char path[4096];
    atomkv_db *db = NULL;
    atomkv_options *options = atomkv_options_new();
    path_of(path, sizeof path, directory, name);
    CHECK(atomkv_options_set_segment_bytes(options, 65536, 65536) == ATOMKV_OK);
    REQUIRE(atomkv_open(path, options, &db, NULL) == ATOMKV_OK);
    atomkv_options_free(options);
    return db;
}

static atomkv_table *open_table(atomkv_db *db)
{
    atomkv_table *table = NULL;
    REQUIRE(atomkv_table_open(db, "t", NULL, &table, NULL) == ATOMKV_OK);
    return table;
}

/* Enough for several segments. */
static void fill(atomkv_table *table)
{
    char value[1000], key[32];
    int number;
    memset(value, 'v', sizeof value);
    for (number = 0; number < 500; number++) {
        snprintf(key, sizeof key, "%d", number);
        CHECK(atomkv_put(table, key, strlen(key), value, sizeof value, NULL) == ATOMKV_OK);
    }
}

static void test_arguments(void)
{
    listener state = {0};
    char text[ATOMKV_LOG_LINE_BYTES];
    size_t size = 9;
    atomkv_log_level level = ATOMKV_LOG_TRACE;

    /* Nothing is collected before somebody asks. */
    CHECK(atomkv_log_next(text, sizeof text, &size, &level, UINT64_MAX) == ATOMKV_DONE);
    CHECK(size == 0 && level == ATOMKV_LOG_OFF);
    CHECK(atomkv_log_next(text, sizeof text, NULL, &level, 0) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_log_next(NULL, 1, &size, &level, 0) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_log_collect(-1, 10) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_log_collect(6, 10) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, SIZE_MAX) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, ((size_t)1 << 20) + 1) == ATOMKV_ERR_INVALID_ARGUMENT);
    CHECK(atomkv_log_set(6, listen, &state, destroy) == ATOMKV_ERR_INVALID_ARGUMENT && state.destroyed == 1);
    CHECK(atomkv_log_set(-1, NULL, &state, destroy) == ATOMKV_ERR_INVALID_ARGUMENT && state.destroyed == 2);
    /* To end what has not begun. */
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_log_set(ATOMKV_LOG_INFO, NULL, &state, destroy) == ATOMKV_OK && state.destroyed == 3);
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, listen, &state, destroy) == ATOMKV_OK && state.destroyed == 4);
    CHECK(atomkv_log_collect(ATOMKV_LOG_OFF, 10) == ATOMKV_OK && atomkv_log_collect(ATOMKV_LOG_INFO, 0) == ATOMKV_OK);
    CHECK(atomkv_log_set(ATOMKV_LOG_INFO, listen, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(state.lines == 0);
}

static void test_callback(void)
{
    listener first = {0}, second = {0}, third = {0};
    atomkv_db *db;
    atomkv_table *table;

    CHECK(atomkv_log_set(ATOMKV_LOG_INFO, listen, &first, destroy) == ATOMKV_OK);
    db = open_db("callback one");
    table = open_table(db);
    fill(table);
    /* The next gets what happens from now on, the first everything before. */
    CHECK(atomkv_log_set(ATOMKV_LOG_DEBUG, listen, &second, destroy) == ATOMKV_OK);
    CHECK(first.destroyed == 1 && first.opened == 1 && first.rolls == 0 && first.wrong == 0);
    CHECK(first.highest == ATOMKV_LOG_INFO);
    fill(table);
    atomkv_table_free(table);
    CHECK(atomkv_close(db, NULL) == ATOMKV_OK);
    atomkv_db_free(db);
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(second.destroyed == 1 && second.opened == 0 && second.closed == 1 && second.rolls > 0);
    CHECK(second.highest == ATOMKV_LOG_DEBUG && second.wrong == 0);
    CHECK(first.lines > 0 && first.closed == 0 && first.destroyed == 1);

    /* Errors alone: none happens. */
    CHECK(atomkv_log_set(ATOMKV_LOG_ERROR, listen, &third, destroy) == ATOMKV_OK);
    atomkv_db_free(open_db("callback one"));
    CHECK(atomkv_log_set(ATOMKV_LOG_INFO, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(third.lines == 0 && third.destroyed == 1);
    atomkv_db_free(open_db("callback one"));
    CHECK(third.lines == 0 && second.closed == 1);
}

static void test_from_within(void)
{
    listener state = {0}, other = {0};
    atomkv_db *db = open_db("within");
    atomkv_table *table = open_table(db);

    /* Rolls are reported under the locks of the log that a put needs. */
    state.table = table;
    CHECK(atomkv_log_set(ATOMKV_LOG_TRACE, listen, &state, destroy) == ATOMKV_OK);
    fill(table);
    CHECK(atomkv_compact(db, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(state.rolls > 0 && state.written == state.lines && state.destroyed == 1 && state.wrong == 0);
    CHECK(atomkv_contains(table, "from within", 11) == ATOMKV_OK);

    /* A callback that ends itself: freed after it has returned. */
    other.replaces = 1;
    CHECK(atomkv_log_set(ATOMKV_LOG_TRACE, listen, &other, destroy) == ATOMKV_OK);
    CHECK(atomkv_checkpoint(db) == ATOMKV_OK);
    while (!__atomic_load_n(&other.destroyed, __ATOMIC_SEQ_CST))
        poll(NULL, 0, 1);
    CHECK(other.lines >= 1 && other.wrong == 0 && other.destroyed == 1);
    atomkv_table_free(table);
    atomkv_db_free(db);
}

static void test_slow_callback(void)
{
    listener state = {0};
    int number;

    state.waits = 1;
    CHECK(atomkv_log_set(ATOMKV_LOG_INFO, listen, &state, destroy) == ATOMKV_OK);
    /* An opening and a closing each: nobody waits for the callback. */
    for (number = 0; number < 700; number++) {
        atomkv_db_free(open_db("slow"));
    }
    __atomic_store_n(&state.waits, 0, __ATOMIC_SEQ_CST);
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(state.dropped == 1 && state.destroyed == 1);
    /* The one that it was busy with, those that waited, and the line about the others. */
    CHECK(state.lines == 1 + 1024 + 1 && state.wrong == 0);
}

static void test_polling(void)
{
    char text[ATOMKV_LOG_LINE_BYTES], small[8];
    size_t size = 0, again = 0;
    atomkv_log_level level = ATOMKV_LOG_OFF;
    int rolls = 0, closed = 0, status;
    atomkv_db *db;
    atomkv_table *table;

    CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, 100) == ATOMKV_OK);
    CHECK(atomkv_log_next(text, sizeof text, &size, &level, 0) == ATOMKV_TIMEOUT && size == 0);
    CHECK(atomkv_log_next(text, sizeof text, &size, &level, 20) == ATOMKV_TIMEOUT && level == ATOMKV_LOG_OFF);
    db = open_db("poll");
    table = open_table(db);
    /* The size first; the line stays until it is taken. */
    CHECK(atomkv_log_next(NULL, 0, &size, NULL, 0) == ATOMKV_ERR_BUFFER_TOO_SMALL && size > 12);
    memset(small, '-', sizeof small);
    CHECK(atomkv_log_next(small, sizeof small, &again, &level, 0) == ATOMKV_ERR_BUFFER_TOO_SMALL && again == size);
    CHECK(small[0] == '-' && small[7] == '-');
    /* Without room for the NUL. */
    CHECK(atomkv_log_next(text, size, &again, &level, 0) == ATOMKV_ERR_BUFFER_TOO_SMALL);
    CHECK(atomkv_log_next(text, size + 1, &again, &level, 0) == ATOMKV_OK && again == size);
    CHECK(strlen(text) == size && strncmp(text, "opened path=", 12) == 0 && level == ATOMKV_LOG_INFO);
    CHECK(strstr(text, "/poll") != NULL && strstr(text, " replayed_records=0") != NULL);
    CHECK(strstr(text, " rebuilt_index=false") != NULL);

    /* The oldest go, and that is told first. */
    CHECK(atomkv_log_collect(ATOMKV_LOG_DEBUG, 2) == ATOMKV_OK);
    fill(table);
    CHECK(atomkv_log_next(text, sizeof text, &size, &level, 0) == ATOMKV_OK && level == ATOMKV_LOG_WARN);
    CHECK(strncmp(text, "log lines dropped count=", 24) == 0 && atoi(text + 24) > 0);
    while ((status = atomkv_log_next(text, sizeof text, &size, &level, 0)) == ATOMKV_OK)
        rolls += strncmp(text, "segment roll ", 13) == 0;
    CHECK(status == ATOMKV_TIMEOUT && rolls >= 1);

    /* Fewer places than lines. */
    CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, 50) == ATOMKV_OK);
    CHECK(atomkv_checkpoint(db) == ATOMKV_OK);
    atomkv_table_free(table);
    atomkv_db_free(db);
    CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, 1) == ATOMKV_OK);
    /* Ended: what waits may be taken, then it is done. */
    CHECK(atomkv_log_collect(ATOMKV_LOG_OFF, 0) == ATOMKV_OK);
    atomkv_db_free(open_db("poll"));
    while ((status = atomkv_log_next(text, sizeof text, &size, &level, UINT64_MAX)) == ATOMKV_OK)
        closed += strncmp(text, "closed ", 7) == 0;
    CHECK(status == ATOMKV_DONE && closed == 1);
}

typedef struct {
    int taken;
    int status;
} taker;

static void *take(void *argument)
{
    taker *mine = (taker *)argument;
    char text[ATOMKV_LOG_LINE_BYTES];
    size_t size;
    while ((mine->status = atomkv_log_next(text, sizeof text, &size, NULL, UINT64_MAX)) == ATOMKV_OK)
        mine->taken += strncmp(text, "opened ", 7) == 0;
    return NULL;
}

static int replaces_stop;

static void *replace(void *argument)
{
    listener *states = (listener *)argument;
    int number;
    for (number = 0; number < 50; number++)
        if (atomkv_log_set(ATOMKV_LOG_DEBUG, listen, &states[number], destroy) != ATOMKV_OK)
            states[number].wrong++;
    __atomic_fetch_add(&replaces_stop, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void test_threads(void)
{
    static listener states[100];
    taker takers[3] = {{0, 0}, {0, 0}, {0, 0}};
    pthread_t threads[5];
    int at, opened = 0;

    CHECK(atomkv_log_collect(ATOMKV_LOG_DEBUG, 100000) == ATOMKV_OK);
    for (at = 0; at < 3; at++)
        REQUIRE(pthread_create(&threads[at], NULL, take, &takers[at]) == 0);
    for (at = 0; at < 2; at++)
        REQUIRE(pthread_create(&threads[3 + at], NULL, replace, &states[50 * at]) == 0);
    do {
        atomkv_db_free(open_db("threads"));
        opened++;
    } while (__atomic_load_n(&replaces_stop, __ATOMIC_SEQ_CST) < 2);
    CHECK(atomkv_log_collect(ATOMKV_LOG_OFF, 0) == ATOMKV_OK);
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    for (at = 0; at < 5; at++)
        CHECK(pthread_join(threads[at], NULL) == 0);
    for (at = 0; at < 3; at++) {
        CHECK(takers[at].status == ATOMKV_DONE);
        opened -= takers[at].taken;
    }
    CHECK(opened == 0);
    for (at = 0; at < 100; at++)
        CHECK(states[at].destroyed == 1 && states[at].wrong == 0);
}

static void test_fork(void)
{
    listener parent = {0}, child = {0};
    char text[ATOMKV_LOG_LINE_BYTES];
    size_t size;
    int status = -1;
    pid_t process;

    CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, 10) == ATOMKV_OK);
    CHECK(atomkv_log_set(ATOMKV_LOG_INFO, listen, &parent, destroy) == ATOMKV_OK);
    process = fork();
    if (process == 0) {
        /* The parent's receivers are not the child's. */
        atomkv_db_free(open_db("child"));
        CHECK(parent.lines == 0);
        CHECK(atomkv_log_next(text, sizeof text, &size, NULL, UINT64_MAX) == ATOMKV_DONE);
        CHECK(atomkv_log_set(ATOMKV_LOG_INFO, listen, &child, destroy) == ATOMKV_OK);
        CHECK(atomkv_log_collect(ATOMKV_LOG_INFO, 10) == ATOMKV_OK);
        atomkv_db_free(open_db("child"));
        CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
        CHECK(child.opened == 1 && child.closed == 1 && child.destroyed == 1);
        CHECK(parent.lines == 0 && parent.destroyed == 0);
        CHECK(atomkv_log_next(text, sizeof text, &size, NULL, 0) == ATOMKV_OK);
        /* A checker of memory would count what the parent's other threads had. */
        if (!failed)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    REQUIRE(process > 0);
    CHECK(waitpid(process, &status, 0) == process && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    atomkv_db_free(open_db("parent"));
    CHECK(atomkv_log_set(ATOMKV_LOG_OFF, NULL, NULL, NULL) == ATOMKV_OK);
    CHECK(parent.opened == 1 && parent.closed == 1 && parent.destroyed == 1);
    CHECK(atomkv_log_next(text, sizeof text, &size, NULL, 0) == ATOMKV_OK && strstr(text, "/parent") != NULL);
    CHECK(atomkv_log_collect(ATOMKV_LOG_OFF, 0) == ATOMKV_OK);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: test_log DIRECTORY\n");
        return 2;
    }
    directory = argv[1];
    test_arguments();
    test_callback();
    test_from_within();
    test_slow_callback();
    test_polling();
    test_threads();
    test_fork();
    return report("log in C");
}
