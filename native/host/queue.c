/* Who of this host's threads may go on: conflicts within the host are settled before any
 * I/O, first come, first served.
 *
 * A queued call is granted all its entries at once or waits for all of them; an earlier one
 * that waits keeps later ones from its entries, so nobody starves. */
#include "engine.h"

dpx_bar dpx_entry_bar(const dpx_entry *entry, enum dpx_mode mode, bool lowers)
{
    if (entry->busy == DPX_BUSY_LOWERING)
        return DPX_BAR_LOWERING;
    if (entry->busy != DPX_IDLE)
        return DPX_BAR_BUSY;
    if (lowers)
        return DPX_BAR_NONE;
    if (entry->holders == 0) /* a flag that nobody wants any more: about to be lowered */
        return entry->lease.hold != 0 ? DPX_BAR_LOWERING : DPX_BAR_NONE;
    bool shared = mode == DPX_MODE_SHARED && entry->lease.mode == DPX_MODE_SHARED && !entry->lost;
    return shared ? DPX_BAR_NONE : DPX_BAR_HELD;
}

static enum dpx_mode mode_of(const dpx_queued *queued, uint32_t i)
{
    return queued->modes ? queued->modes[i] : DPX_MODE_EXCLUSIVE;
}

static bool may_go(const dpx_host *host, const dpx_queued *queued)
{
    for (uint32_t i = 0; i < queued->count; i++) {
        const dpx_entry *entry = queued->entries[i];
        enum dpx_mode mode = mode_of(queued, i);
        if (dpx_entry_bar(entry, mode, queued->lowers) != DPX_BAR_NONE)
            return false;
        bool marked = entry->pass == host->pass && (entry->pass_exclusive || mode == DPX_MODE_EXCLUSIVE);
        if (marked && !queued->lowers) /* a release is what those who came earlier wait for */
            return false;
    }
    return true;
}

static void mark(dpx_host *host, const dpx_queued *queued)
{
    for (uint32_t i = 0; i < queued->count; i++) {
        dpx_entry *entry = queued->entries[i];
        bool exclusive = mode_of(queued, i) == DPX_MODE_EXCLUSIVE;
        entry->pass_exclusive = exclusive || (entry->pass == host->pass && entry->pass_exclusive);
        entry->pass = host->pass;
    }
}

static void grant(dpx_host *host, dpx_queued *queued)
{
    for (uint32_t i = 0; i < queued->count; i++) {
        queued->entries[i]->busy = queued->busy;
        queued->entries[i]->busy_mode = mode_of(queued, i);
    }
    dpx_queue_leave(host, queued);
    queued->granted = true;
    if (queued != host->joining) /* that one is awake: it is just coming in */
        dpx_wake_caller(host, queued->caller);
}

void dpx_queue_kick(dpx_host *host)
{
    host->pass++;
    for (dpx_queued *queued = host->queue_first; queued;) {
        dpx_queued *next = queued->next;
        if (may_go(host, queued)) {
            grant(host, queued);
        } else {
            mark(host, queued);
            if (queued->once && queued != host->joining)
                dpx_wake_caller(host, queued->caller);
        }
        queued = next;
    }
}

void dpx_queue_join(dpx_host *host, dpx_queued *queued)
{
    queued->granted = false;
    queued->next = NULL;
    queued->previous = host->queue_last;
    if (host->queue_last)
        host->queue_last->next = queued;
    else
        host->queue_first = queued;
    host->queue_last = queued;
    host->joining = queued;
    dpx_queue_kick(host);
    host->joining = NULL;
}

void dpx_queue_leave(dpx_host *host, dpx_queued *queued)
{
    if (queued->granted)
        return;
    if (queued->previous)
        queued->previous->next = queued->next;
    else
        host->queue_first = queued->next;
    if (queued->next)
        queued->next->previous = queued->previous;
    else
        host->queue_last = queued->previous;
}

bool dpx_queue_await(dpx_host *host, dpx_queued *queued, uint64_t *deadline)
{
    while (!queued->granted && !host->over && dpx_wait(host, queued->caller, deadline))
        continue;
    if (queued->granted)
        return true;
    dpx_queue_leave(host, queued);
    dpx_queue_kick(host); /* whom it kept waiting may go now */
    return false;
}
