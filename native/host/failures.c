/* From what went wrong to what the caller is told. */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SEEN_TWICE (3 * DPX_MS) /* between two looks, at least */

const char *dpx_status_text(dpx_status status)
{
    switch (status) {
    case DPX_OK: return "ok";
    case DPX_E_SYSTEM: return "a system call failed";
    case DPX_E_NOT_LOCKSPACE: return "not a lockspace";
    case DPX_E_VERSION: return "a lockspace of another format version";
    case DPX_E_FEATURE: return "the lockspace uses features unknown to this version";
    case DPX_E_SUPERBLOCK: return "the superblock is damaged";
    case DPX_E_TRUNCATED: return "shorter than its superblock says";
    case DPX_E_BLOCK_SIZE: return "the device's logical blocks are larger than the lockspace's";
    case DPX_E_NO_DIRECT_IO: return "direct I/O is not supported there";
    case DPX_E_OTHER_LOCKSPACE: return "a disk of another lockspace";
    case DPX_E_SAME_DISK: return "two paths lead to one disk";
    case DPX_E_DISK_COUNT: return "not the number of disks that the lockspace has";
    case DPX_E_OUTDATED_DISK: return "an outdated copy: rebuild it first";
    case DPX_E_NO_MAJORITY: return "too few disks answer";
    case DPX_E_READ_ONLY: return "opened for reading only";
    case DPX_E_NO_SLOT: return "no free host slot";
    case DPX_E_COLLIDED: return "every attempt to claim a host slot met another host";
    case DPX_E_NOT_DRAINED: return "the host slot is alive, or its last writes may still come";
    case DPX_E_TIMING: return "this host cannot keep the lockspace's timings";
    case DPX_E_HELD: return "held by another host";
    case DPX_E_HELD_HERE: return "held by this very host";
    case DPX_E_STALE: return "taken by somebody else since";
    case DPX_E_NOT_FOUND: return "no such lease";
    case DPX_E_EXISTS: return "the lease exists already";
    case DPX_E_FULL: return "no room for another lease";
    case DPX_E_UNDRAINED: return "a dead host's change may still land";
    case DPX_E_DAMAGED: return "damaged blocks";
    case DPX_E_STORAGE: return "the storage failed or took too long";
    case DPX_E_LOST: return "the lease was lost";
    case DPX_E_FINISHED: return "this host's life in the lockspace is over";
    case DPX_E_CEILING: return "ballots are used up: delete the lease and create it again";
    case DPX_E_TIMEOUT: return "no answer in time";
    case DPX_E_INVALID: return "invalid argument";
    case DPX_E_FORKED: return "used in a child of the process that joined";
    case DPX_E_BUSY: return "leases are still held";
    }
    return "unknown status";
}

void dpx_failure_clear(dpx_failure *failure)
{
    memset(failure, 0, sizeof *failure);
    failure->disk = DPX_NO_DISK;
}

dpx_status dpx_fail(dpx_failure *failure, dpx_status status)
{
    failure->status = status;
    return status;
}

dpx_status dpx_fail_errno(dpx_failure *failure, int error)
{
    failure->error = error;
    return dpx_fail(failure, DPX_E_SYSTEM);
}

dpx_status dpx_fail_finished(const dpx_host *host, dpx_failure *failure)
{
    failure->end = (int)host->end;
    return dpx_fail(failure, DPX_E_FINISHED);
}

/* The time is up, and the attempt goes on in the background until it is undone.  Who tried
 * once had no time of his own: it is the storage that did not answer, and a disk that is not
 * well is named for it. */
dpx_status dpx_fail_unanswered(const dpx_host *host, bool once, dpx_failure *failure)
{
    failure->lowering = true;
    if (!once)
        return dpx_fail(failure, DPX_E_TIMEOUT);
    failure->error = ETIMEDOUT;
    failure->disk = DPX_NO_DISK;
    for (uint32_t d = host->geometry.disks; d-- > 0;)
        if (host->stalled[d] || !dpx_space_disk_of(host->space, d))
            failure->disk = d;
    dpx_failure_path(host->space, failure);
    return dpx_fail(failure, DPX_E_STORAGE);
}

/* Time ran out with nothing decided.  A holder that was seen says more than that: one whose flag two looks have shown,
 * the later of them in this heartbeat's time.  (An attempt that gives way is seen once.) */
dpx_status dpx_fail_timeout(const dpx_host *host, dpx_entry *const *entries, uint32_t count, dpx_failure *failure)
{
    uint64_t now = dpx_now();
    for (uint32_t i = 0; i < count; i++) {
        const dpx_flag *flag = &entries[i]->lease.flag;
        bool twice = flag->last_seen >= flag->seen_at + SEEN_TWICE;
        bool recent = now < flag->last_seen + host->geometry.outage_tolerance / 8;
        if (flag->hold == 0 || !twice || !recent)
            continue;
        failure->item = i;
        dpx_failure_flag(host, failure, flag);
        return dpx_fail(failure, DPX_E_HELD);
    }
    return dpx_fail(failure, DPX_E_TIMEOUT);
}

void dpx_failure_path(const dpx_space *space, dpx_failure *failure)
{
    const dpx_member *member = failure->disk < DPX_MAX_DISKS ? atomic_load(&space->by_index[failure->disk]) : NULL;
    if (member)
        snprintf(failure->path, sizeof failure->path, "%s", member->path);
}

void dpx_failure_flag(const dpx_host *host, dpx_failure *failure, const dpx_flag *flag)
{
    failure->flag = *flag;
    if (flag->hold == 0 || flag->who.slot >= host->geometry.max_hosts)
        return;
    const dpx_geometry *geometry = &host->geometry;
    const uint64_t look = geometry->outage_tolerance / 8; /* until the next one notices */
    const dpx_peer *peer = &host->world.peers->slots[flag->who.slot];
    failure->dead = dpx_peers_dead(host->world.peers, &flag->who);
    failure->alive = failure->watched = false;
    failure->silent_for = 0;
    failure->free_in =
        dpx_dead_time(geometry->outage_tolerance, geometry->kill_grace, geometry->watchdog_timeout) + look;
    if (!peer->seen || !dpx_incarnation_equal(&peer->record.who, &flag->who))
        return; /* it has come since its slot was last looked at */
    uint64_t now = dpx_now();
    snprintf(failure->host_name, sizeof failure->host_name, "%s", peer->record.host_name);
    failure->watched = true;
    failure->free_in = dpx_peers_until_silent(host->world.peers, flag->who.slot, now) + look;
    if (peer->still_from != 0 && now > peer->still_from)
        failure->silent_for = now - peer->still_from;
    failure->alive = dpx_peers_moving(host->world.peers, flag->who.slot, now) && !failure->dead;
}

static dpx_status status_of(dpx_verdict verdict)
{
    switch (verdict) {
    case DPX_DONE: return DPX_OK;
    case DPX_REFUSED: return DPX_E_HELD;
    case DPX_STALE: return DPX_E_STALE;
    case DPX_NOT_FOUND: return DPX_E_NOT_FOUND;
    case DPX_EXISTS: return DPX_E_EXISTS;
    case DPX_FULL: return DPX_E_FULL;
    case DPX_UNDRAINED:
    case DPX_CHANGE_OPEN: return DPX_E_UNDRAINED;
    case DPX_DAMAGED: return DPX_E_DAMAGED;
    case DPX_STORAGE: return DPX_E_STORAGE;
    case DPX_LOST: return DPX_E_LOST;
    case DPX_FINISHED: return DPX_E_FINISHED;
    case DPX_CEILING: return DPX_E_CEILING;
    case DPX_CHANGED: /* it kept changing for as long as we looked */
    case DPX_RUNNING:
    case DPX_BUSY:
    case DPX_GAVE_UP: break;
    }
    return DPX_E_TIMEOUT;
}

dpx_status dpx_fail_verdict(const dpx_host *host, dpx_failure *failure, dpx_verdict verdict,
                            const dpx_cause *cause)
{
    failure->item = cause->item;
    failure->error = cause->error < 0 ? -cause->error : cause->error;
    failure->disk = cause->disk;
    failure->block = cause->block;
    failure->flaw = cause->flaw;
    dpx_failure_path(host->space, failure);
    dpx_failure_flag(host, failure, &cause->flag);
    if (verdict == DPX_FINISHED)
        return dpx_fail_finished(host, failure);
    if (verdict == DPX_STORAGE && cause->error == -EBUSY) /* another name of ours was busy there all the time */
        return dpx_fail(failure, DPX_E_TIMEOUT);
    return dpx_fail(failure, status_of(verdict));
}
