/* A tour of AtomKV in C99: put, get, scan, a transaction, an error. usage: tour DIRECTORY
 *
 * The idiom: every handle begins as NULL and is freed at one place, behind a label that both success and failure come
 * to. All free functions take NULL, so nothing has to be known there of how far the program came.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomkv.h"

/* Ends the program if a call failed. Good for calls of which no failure is expected; deposit() shows the other way. */
static void must(atomkv_status status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, atomkv_status_name(status), atomkv_last_error());
        exit(1);
    }
}

static void put(atomkv_table *table, const char *key, const char *value)
{
    must(atomkv_put(table, key, strlen(key), value, strlen(value), NULL), "put");
}

/* First way to read: into a buffer of ours, whose size is known to be enough or found out by a first call. */
static void get_into_buffer(const atomkv_table *table, const char *key)
{
    char buffer[64];
    size_t size;
    must(atomkv_get(table, key, strlen(key), buffer, sizeof buffer, &size), "get");
    printf("get: %.*s (%zu bytes)\n", (int)size, buffer, size);
}

/* Second way: into memory that the library allocates and we give back with atomkv_free, never with free(). */
static void get_owned(const atomkv_table *table, const char *key, const char *label)
{
    atomkv_buffer value;
    must(atomkv_get_owned(table, key, strlen(key), &value), "get");
    printf("%s: %.*s\n", label, (int)value.size, (const char *)value.data);
    atomkv_free(value.data);
}

static void scan(const atomkv_table *table, const char *prefix)
{
    atomkv_scan_options *options = atomkv_scan_options_new();
    atomkv_iter *iter = NULL;
    atomkv_slice key, value;
    atomkv_status status;

    must(atomkv_scan_options_set_prefix(options, prefix, strlen(prefix)), "prefix");
    must(atomkv_iter_new(table, options, &iter), "scan");
    atomkv_scan_options_free(options);
    /* The bytes stay until the next call on the iterator; what is to live longer must be copied. */
    while ((status = atomkv_iter_next(iter, &key, &value, NULL)) == ATOMKV_OK)
        printf("scan: %.*s = %.*s\n", (int)key.size, (const char *)key.data, (int)value.size,
               (const char *)value.data);
    atomkv_iter_free(iter);
    /* The end is ATOMKV_DONE, which is positive; a negative status broke the scan off. */
    must(status, "scan");
}

/* Adds to a balance. What was read may have changed by the time of the commit; then all of it is done anew, from the
 * reading on. The first time somebody else gets in between, so that there is a conflict to be seen. */
static atomkv_status deposit(atomkv_db *db, atomkv_table *accounts, long amount)
{
    int attempt = 0;
    atomkv_status status;
    do {
        atomkv_txn *txn = NULL;
        atomkv_error *error = NULL;
        char text[32];
        size_t size = 0;

        attempt++;
        status = atomkv_txn_begin(db, &txn, NULL);
        if (status == ATOMKV_OK)
            status = atomkv_txn_get(txn, accounts, "balance", 7, text, sizeof text - 1, &size);
        if (status == ATOMKV_OK) {
            text[size] = '\0';
            sprintf(text, "%ld", strtol(text, NULL, 10) + amount);
            if (attempt == 1)
                put(accounts, "balance", "110");
            status = atomkv_txn_put(txn, accounts, "balance", 7, text, strlen(text), NULL);
        }
        if (status == ATOMKV_OK) {
            status = atomkv_txn_commit(txn, ATOMKV_DURABILITY_BUFFERED, NULL, &error);
            if (error != NULL && atomkv_error_table(error) != NULL)
                printf("attempt %d: %s in table %s\n", attempt, atomkv_status_name(status), atomkv_error_table(error));
            else
                printf("attempt %d: %s\n", attempt, atomkv_status_name(status));
        }
        atomkv_error_free(error);
        atomkv_txn_free(txn);
    } while (status == ATOMKV_ERR_CONFLICT);
    return status;
}

/* A directory is open once; a second opening tells who has it. The error object has all of it, and is ours to free. */
static void show_error(const char *directory)
{
    atomkv_db *second = NULL;
    atomkv_error *error = NULL;
    if (atomkv_open(directory, NULL, &second, &error) < 0) {
        printf("error: %s (%" PRId32 ")\n", atomkv_status_name(atomkv_error_status(error)),
               (int32_t)atomkv_error_status(error));
        printf("message: %s\n", atomkv_error_message(error));
        printf("path: %s\n", atomkv_error_path(error) != NULL ? atomkv_error_path(error) : "none");
    }
    atomkv_error_free(error);
    atomkv_db_free(second);
}

int main(int count, char **arguments)
{
    atomkv_db *db = NULL;
    atomkv_table *users = NULL, *accounts = NULL;
    atomkv_table_options *ordered = NULL;
    atomkv_error *error = NULL;
    atomkv_status status;

    if (count != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", arguments[0]);
        return 2;
    }
    printf("ABI: %" PRIu32 "\n", atomkv_abi_version());
    status = atomkv_open(arguments[1], NULL, &db, &error);
    if (status < 0)
        goto end;
    /* Only an ordered table is scanned in the order of its keys, and by a prefix without looking at all of them. */
    ordered = atomkv_table_options_new();
    status = atomkv_table_options_set_ordered(ordered, 1);
    if (status >= 0)
        status = atomkv_table_open(db, "users", ordered, &users, &error);
    if (status >= 0)
        status = atomkv_table_open(db, "accounts", NULL, &accounts, &error);
    if (status < 0)
        goto end;

    put(users, "user:alan", "logician");
    put(users, "user:ada", "countess");
    put(users, "user:grace", "admiral");
    put(users, "group:all", "3");
    get_into_buffer(users, "user:ada");
    get_owned(users, "user:alan", "owned");
    printf("missing: %s\n", atomkv_status_name(atomkv_contains(users, "user:nobody", 11)));
    scan(users, "user:");

    put(accounts, "balance", "100");
    status = deposit(db, accounts, 5);
    if (status < 0)
        goto end;
    get_owned(accounts, "balance", "balance");
    show_error(arguments[1]);
    /* Freeing closes too, but only closing can say that the last sync failed. */
    status = atomkv_close(db, &error);
    if (status >= 0)
        puts("closed");

end:
    if (status < 0)
        fprintf(stderr, "%s: %s\n", atomkv_status_name(status),
                error != NULL ? atomkv_error_message(error) : atomkv_last_error());
    atomkv_error_free(error);
    atomkv_table_options_free(ordered);
    /* In any order: a table keeps its database alive. */
    atomkv_table_free(accounts);
    atomkv_table_free(users);
    atomkv_db_free(db);
    return status < 0;
}
