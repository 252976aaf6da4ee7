/* The smallest use of AtomKV: open, put, get. usage: hello [DIRECTORY] */

#include <stdio.h>
#include <stdlib.h>

#include "atomkv.h"

/* Ends the program if a call failed, and says why. */
static void must(atomkv_status status)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", atomkv_status_name(status), atomkv_last_error());
        exit(1);
    }
}

int main(int count, char **arguments)
{
    atomkv_db *db;
    atomkv_table *users;
    atomkv_written written;
    atomkv_buffer value;
    atomkv_iter *iter;
    atomkv_slice key, found;

    must(atomkv_open(count > 1 ? arguments[1] : "hello-data", NULL, &db, NULL));
    must(atomkv_table_open(db, "users", NULL, &users, NULL));

    must(atomkv_put(users, "ada", 3, "{\"born\": 1815}", 14, &written));
    printf("ada is at version %llu\n", (unsigned long long)written.version);
    atomkv_write_options *synced = atomkv_write_options_new();
    must(atomkv_write_options_set_durability(synced, ATOMKV_DURABILITY_SYNC));
    must(atomkv_put_with(users, "alan", 4, "{\"born\": 1912}", 14, synced, NULL));
    atomkv_write_options_free(synced);

    must(atomkv_get_owned(users, "ada", 3, &value));
    printf("ada: %.*s\n", (int)value.size, (const char *)value.data);
    atomkv_free(value.data);
    if (atomkv_contains(users, "grace", 5) == ATOMKV_NOT_FOUND)
        printf("grace is not there\n");

    must(atomkv_iter_new(users, NULL, &iter));
    while (atomkv_iter_next(iter, &key, &found, NULL) == ATOMKV_OK)
        printf("%.*s = %.*s\n", (int)key.size, (const char *)key.data, (int)found.size,
               (const char *)found.data);
    atomkv_iter_free(iter);

    must(atomkv_close(db, NULL));
    atomkv_table_free(users);
    atomkv_db_free(db);
    return 0;
}
