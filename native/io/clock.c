/* Time, memory for I/O, and sleeping until a word changes. */
#include "inside.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A sleep is measured on a clock that stands still while the machine is suspended: no
 * single one is longer than this, so that a deadline is missed by no more after a resume. */
#define LONGEST_SLEEP UINT64_C(200000000)

/* Memory for a batch of leases: hundreds of pages, each a fault at first use. */
#define LARGE ((size_t)4 << 20)

uint64_t dpx_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

bool dpx_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t deadline)
{
    if (deadline == UINT64_MAX) {
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
        return true;
    }
    uint64_t now = dpx_now();
    if (now >= deadline)
        return false;
    uint64_t span = deadline - now < LONGEST_SLEEP ? deadline - now : LONGEST_SLEEP;
    struct timespec limit = {.tv_sec = 0, .tv_nsec = (long)span};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &limit, NULL, 0);
    return true;
}

void dpx_wake(_Atomic uint32_t *word, int threads)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

void *dpx_buffer_new(size_t bytes)
{
    void *buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED)
        return NULL;
    if (bytes >= LARGE)
        madvise(buffer, bytes, MADV_HUGEPAGE); /* refused: small pages will do */
    return buffer;
}

void dpx_buffer_free(void *buffer, size_t bytes)
{
    if (buffer)
        munmap(buffer, bytes);
}
