/* Taking leases: conflicts within the host first, then [find, create,] take; all or none. */
#include "taking.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CONTEST_PAUSE (UINT64_C(10) * DPX_MS)
#define RETRY_PAUSE (UINT64_C(5) * DPX_MS)
#define SHARE_PAUSE (UINT64_C(50) * DPX_MS)
#define HEAR_PAUSE (2 * DPX_MS)
#define RETRIES 3u
#define HEALS 8u
#define OUTAGE_PAUSE (UINT64_C(250) * DPX_MS) /* at most */

/* ---- rounds ---- */

static void drop_task(struct taking *taking)
{
    if (taking->task)
        dpx_task_drop(taking->task);
    taking->task = NULL;
}

static bool wanted(const struct taking *taking, dpx_round_kind kind, uint32_t i)
{
    if (kind == DPX_ROUND_FIND)
        return !taking->joins[i] && !taking->entries[i]->lease.located;
    return !taking->joins[i];
}

static void fill_wish(dpx_wish *wish, const dpx_ask *ask, dpx_entry *entry)
{
    size_t label = ask->label_length > 64 ? 64 : ask->label_length;
    *wish = (dpx_wish){.lease = &entry->lease,
                       .mode = ask->mode,
                       .resume = ask->resume,
                       .resume_lease = ask->resume_lease,
                       .resume_token = ask->resume_token,
                       .label_length = (uint8_t)label};
    if (label > 0)
        memcpy(wish->label, ask->label, label);
}

/* A round's time is up a little before the caller's, so that it can still say who holds. */
static uint64_t round_deadline(const struct taking *taking, uint64_t now)
{
    if (taking->once || taking->polls || taking->deadline <= now)
        return now;
    if (taking->deadline == DPX_NEVER)
        return DPX_NEVER;
    uint64_t left = taking->deadline - now;
    return taking->deadline - (left / 10 < 20 * DPX_MS ? left / 10 : 20 * DPX_MS);
}

static dpx_status no_answer(struct taking *taking)
{
    dpx_host *host = taking->host;
    if (host->over)
        return dpx_fail_finished(host, taking->failure);
    return dpx_fail_unanswered(host, taking->once, taking->failure);
}

/* One round about all that it can be about.  DPX_OK: *verdict and *cause (its item is an ask). */
static dpx_status run_round(struct taking *taking, dpx_round_kind kind, dpx_verdict *verdict,
                            dpx_cause *cause)
{
    dpx_host *host = taking->host;
    uint32_t count = 0;
    for (uint32_t i = 0; i < taking->count; i++)
        if (wanted(taking, kind, i))
            taking->picked[count++] = i;
    *verdict = DPX_DONE;
    if (count == 0)
        return DPX_OK;
    if (taking->task && (taking->task->capacity < count || !dpx_task_quiet(taking->task)))
        drop_task(taking);
    if (!taking->task)
        taking->task = dpx_task_round(host, count);
    if (!taking->task)
        return dpx_fail_errno(taking->failure, ENOMEM);
    if (host->over)
        return dpx_fail_finished(host, taking->failure);
    dpx_task *task = taking->task;
    uint64_t now = dpx_now();
    uint64_t deadline = dpx_taking_deadline(taking);
    task->count = count;
    for (uint32_t k = 0; k < count; k++) {
        task->entries[k] = taking->entries[taking->picked[k]];
        fill_wish(&task->wishes[k], &taking->asks[taking->picked[k]], task->entries[k]);
    }
    dpx_round_begin(task->machine.round, kind, task->wishes, count, round_deadline(taking, now), now);
    task->patient = taking->once;
    bool answered = dpx_task_await(task, taking->caller, &deadline);
    task->patient = false;
    dpx_taking_heed(taking, deadline);
    if (!answered) {
        dpx_status status = no_answer(taking);
        drop_task(taking);
        return status;
    }
    *verdict = dpx_task_verdict(task);
    *cause = *dpx_task_cause(task);
    taking->outage &= *verdict == DPX_STORAGE || *verdict == DPX_GAVE_UP;
    cause->item = taking->picked[cause->item < count ? cause->item : 0];
    return DPX_OK;
}

/* ---- what stands between an ask and its lease ---- */

static dpx_status pause_a_while(struct taking *taking, uint64_t duration)
{
    dpx_host *host = taking->host;
    uint64_t until = dpx_now() + duration;
    uint64_t deadline = until < dpx_taking_deadline(taking) ? until : dpx_taking_deadline(taking);
    while (!host->over && dpx_wait(host, taking->caller, &deadline))
        continue;
    dpx_taking_heed(taking, deadline);
    return host->over ? dpx_fail_finished(host, taking->failure) : DPX_OK;
}

static bool time_left(const struct taking *taking)
{
    return !taking->once && dpx_now() < taking->deadline;
}

/* A flag that stands on a bare majority falls with any one of its disks: while a majority is well, that is no answer
 * to give.  And an outage that holders outlast, waiters outlast, too: only their own time, or the end of this host's
 * life, ends the wait. */
static dpx_status storage_failed(struct taking *taking, const dpx_cause *cause)
{
    const dpx_host *host = taking->host;
    bool soon = dpx_majority_well(host) && taking->retries++ < RETRIES;
    if (!soon && !time_left(taking))
        return dpx_fail_verdict(host, taking->failure, DPX_STORAGE, cause);
    taking->outage = true;
    taking->outage_cause = *cause;
    uint64_t pause = host->geometry.outage_tolerance / 64;
    return pause_a_while(taking, soon ? RETRY_PAUSE : pause < OUTAGE_PAUSE ? pause : OUTAGE_PAUSE);
}

/* Time ran out with nothing decided: who holds it, if that was seen; else the storage is to blame, where it failed us
 * to the last. */
static dpx_status time_ran_out(struct taking *taking)
{
    bool lowering = taking->failure->lowering;
    dpx_status status = dpx_fail_timeout(taking->host, taking->entries, taking->count, taking->failure);
    if (status != DPX_E_TIMEOUT || !taking->outage)
        return status;
    status = dpx_fail_verdict(taking->host, taking->failure, DPX_STORAGE, &taking->outage_cause);
    taking->failure->lowering = lowering;
    return status;
}

/* Somebody's own block is damaged, or ours. */
static dpx_status heal(struct taking *taking, const dpx_cause *cause)
{
    dpx_host *host = taking->host;
    switch (dpx_heal_met(host, taking->caller, cause, taking->entries, taking->count)) {
    case DPX_HEALED:
        if (taking->heals++ < HEALS)
            return host->over ? dpx_fail_finished(host, taking->failure) : DPX_OK;
        break;
    case DPX_HEAL_ASKED:
        if (taking->heal_until == 0) /* two heartbeats, and then some */
            taking->heal_until = dpx_now() + host->geometry.outage_tolerance / 2;
        if (time_left(taking) && dpx_now() < taking->heal_until)
            return pause_a_while(taking, host->geometry.outage_tolerance / 32);
        break;
    case DPX_HEAL_NOT:
        break;
    }
    return host->over ? dpx_fail_finished(host, taking->failure)
                      : dpx_fail_verdict(host, taking->failure, DPX_DAMAGED, cause);
}

static dpx_status settle_change(struct taking *taking, uint32_t item, dpx_verdict verdict, dpx_cause *cause)
{
    dpx_host *host = taking->host;
    cause->item = item;
    switch (verdict) {
    case DPX_RUNNING: /* failure is filled */
        taking->failure->item = item;
        return taking->failure->status;
    case DPX_DONE:
        return DPX_OK;
    case DPX_EXISTS: /* somebody else was faster: find it */
    case DPX_CHANGED:
        dpx_lease_unlocate(&taking->entries[item]->lease);
        return DPX_OK;
    case DPX_STORAGE:
        if (cause->error == -EBUSY) /* another name of ours still moves in that area */
            return pause_a_while(taking, CONTEST_PAUSE);
        return storage_failed(taking, cause);
    case DPX_REFUSED:
        if (time_left(taking))
            return pause_a_while(taking, DPX_HELD_PAUSE);
        break;
    case DPX_UNDRAINED:
        if (time_left(taking))
            return pause_a_while(taking, host->geometry.outage_tolerance / 16);
        break;
    case DPX_DAMAGED:
        return heal(taking, cause);
    default:
        break;
    }
    return dpx_fail_verdict(host, taking->failure, verdict, cause);
}

static dpx_status run_change(struct taking *taking, uint32_t item, dpx_order *order)
{
    order->deadline = dpx_taking_deadline(taking);
    if (taking->once) /* other hosts' changes are waited for, too */
        order->deadline += dpx_patience(taking->host);
    dpx_verdict verdict = dpx_change_run(taking->host, taking->caller, order, taking->failure);
    dpx_taking_heed(taking, order->deadline);
    return settle_change(taking, item, verdict, &order->cause);
}

static dpx_status create_one(struct taking *taking, uint32_t item)
{
    dpx_order order = {.kind = DPX_CHANGE_CREATE, .entry = taking->entries[item]};
    return run_change(taking, item, &order);
}

static dpx_status resolve_one(struct taking *taking, uint32_t item, uint32_t area)
{
    dpx_order order = {.kind = DPX_CHANGE_RESOLVE, .area = area};
    dpx_lease *lease = &taking->entries[item]->lease;
    if (lease->hold == 0)
        dpx_lease_unlocate(lease); /* the area is the resolver's now */
    return run_change(taking, item, &order);
}

/* A batch looks for all its unknown leases at once, and creates what is missing one by one. */
static dpx_status find_and_create(struct taking *taking)
{
    dpx_verdict verdict;
    dpx_cause cause;
    bool any = false;
    for (uint32_t i = 0; i < taking->count; i++)
        any |= wanted(taking, DPX_ROUND_FIND, i);
    if (!any)
        return DPX_OK;
    dpx_status status = run_round(taking, DPX_ROUND_FIND, &verdict, &cause);
    if (status != DPX_OK || verdict != DPX_DONE)
        return status; /* what is wrong will be met again, and seen to, by the taking */
    uint32_t count = taking->task->count;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t item = taking->picked[k];
        if (taking->task->wishes[k].outcome != DPX_NOT_FOUND)
            continue;
        if (!taking->create) {
            taking->failure->item = item;
            return dpx_fail(taking->failure, DPX_E_NOT_FOUND);
        }
        status = create_one(taking, item);
        if (status != DPX_OK)
            return status;
    }
    return DPX_OK;
}

/* The rest is taken, but a share that was to be joined is gone: all or nothing. */
static dpx_status give_back(struct taking *taking)
{
    dpx_verdict verdict;
    dpx_cause cause;
    dpx_status status = run_round(taking, DPX_ROUND_RELEASE, &verdict, &cause);
    if (status == DPX_OK && verdict != DPX_DONE)
        status = dpx_fail_verdict(taking->host, taking->failure, verdict, &cause);
    return status;
}

/* What will tell whether a holder is dead is yet to come: the heartbeat that reads what others say of its slot, our own
 * word about that, or the end of a claim of its slot, by whoever cleans up after it. */
static bool news_due(const dpx_host *host, const dpx_incarnation *who)
{
    const dpx_heart *heart = host->heart->machine.heart;
    const dpx_peer *peer = &host->world.peers->slots[who->slot];
    bool heard = peer->consulted_at >= peer->wanted_since || peer->wanted_generation == 0;
    return !heard || dpx_heart_count(heart).last_issue < peer->wanted_since ||
           dpx_heart_judging(heart, who->slot, who->generation) ||
           dpx_peers_claimed_anew(host->world.peers, who, dpx_now());
}

/* Who tries once may meet the flag of somebody whom other hosts hold dead, or who has been silent for long enough as
 * others have seen.  A holder that was seen to live of late needs no such question. */
static dpx_status hear_of_holder(struct taking *taking, const dpx_incarnation *who, bool *dead)
{
    dpx_host *host = taking->host;
    const dpx_peers *peers = host->world.peers;
    uint64_t deadline = dpx_taking_deadline(taking);
    dpx_status status = DPX_OK;
    *dead = dpx_peers_dead(peers, who);
    if (!taking->once || dpx_peers_moving(peers, who->slot, dpx_now()))
        return DPX_OK;
    while (status == DPX_OK && !*dead && news_due(host, who) && dpx_now() < deadline) {
        status = pause_a_while(taking, HEAR_PAUSE);
        *dead = dpx_peers_dead(peers, who);
    }
    return status;
}

static dpx_status refused(struct taking *taking, const dpx_cause *cause)
{
    bool dead = false;
    dpx_status status = hear_of_holder(taking, &cause->flag.who, &dead);
    if (status != DPX_OK || dead)
        return status;
    if (taking->polls && time_left(taking))
        return pause_a_while(taking, SHARE_PAUSE);
    return dpx_fail_verdict(taking->host, taking->failure, DPX_REFUSED, cause);
}

/* After a round that did not take: DPX_OK: try again. */
static dpx_status mend(struct taking *taking, dpx_verdict verdict, const dpx_cause *cause)
{
    dpx_host *host = taking->host;
    dpx_lease *lease = &taking->entries[cause->item]->lease;
    switch (verdict) {
    case DPX_CHANGED:
        if (lease->hold == 0)
            dpx_lease_unlocate(lease);
        return DPX_OK;
    case DPX_NOT_FOUND:
        if (taking->create)
            return create_one(taking, cause->item);
        break;
    case DPX_CHANGE_OPEN:
        return resolve_one(taking, cause->item, cause->area);
    case DPX_REFUSED:
        return refused(taking, cause);
    case DPX_UNDRAINED:
        if (time_left(taking))
            return pause_a_while(taking, host->geometry.outage_tolerance / 16);
        break;
    case DPX_STORAGE:
        if (cause->error != -EBUSY)
            return storage_failed(taking, cause);
        for (uint32_t i = 0; i < taking->count; i++) /* somewhere, another name of ours has the area */
            if (taking->entries[i]->lease.hold == 0)
                dpx_lease_unlocate(&taking->entries[i]->lease);
        return pause_a_while(taking, CONTEST_PAUSE);
    case DPX_DAMAGED:
        return heal(taking, cause);
    default:
        break;
    }
    return dpx_fail_verdict(host, taking->failure, verdict, cause);
}

static dpx_status take(struct taking *taking)
{
    dpx_verdict verdict = DPX_CHANGED;
    dpx_cause cause = DPX_NO_CAUSE;
    for (uint32_t again = 0; again < DPX_FINDS_AGAIN || time_left(taking); again++) {
        dpx_status status = taking->count > 1 ? find_and_create(taking) : DPX_OK;
        if (status == DPX_OK)
            status = run_round(taking, DPX_ROUND_TAKE, &verdict, &cause);
        if (status != DPX_OK || (verdict == DPX_DONE && dpx_taking_rejoin(taking)))
            return status;
        bool anew = verdict == DPX_DONE || taking->polls;
        status = verdict == DPX_DONE ? give_back(taking) : mend(taking, verdict, &cause);
        if (status == DPX_OK && anew) { /* whoever waits here for what this call reserved comes first */
            verdict = DPX_CHANGED;
            dpx_taking_unreserve(taking);
            status = dpx_taking_reserve(taking);
        }
        if (status != DPX_OK)
            return status;
    }
    return dpx_fail_verdict(taking->host, taking->failure, verdict, &cause);
}

/* ---- the end ---- */

/* The lifetime is tested once more, in the caller's own thread, before it may believe. */
static dpx_status grant(struct taking *taking)
{
    dpx_host *host = taking->host;
    uint64_t now = dpx_now();
    dpx_life(host);
    if (host->over)
        return dpx_fail_finished(host, taking->failure);
    for (uint32_t i = 0; i < taking->count; i++) {
        dpx_ask *ask = &taking->asks[i];
        dpx_hold *hold = taking->holds[i];
        dpx_entry *entry = taking->entries[i];
        dpx_hold_give(host, hold, entry);
        hold->mode = ask->mode;
        hold->token = ask->token = entry->lease.token;
        hold->lease = ask->lease = entry->lease.header.lease;
        ask->handle = hold->handle;
        if (!taking->joins[i])
            dpx_watch_plan(host, entry, now);
        taking->holds[i] = NULL;
    }
    return DPX_OK;
}

static void finish(struct taking *taking)
{
    drop_task(taking);
    for (uint32_t i = 0; i < taking->count; i++)
        if (taking->holds[i])
            dpx_hold_drop(taking->host, taking->holds[i]);
    dpx_taking_unreserve(taking);
}

dpx_status dpx_host_acquire(dpx_host *host, dpx_ask *asks, uint32_t count, bool create, uint64_t timeout,
                            dpx_failure *failure)
{
    struct taking taking = {.host = host, .asks = asks, .count = count, .create = create, .failure = failure};
    taking.once = timeout == 0;
    taking.deadline = dpx_deadline(dpx_now(), timeout);
    dpx_failure_clear(failure);
    dpx_status status = dpx_check_asks(asks, count, failure);
    if (status != DPX_OK)
        return status;
    if (!dpx_taking_arrays(&taking, count))
        return dpx_fail_errno(failure, ENOMEM);
    status = dpx_enter(host, &taking.caller, failure);
    if (status == DPX_OK) {
        status = dpx_taking_gather(&taking);
        if (status == DPX_OK)
            status = dpx_taking_reserve(&taking);
        if (status == DPX_OK)
            status = take(&taking);
        if (status == DPX_OK)
            status = grant(&taking);
        if (status == DPX_E_TIMEOUT)
            status = time_ran_out(&taking);
        finish(&taking);
        dpx_exit(host, taking.caller);
    }
    free(taking.arrays);
    return status;
}
