/* What the C and the C++ test share: checks that count, and a directory of their own. */

#ifndef ATOMKV_TEST_H
#define ATOMKV_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "atomkv.h"

/*
 * Whether a child may be forked while another thread allocates. Not under AddressSanitizer: a child inherits the locks of its
 * allocator as that thread held them, and waits for ever (mended in LLVM 17).
 */
#define FORKS_BESIDE_THREADS 1
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef FORKS_BESIDE_THREADS
#define FORKS_BESIDE_THREADS 0
#endif
#elif defined(__SANITIZE_ADDRESS__)
#undef FORKS_BESIDE_THREADS
#define FORKS_BESIDE_THREADS 0
#endif

static int passed, failed;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (condition) {                                                                       \
            passed++;                                                                          \
        } else {                                                                               \
            failed++;                                                                          \
            fprintf(stderr, "%s:%d: failed: %s (last error: %s)\n", __FILE__, __LINE__,        \
                    #condition, atomkv_last_error());                                          \
        }                                                                                      \
    } while (0)

/* A failure after which nothing else makes sense. */
#define REQUIRE(condition)                                                                     \
    do {                                                                                       \
        CHECK(condition);                                                                      \
        if (failed)                                                                            \
            exit(1);                                                                           \
    } while (0)

/* Where the test may write: its first argument. */
static void path_of(char *out, size_t size, const char *directory, const char *name)
{
    int length = snprintf(out, size, "%s/%s", directory, name);
    if (length < 0 || (size_t)length >= size) {
        fprintf(stderr, "the directory's name is too long\n");
        exit(2);
    }
}

static int report(const char *test)
{
    printf("%s: %d passed, %d failed\n", test, passed, failed);
    return failed ? 1 : 0;
}

#endif
