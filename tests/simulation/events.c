/* Time: the heap of events, and clocks that run at rates of their own. */
#include "simulate.h"

#include <stdlib.h>

/* Without branches: which of two events comes first is anybody's guess, a branch predictor's too. */
static bool earlier(const event *a, const event *b)
{
    return (a->at < b->at) | ((a->at == b->at) & (a->order < b->order));
}

void event_push(world *w, uint64_t at, enum event_kind kind, uint8_t host, uint16_t index, uint32_t stamp)
{
    if (w->event_count == MAX_EVENTS) {
        violate(w, VIOLATION_SPIN, "the simulator's event heap is full");
        return;
    }
    event e = {.at = at, .order = w->event_order++, .kind = (uint8_t)kind, .host = host, .index = index,
               .stamp = stamp};
    uint32_t i = w->event_count++;
    while (i > 0) {
        uint32_t parent = (i - 1) / 2;
        if (!earlier(&e, &w->events[parent]))
            break;
        w->events[i] = w->events[parent];
        i = parent;
    }
    w->events[i] = e;
}

bool event_pop(world *w, event *out)
{
    if (w->event_count == 0)
        return false;
    *out = w->events[0];
    event last = w->events[--w->event_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= w->event_count)
            break;
        if (child + 1 < w->event_count)
            child += earlier(&w->events[child + 1], &w->events[child]);
        if (!earlier(&w->events[child], &last))
            break;
        w->events[i] = w->events[child];
        i = child;
    }
    w->events[i] = last;
    return true;
}

uint64_t clock_real(const box *b, uint64_t local)
{
    if (local <= b->local_base)
        return b->real_base;
    uint64_t distance = local - b->local_base;
    if (b->frozen || distance > UINT64_C(10000000000000))
        return DPX_NEVER;
    return b->real_base + (distance * 1000000 + b->rate - 1) / b->rate;
}

uint64_t clock_was(const box *b, uint64_t local)
{
    uint64_t shown = b->local_base, at = b->real_base;
    for (uint32_t i = b->stops; i > 0 && local <= b->stopped[i - 1].local; i--) {
        shown = b->stopped[i - 1].local;
        at = b->stopped[i - 1].real;
    }
    return local < shown ? at - (shown - local) * 1000000 / b->rate : at + (local - shown) * 1000000 / b->rate;
}

void clock_freeze(box *b, uint64_t real)
{
    b->local_base = clock_local(b, real);
    b->stopped[b->stops].local = b->local_base;
    b->stopped[b->stops++].real = real;
    b->frozen = true;
}

void clock_thaw(box *b, uint64_t real)
{
    b->real_base = real;
    b->frozen = false;
}
