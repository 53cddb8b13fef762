/* Pieces of one large page.
 *
 * A device is told where a read shall go page by page; where the pages of a buffer lie side by side in
 * the machine, in one go.  Only a large page promises that, and one for every buffer would be megabytes
 * for each of them. */
#include "inside.h"

#include <sys/mman.h>

#define PAGE ((size_t)4096)
#define LARGE_PAGE ((size_t)2 << 20)
#define MOST 64u /* bits of `taken` */

/* Address space only, aligned: what is mapped around it goes back at once. */
static uint8_t *reserve(void)
{
    size_t bytes = 2 * LARGE_PAGE;
    uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    size_t before = (LARGE_PAGE - (uintptr_t)map % LARGE_PAGE) % LARGE_PAGE;
    if (before > 0)
        munmap(map, before);
    munmap(map + before + LARGE_PAGE, bytes - before - LARGE_PAGE);
    return map + before;
}

void dpx_arena_open(dpx_arena *arena, size_t piece)
{
    *arena = (dpx_arena){.piece = (piece + PAGE - 1) / PAGE * PAGE};
    if (arena->piece == 0 || arena->piece > LARGE_PAGE || !(arena->page = reserve()))
        return;
    size_t count = LARGE_PAGE / arena->piece;
    arena->count = count < MOST ? (uint32_t)count : MOST;
    madvise(arena->page, LARGE_PAGE, MADV_HUGEPAGE); /* refused: small pages will do */
    /* A forked child has no use for it, and its parent would lose the large page piece by piece. */
    madvise(arena->page, LARGE_PAGE, MADV_DONTFORK);
    *(volatile uint8_t *)arena->page = 0; /* granted and zeroed now rather than during a first read */
}

void dpx_arena_close(dpx_arena *arena)
{
    if (arena->page)
        munmap(arena->page, LARGE_PAGE);
    *arena = (dpx_arena){0};
}

void *dpx_arena_take(dpx_arena *arena)
{
    uint64_t taken = atomic_load(&arena->taken);
    for (uint32_t i = 0; i < arena->count; i++) {
        while (!(taken >> i & 1))
            if (atomic_compare_exchange_weak(&arena->taken, &taken, taken | UINT64_C(1) << i))
                return arena->page + i * arena->piece;
    }
    return NULL;
}

bool dpx_arena_give(dpx_arena *arena, void *piece)
{
    uintptr_t at = (uintptr_t)piece - (uintptr_t)arena->page;
    if (!arena->page || at >= arena->count * arena->piece)
        return false;
    atomic_fetch_and(&arena->taken, ~(UINT64_C(1) << at / arena->piece));
    return true;
}
