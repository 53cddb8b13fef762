/* A few macros to write checks with.  A failed check is reported and counted, and the test
 * goes on: most tests here are loops over many values, and how many fail says a lot. */
#ifndef DPX_TEST_CHECK_H
#define DPX_TEST_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_SHOWN 20u

typedef struct check_state {
    const char *test;
    unsigned long checks;
    unsigned long failures;
    unsigned skipped;
} check_state;

static check_state check_now;

static inline bool check_report(bool good, const char *file, int line, const char *what)
{
    check_now.checks++;
    if (!good && check_now.failures++ < CHECK_SHOWN)
        fprintf(stderr, "%s:%d: %s: failed: %s\n", file, line, check_now.test, what);
    return good;
}

static inline bool check_same(int64_t got, int64_t want, const char *file, int line, const char *what)
{
    bool good = check_report(got == want, file, line, what);
    if (!good && check_now.failures <= CHECK_SHOWN)
        fprintf(stderr, "    got %" PRId64 ", want %" PRId64 "\n", got, want);
    return good;
}

#define CHECK(condition) check_report((condition), __FILE__, __LINE__, #condition)
#define CHECK_EQ(got, want) \
    check_same((int64_t)(got), (int64_t)(want), __FILE__, __LINE__, #got " == " #want)
#define CHECK_BYTES(a, b, length) \
    check_report(memcmp((a), (b), (length)) == 0, __FILE__, __LINE__, "bytes of " #a " and " #b)

/* CHECK_ONLY in the environment names the one test of a program that shall run. */
static inline bool check_begins(const char *test)
{
    const char *only = getenv("CHECK_ONLY");
    if (only && strcmp(only, test) != 0)
        return false;
    check_now.test = test;
    return true;
}

#define RUN(function)                \
    do {                             \
        if (check_begins(#function)) \
            function();              \
    } while (0)

#define SKIP(why)                                            \
    do {                                                     \
        printf("  skipped %s: %s\n", check_now.test, (why)); \
        check_now.skipped++;                                 \
    } while (0)

/* The exit status of the program. */
static inline int check_finish(const char *program)
{
    printf("%s: %lu checks, %lu failed, %u skipped\n", program, check_now.checks, check_now.failures,
           check_now.skipped);
    const char *only = getenv("CHECK_ONLY");
    if (only && !check_now.test) {
        fprintf(stderr, "%s: there is no test %s\n", program, only);
        return 64;
    }
    return check_now.failures ? 1 : 0;
}

#endif
