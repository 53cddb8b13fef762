/* What an acquire does before any I/O: its arguments, its memory, conflicts within the host. */
#include "taking.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- preparation ---- */

dpx_status dpx_check_asks(const dpx_ask *asks, uint32_t count, dpx_failure *failure)
{
    size_t directory = strlen(DPX_DIRECTORY_NAME);
    for (uint32_t i = 0; i < count; i++) {
        const dpx_ask *ask = &asks[i];
        bool reserved =
            ask->name_length == directory && memcmp(ask->name, DPX_DIRECTORY_NAME, directory) == 0;
        bool mode = ask->mode == DPX_MODE_SHARED || ask->mode == DPX_MODE_EXCLUSIVE;
        failure->item = i;
        if (reserved || !mode || !dpx_name_valid(ask->name, ask->name_length, DPX_LEASE_NAME_MAX))
            return dpx_fail(failure, DPX_E_INVALID);
    }
    failure->item = 0;
    return count > 0 ? DPX_OK : dpx_fail(failure, DPX_E_INVALID);
}

bool dpx_taking_arrays(struct taking *taking, uint32_t count)
{
    if (count == 1) {
        taking->entries = &taking->one_entry;
        taking->modes = &taking->one_mode;
        taking->holds = &taking->one_hold;
        taking->joins = &taking->one_join;
        taking->picked = &taking->one_picked;
        return true;
    }
    size_t each = sizeof(dpx_entry *) + sizeof(dpx_hold *) + sizeof(uint32_t) + sizeof(enum dpx_mode) +
                  sizeof(bool);
    taking->arrays = calloc(count, each);
    if (!taking->arrays)
        return false;
    taking->entries = taking->arrays;
    taking->holds = (dpx_hold **)(void *)(taking->entries + count);
    taking->picked = (uint32_t *)(void *)(taking->holds + count);
    taking->modes = (enum dpx_mode *)(void *)(taking->picked + count);
    taking->joins = (bool *)(void *)(taking->modes + count);
    return true;
}

dpx_status dpx_taking_gather(struct taking *taking)
{
    dpx_host *host = taking->host;
    uint64_t pass = ++host->pass;
    for (uint32_t i = 0; i < taking->count; i++) {
        const dpx_ask *ask = &taking->asks[i];
        taking->failure->item = i;
        taking->modes[i] = ask->mode;
        taking->entries[i] = dpx_entry_get(host, ask->name, ask->name_length);
        taking->holds[i] = dpx_hold_new(host);
        if (!taking->entries[i] || !taking->holds[i])
            return dpx_fail_errno(taking->failure, ENOMEM);
        if (taking->entries[i]->pass == pass) /* the same name twice */
            return dpx_fail(taking->failure, DPX_E_INVALID);
        taking->entries[i]->pass = pass;
    }
    taking->failure->item = 0;
    return DPX_OK;
}

/* ---- conflicts within the host ---- */

/* Who tries once does not wait for holders here either, only for rounds under way. */
static bool hopeless(const struct taking *taking, dpx_queued *queued)
{
    for (uint32_t i = 0; i < taking->count; i++) {
        const dpx_entry *entry = taking->entries[i];
        dpx_bar bar = dpx_entry_bar(entry, taking->modes[i], false);
        bool conflicts = taking->modes[i] == DPX_MODE_EXCLUSIVE || entry->busy_mode == DPX_MODE_EXCLUSIVE;
        bool waits_long = entry->busy == DPX_BUSY_WAITING && (conflicts || entry->lease.flag.hold != 0);
        if (bar == DPX_BAR_HELD || waits_long)
            return true;
        if (bar != DPX_BAR_NONE)
            return false;
    }
    return !queued->granted; /* nothing bars it but somebody who came first and waits */
}

static dpx_status blocked(struct taking *taking)
{
    dpx_failure *failure = taking->failure;
    for (uint32_t i = 0; i < taking->count; i++) {
        const dpx_entry *entry = taking->entries[i];
        dpx_bar bar = dpx_entry_bar(entry, taking->modes[i], false);
        if (bar == DPX_BAR_NONE)
            continue;
        failure->item = i;
        failure->lowering = bar == DPX_BAR_LOWERING;
        if (entry->busy == DPX_BUSY_WAITING && entry->lease.flag.hold != 0) { /* for a holder elsewhere */
            dpx_failure_flag(taking->host, failure, &entry->lease.flag);
            return dpx_fail(failure, DPX_E_HELD);
        }
        if (bar == DPX_BAR_HELD || entry->busy == DPX_BUSY_WAITING)
            return dpx_fail(failure, DPX_E_HELD_HERE);
        if (bar == DPX_BAR_LOWERING) /* another attempt of this host, whose flag does not come down */
            return dpx_fail_unanswered(taking->host, taking->once, failure);
        return dpx_fail(failure, DPX_E_TIMEOUT);
    }
    return dpx_fail(failure, taking->once ? DPX_E_HELD_HERE : DPX_E_TIMEOUT);
}

uint64_t dpx_taking_deadline(const struct taking *taking)
{
    return taking->once ? dpx_now() + dpx_patience(taking->host) : taking->deadline;
}

void dpx_taking_heed(struct taking *taking, uint64_t deadline)
{
    if (deadline != 0)
        return;
    taking->once = false;
    taking->deadline = 0;
}

/* A share that is joined belongs to its holders while the rest is waited for: were it kept up here, a host that waits
 * for it and holds what is waited for here would wait for ever.  It is asked for again once the rest is taken.
 * The flag may be up still though its last holder has gone: its release waits for us. */
static void set_apart(struct taking *taking)
{
    uint32_t joins = 0;
    taking->polls = false;
    for (uint32_t i = 0; i < taking->count; i++) {
        bool up = taking->entries[i]->lease.hold != 0;
        taking->joins[i] = up && !taking->asks[i].resume;
        taking->polls |= up && taking->asks[i].resume && taking->count > 1;
        joins += taking->joins[i];
    }
    taking->apart = joins > 0 && joins < taking->count;
    for (uint32_t i = 0; i < taking->count && taking->apart; i++)
        if (taking->joins[i])
            taking->entries[i]->busy = DPX_IDLE;
    if (taking->apart)
        dpx_queue_kick(taking->host);
}

dpx_status dpx_taking_reserve(struct taking *taking)
{
    dpx_host *host = taking->host;
    uint64_t deadline = dpx_taking_deadline(taking);
    dpx_queued queued = {.caller = taking->caller,
                         .entries = taking->entries,
                         .modes = taking->modes,
                         .count = taking->count,
                         .busy = taking->once ? DPX_BUSY_TAKING : DPX_BUSY_WAITING,
                         .once = taking->once};
    dpx_queue_join(host, &queued);
    if (taking->once)
        while (!queued.granted && !host->over && !hopeless(taking, &queued))
            if (!dpx_wait(host, taking->caller, &deadline))
                break;
    bool granted = taking->once ? queued.granted : dpx_queue_await(host, &queued, &deadline);
    if (!granted && taking->once) {
        dpx_queue_leave(host, &queued);
        dpx_queue_kick(host);
    }
    if (!granted)
        return host->over ? dpx_fail_finished(host, taking->failure) : blocked(taking);
    taking->reserved = true;
    set_apart(taking);
    return DPX_OK;
}

static bool reserves(const struct taking *taking, uint32_t i)
{
    return taking->reserved && !(taking->apart && taking->joins[i]);
}

void dpx_taking_unreserve(struct taking *taking)
{
    bool any = false;
    for (uint32_t i = 0; i < taking->count; i++) {
        any |= reserves(taking, i);
        if (reserves(taking, i) && taking->entries[i]->busy != DPX_BUSY_LOWERING) /* that one is the engine's now */
            taking->entries[i]->busy = DPX_IDLE;
    }
    taking->reserved = taking->apart = false;
    if (any)
        dpx_queue_kick(taking->host);
}

bool dpx_taking_rejoin(const struct taking *taking)
{
    for (uint32_t i = 0; i < taking->count; i++) {
        const dpx_entry *entry = taking->entries[i];
        bool still = entry->busy == DPX_IDLE || entry->busy == DPX_BUSY_WATCHING; /* a loss is every holder's */
        bool shared = entry->holders > 0 && entry->lease.hold != 0 && entry->lease.mode == DPX_MODE_SHARED;
        if (taking->apart && taking->joins[i] && !(still && shared && !entry->lost))
            return false;
    }
    return true;
}
