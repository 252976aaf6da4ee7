/* AtomKV on real data: loads documents, reads them all back, is killed while it writes, and loses nothing that was
 * acknowledged.
 *
 * usage: demo DOCUMENTS DIRECTORY
 *
 * DOCUMENTS holds one JSON document a line, each beginning with {"code":"KEY". DIRECTORY is made, and may hold what
 * an earlier run of this program has left; that is removed first. POSIX; builds as C99.
 */

#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "atomkv.h"

enum { ROUNDS = 8, TABLE_NAME_BYTES = 32, VALUE_BYTES_MAX = 512, SYNC_EVERY = 64 };

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

/* Ends the program if a call failed, and says why. */
static void must(atomkv_status status, const char *what)
{
    if (status != ATOMKV_OK)
        die("%s: %s: %s", what, atomkv_status_name(status),
            status < 0 ? atomkv_last_error() : atomkv_status_text(status));
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t stat_of(atomkv_db *db, const char *name)
{
    uint64_t value;
    must(atomkv_stat(db, name, &value), name);
    return value;
}

static atomkv_db *open_db(const char *directory)
{
    atomkv_db *db;
    must(atomkv_open(directory, NULL, &db, NULL), "open");
    return db;
}

static atomkv_table *open_table(atomkv_db *db, const char *name)
{
    atomkv_table *table;
    must(atomkv_table_open(db, name, NULL, &table, NULL), name);
    return table;
}

/* The space that the files of a directory take. */
static double mebibytes_on_disk(const char *directory)
{
    char path[4096];
    struct dirent *entry;
    struct stat status;
    double bytes = 0;
    DIR *listing = opendir(directory);
    if (listing == NULL)
        die("%s: %s", directory, strerror(errno));
    while ((entry = readdir(listing)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
            bytes += (double)status.st_blocks * 512;
    }
    closedir(listing);
    return bytes / (1 << 20);
}

/* Removes a directory that holds a database, or does nothing if there is none. */
static void remove_database(const char *directory)
{
    char path[4096];
    struct dirent *entry;
    DIR *listing = opendir(directory);
    if (listing == NULL)
        return;
    snprintf(path, sizeof path, "%s/LOCK", directory);
    if (access(path, F_OK) != 0)
        die("%s is not a database; give a directory that this program may use", directory);
    while ((entry = readdir(listing)) != NULL) {
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path) != 0)
            die("cannot remove %s: %s", path, strerror(errno));
    }
    closedir(listing);
    if (rmdir(directory) != 0)
        die("cannot remove %s: %s", directory, strerror(errno));
}

/* The documents, one after another in memory. */
struct document {
    const char *key, *text;
    size_t key_size, text_size;
};

static struct document *read_documents(const char *path, size_t *count)
{
    static const char prefix[] = "{\"code\":\"";
    struct document *documents = NULL;
    size_t room = 0;
    struct stat status;
    char *text, *line, *end;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &status) != 0)
        die("cannot open %s: %s", path, strerror(errno));
    text = malloc((size_t)status.st_size + 1);
    if (text == NULL || fread(text, 1, (size_t)status.st_size, file) != (size_t)status.st_size)
        die("cannot read %s", path);
    fclose(file);
    text[status.st_size] = '\0';
    *count = 0;
    for (line = text; *line != '\0'; line = end + 1) {
        struct document *document;
        end = strchr(line, '\n');
        if (end == NULL || strncmp(line, prefix, sizeof prefix - 1) != 0)
            die("%s: line %lu is not a document", path, (unsigned long)*count + 1);
        if (*count == room) {
            room = room ? room * 2 : 1024;
            documents = realloc(documents, room * sizeof *documents);
            if (documents == NULL)
                die("there is not enough memory");
        }
        document = &documents[(*count)++];
        document->key = line + sizeof prefix - 1;
        document->key_size = strcspn(document->key, "\"");
        document->text = line;
        document->text_size = (size_t)(end - line);
    }
    return documents;
}

static void load_and_read(const char *directory, const struct document *documents, size_t count)
{
    double start, seconds, bytes = 0;
    size_t number, seen = 0;
    char buffer[65536];
    size_t size;
    atomkv_db *db = open_db(directory);
    atomkv_table *table = open_table(db, "unicode");
    atomkv_iter *iter;
    atomkv_slice key, value;
    atomkv_view *view;

    start = now();
    for (number = 0; number < count; number++) {
        const struct document *document = &documents[number];
        must(atomkv_put(table, document->key, document->key_size, document->text, document->text_size, NULL), "put");
        bytes += (double)document->text_size;
        if ((number + 1) % 10000 == 0 || number + 1 == count) {
            seconds = now() - start;
            printf("  loaded %6lu documents  %7.0f a second  %5.1f MB/s\n", (unsigned long)number + 1,
                   (double)(number + 1) / seconds, bytes / 1e6 / seconds);
        }
    }
    start = now();
    must(atomkv_sync(db), "sync");
    printf("  on stable storage after another %.1f ms\n", (now() - start) * 1e3);

    start = now();
    for (number = 0; number < count; number++) {
        const struct document *document = &documents[number];
        must(atomkv_get(table, document->key, document->key_size, buffer, sizeof buffer, &size), "get");
        if (size != document->text_size || memcmp(buffer, document->text, size) != 0)
            die("document %.*s came back changed", (int)document->key_size, document->key);
    }
    printf("  read back and compared %lu, %.0f a second\n", (unsigned long)count, (double)count / (now() - start));

    must(atomkv_iter_new(table, NULL, &iter), "iterate");
    while (atomkv_iter_next(iter, &key, &value, NULL) == ATOMKV_OK)
        seen++;
    atomkv_iter_free(iter);
    if (seen != count)
        die("iteration found %lu of %lu documents", (unsigned long)seen, (unsigned long)count);
    printf("  iterated over %lu\n", (unsigned long)seen);
    if (atomkv_get_view(table, "U+1F980", 7, &view, &value) == ATOMKV_OK) {
        printf("  U+1F980 = %.*s\n", (int)value.size, (const char *)value.data);
        atomkv_view_release(view);
    }
    must(atomkv_close(db, NULL), "close");
    atomkv_table_free(table);
    atomkv_db_free(db);
}

/* The value that belongs to a number: its length and every byte follow from it. */
static size_t value_of(uint64_t number, char *value)
{
    size_t size = (size_t)(number * 2654435761u % VALUE_BYTES_MAX), at;
    for (at = 0; at < size; at++)
        value[at] = (char)('a' + (number + at * at) % 26);
    return size;
}

static void table_of(int round, char *name)
{
    snprintf(name, TABLE_NAME_BYTES, "round-%d", round);
}

static size_t key_of(uint64_t number, char *key)
{
    return (size_t)sprintf(key, "%llu", (unsigned long long)number);
}

/* The child: writes 0, 1, 2… and tells of each only after AtomKV has acknowledged it. Never returns by itself. */
static void write_until_killed(const char *directory, int round, int out)
{
    char name[TABLE_NAME_BYTES], key[32], value[VALUE_BYTES_MAX];
    atomkv_db *db = open_db(directory);
    atomkv_table *table;
    atomkv_write_options *synced = atomkv_write_options_new();
    uint64_t number;
    must(atomkv_write_options_set_durability(synced, ATOMKV_DURABILITY_SYNC), "set the durability");
    table_of(round, name);
    table = open_table(db, name);
    for (number = 0;; number++) {
        atomkv_write_options *how = number % SYNC_EVERY ? NULL : synced;
        size_t key_size = key_of(number, key);
        must(atomkv_put_with(table, key, key_size, value, value_of(number, value), how, NULL), "put");
        if (write(out, &number, sizeof number) != (ssize_t)sizeof number)
            _exit(1);
    }
}

static void check_round(const char *directory, int round, uint64_t acknowledged)
{
    char name[TABLE_NAME_BYTES], key[32], value[VALUE_BYTES_MAX], expected[VALUE_BYTES_MAX];
    atomkv_db *db;
    atomkv_table *table;
    uint64_t number, keys;
    size_t size;
    double start = now(), opened;

    db = open_db(directory);
    opened = now() - start;
    table_of(round, name);
    table = open_table(db, name);
    for (number = 0; number < acknowledged; number++) {
        size_t expected_size = value_of(number, expected);
        size_t key_size = key_of(number, key);
        must(atomkv_get(table, key, key_size, value, sizeof value, &size), "an acknowledged write");
        if (size != expected_size || memcmp(value, expected, size) != 0)
            die("round %d: the value of %s came back changed", round, key);
    }
    must(atomkv_table_len(table, &keys), "count");
    /* One more may have been written and not yet told of. */
    if (keys < acknowledged || keys > acknowledged + 1)
        die("round %d: %llu keys after %llu acknowledged writes", round, (unsigned long long)keys,
            (unsigned long long)acknowledged);
    printf("  kill %d: %7llu acknowledged, all there; reopened in %.1f ms\n", round,
           (unsigned long long)acknowledged, opened * 1e3);
    must(atomkv_close(db, NULL), "close");
    atomkv_table_free(table);
    atomkv_db_free(db);
}

/* One round: a child writes, is killed at some moment, and all that it told of must be there. */
static uint64_t kill_round(const char *directory, int round)
{
    int ends[2], status;
    uint64_t number, acknowledged = 0;
    double deadline;
    pid_t child;
    if (pipe(ends) != 0)
        die("pipe: %s", strerror(errno));
    fflush(NULL);
    child = fork();
    if (child < 0)
        die("fork: %s", strerror(errno));
    if (child == 0) {
        close(ends[0]);
        write_until_killed(directory, round, ends[1]);
        _exit(1);
    }
    close(ends[1]);
    /* Another moment each round. */
    deadline = now() + 0.2 + 0.13 * round;
    while (now() < deadline && read(ends[0], &number, sizeof number) == (ssize_t)sizeof number)
        if (number != acknowledged++)
            die("the child told of %llu out of turn", (unsigned long long)number);
    if (kill(child, SIGKILL) != 0)
        die("kill: %s", strerror(errno));
    if (waitpid(child, &status, 0) != child)
        die("waitpid: %s", strerror(errno));
    /* What it had told before it died, and nobody had read yet. */
    while (read(ends[0], &number, sizeof number) == (ssize_t)sizeof number)
        if (number != acknowledged++)
            die("the child told of %llu out of turn", (unsigned long long)number);
    close(ends[0]);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("the writing child ended by itself: see above");
    if (acknowledged == 0)
        die("the child was killed before its first write");
    check_round(directory, round, acknowledged);
    return acknowledged;
}

static void settle_and_measure(const char *directory)
{
    double start;
    atomkv_db *db = open_db(directory);
    printf("  before compaction: %.1f MiB on disk\n", mebibytes_on_disk(directory));
    start = now();
    must(atomkv_compact(db, NULL, NULL, NULL), "compact");
    printf("  compacted in %.1f ms: %.1f MiB on disk, %.1f MiB of it documents\n", (now() - start) * 1e3,
           mebibytes_on_disk(directory), (double)stat_of(db, "live_bytes") / (1 << 20));
    printf("  the index takes %.1f bytes of memory a key\n",
           (double)stat_of(db, "index_bytes") / (double)stat_of(db, "keys"));
    must(atomkv_close(db, NULL), "close");
    atomkv_db_free(db);
    start = now();
    db = open_db(directory);
    printf("  %llu keys in %llu tables reopened in %.1f ms\n", (unsigned long long)stat_of(db, "keys"),
           (unsigned long long)stat_of(db, "tables"), (now() - start) * 1e3);
    must(atomkv_close(db, NULL), "close");
    atomkv_db_free(db);
}

int main(int count, char **arguments)
{
    size_t documents_count;
    struct document *documents;
    const char *directory;
    uint64_t acknowledged = 0;
    int round;

    if (count != 3)
        die("usage: %s DOCUMENTS DIRECTORY", arguments[0]);
    directory = arguments[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("AtomKV %s (ABI %u)\n", atomkv_version(), atomkv_abi_version());
    remove_database(directory);
    documents = read_documents(arguments[1], &documents_count);

    printf("\n%lu documents of the Unicode character database\n", (unsigned long)documents_count);
    load_and_read(directory, documents, documents_count);

    printf("\nA child writes; it is killed with SIGKILL; every write that was acknowledged must be there\n");
    for (round = 1; round <= ROUNDS; round++)
        acknowledged += kill_round(directory, round);
    printf("  %d kills, %llu acknowledged writes, none lost\n", ROUNDS, (unsigned long long)acknowledged);

    printf("\nSizes\n");
    settle_and_measure(directory);
    printf("\nAll is well.\n");
    free((void *)documents[0].text);
    free(documents);
    return 0;
}
