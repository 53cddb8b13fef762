/* Other hosts: listing them, finding out which processes are gone, retiring a slot. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t dpx_host_peers(dpx_host *host, dpx_peer_info *infos, uint32_t capacity)
{
    const dpx_peers *peers = host->world.peers;
    if (getpid() != host->pid)
        return 0;
    dpx_lock(host);
    dpx_life(host);
    uint64_t now = dpx_now();
    for (uint32_t slot = 0; slot < host->geometry.max_hosts && slot < capacity; slot++) {
        const dpx_peer *peer = &peers->slots[slot];
        dpx_peer_info *info = &infos[slot];
        memset(info, 0, sizeof *info);
        info->record = peer->record;
        info->record.who.slot = slot;
        info->self = host->joined && slot == host->world.self.slot;
        info->free = !info->self && dpx_peer_free(peer);
        info->damaged = peer->damaged;
        info->moved = peer->moved_at[0] != 0;
        info->until_silent = dpx_peers_until_silent(peers, slot, now);
        if (peer->still_from != 0 && now > peer->still_from)
            info->silent_for = now - peer->still_from;
        if (info->self) {
            const dpx_heart_numbers numbers = dpx_heart_count(host->heart->machine.heart);
            info->record = host->me;
            info->record.counter = numbers.counter;
            info->record.notices = numbers.notices;
            info->moved = numbers.beats > 0;
            info->silent_for = now > numbers.last_issue && numbers.beats ? now - numbers.last_issue : 0;
            continue;
        }
        info->dead = peer->seen && dpx_peers_dead(peers, &peer->record.who);
        info->drain = (int)dpx_peers_drain(peers, slot);
    }
    dpx_unlock(host);
    return host->geometry.max_hosts;
}

/* ---- gone processes ---- */

struct suspect_process {
    dpx_incarnation who;
    uint64_t pid;
    uint64_t start_time;
};

#define SUSPECTS 64u

/* Of this machine, boot and pid namespace only; one that moves lives. */
static bool to_be_checked(const dpx_host *host, uint32_t slot, uint64_t now)
{
    const dpx_peer *peer = &host->world.peers->slots[slot];
    const dpx_slot_record *record = &peer->record;
    if (!peer->seen || record->state == DPX_SLOT_FREE || !(record->flags & DPX_SLOT_DRAINS_ON_EXIT))
        return false;
    if (host->joined && slot == host->world.self.slot)
        return false;
    if (!dpx_uuid_equal(&record->host, &host->me.host) || !dpx_uuid_equal(&record->boot, &host->me.boot) ||
        record->pid_namespace != host->me.pid_namespace)
        return false;
    if (peer->drain != DPX_NOT_DRAINED && peer->drain_generation >= record->who.generation)
        return false;
    return now > peer->still_from + host->geometry.outage_tolerance / 4;
}

void dpx_check_processes(dpx_host *host)
{
    struct suspect_process suspects[SUSPECTS];
    uint32_t count = 0;
    dpx_lock(host);
    uint64_t now = dpx_now();
    for (uint32_t slot = 0; slot < host->geometry.max_hosts && count < SUSPECTS; slot++) {
        const dpx_slot_record *record = &host->world.peers->slots[slot].record;
        if (to_be_checked(host, slot, now))
            suspects[count++] = (struct suspect_process){.who = record->who,
                                                         .pid = record->pid,
                                                         .start_time = record->start_time};
    }
    dpx_unlock(host);
    for (uint32_t i = 0; i < count; i++) {
        /* Of this very pid: an earlier membership of ours, or of whatever ran under it before. */
        bool mine = suspects[i].pid == (uint64_t)host->pid;
        uint64_t owned;
        if (mine && dpx_voids_find(&suspects[i].who, &owned)) {
            dpx_lock(host);
            dpx_peers_voided(host->world.peers, &suspects[i].who, owned);
            dpx_unlock(host);
            continue;
        }
        if (mine ? dpx_writer_lives(&suspects[i].who.nonce)
                 : !dpx_process_gone(suspects[i].pid, suspects[i].start_time))
            continue;
        dpx_lock(host);
        dpx_peers_exited(host->world.peers, &suspects[i].who);
        dpx_unlock(host);
    }
}

/* ---- ourselves, on a disk whose path leads elsewhere now ---- */

/* Too few disks are left that have what we wrote: nothing that we hold is protected by them. */
static void refuse_copy(dpx_host *host, uint32_t index)
{
    uint32_t left = host->geometry.disks;
    host->copies |= 1u << index;
    for (uint32_t d = 0; d < host->geometry.disks; d++)
        left -= host->copies >> d & 1;
    if (left < dpx_majority(&host->geometry))
        dpx_finish(host, DPX_END_COPY);
}

bool dpx_vet_copy(void *context, dpx_disk *disk, uint32_t index, const _Atomic bool *gone)
{
    dpx_host *host = context;
    const dpx_geometry *geometry = &host->geometry;
    uint8_t block[DPX_BLOCK_MAX];
    dpx_slot_record shown;
    dpx_lock(host);
    dpx_incarnation self = host->world.self;
    uint64_t written = host->over ? 0 : host->beaten[index];
    dpx_unlock(host);
    if (written == 0)
        return true;
    uint64_t limit = dpx_now() + dpx_io_limit(geometry);
    uint64_t at = dpx_slot_block(geometry, self.slot);
    int error = dpx_transfer(disk, false, at, 1, geometry->block_size, block, limit, gone);
    if (error != 0 || !dpx_record_sound(geometry, index, self.slot, block))
        return false; /* it says nothing: looked at again later */
    dpx_slot_decode(block, &shown);
    bool newer = shown.who.generation > self.generation; /* the heart will look, and know what that means */
    bool good = newer || (dpx_incarnation_equal(&shown.who, &self) && shown.sequence >= written);
    dpx_lock(host);
    if (good)
        host->copies &= ~(1u << index);
    else
        refuse_copy(host, index);
    dpx_unlock(host);
    return good;
}

/* ---- retiring ---- */

struct retiring {
    dpx_host *host;
    dpx_caller *caller;
    uint32_t slot;
    uint64_t generation;
    uint64_t deadline;
    dpx_failure *failure;
};

static dpx_status out_of_time(const struct retiring *retiring)
{
    const dpx_host *host = retiring->host;
    if (host->over)
        return dpx_fail_finished(host, retiring->failure);
    retiring->failure->value = dpx_peers_until_silent(host->world.peers, retiring->slot, dpx_now());
    return dpx_fail(retiring->failure, DPX_E_TIMEOUT);
}

static dpx_status nap(struct retiring *retiring)
{
    dpx_host *host = retiring->host;
    uint64_t until = dpx_now() + host->geometry.outage_tolerance / 32;
    if (until > retiring->deadline)
        until = retiring->deadline;
    while (!host->over && dpx_wait(host, retiring->caller, &until))
        continue;
    if (until == 0)
        retiring->deadline = 0;
    return host->over || dpx_now() >= retiring->deadline ? out_of_time(retiring) : DPX_OK;
}

/* Silent, then a notice with the retired bit, durable, and unmoved since. */
static dpx_status sentence(struct retiring *retiring)
{
    dpx_host *host = retiring->host;
    dpx_heart *heart = host->heart->machine.heart;
    uint64_t again = 0;
    while (!dpx_heart_retired(heart, retiring->slot, retiring->generation)) {
        const dpx_peer *peer = &host->world.peers->slots[retiring->slot];
        uint64_t now = dpx_now();
        if (dpx_peer_free(peer))
            return DPX_OK;
        if (peer->record.state == DPX_SLOT_ACTIVE && peer->record.who.generation > retiring->generation)
            return dpx_fail(retiring->failure, DPX_E_NOT_DRAINED); /* somebody lives there now */
        if (now >= again && dpx_peers_silent(host->world.peers, retiring->slot)) {
            dpx_heart_retire(heart, retiring->slot, retiring->generation);
            dpx_task_drive(host->heart);
            again = now + host->geometry.outage_tolerance;
        }
        dpx_status status = nap(retiring);
        if (status != DPX_OK)
            return status;
    }
    return DPX_OK;
}

static dpx_status bury(struct retiring *retiring)
{
    dpx_host *host = retiring->host;
    for (;;) {
        const dpx_peer *peer = &host->world.peers->slots[retiring->slot];
        bool moved_on = peer->record.who.generation > retiring->generation && !host->reclaim &&
                        peer->record.state == DPX_SLOT_ACTIVE;
        if (dpx_peer_free(peer) || moved_on)
            return DPX_OK;
        if (!host->reclaim && host->reclaim_after <= dpx_now()) {
            int error = dpx_reclaim_start(host, retiring->slot);
            if (error != 0)
                return dpx_fail_errno(retiring->failure, -error);
        }
        dpx_status status = nap(retiring);
        if (status != DPX_OK)
            return status;
    }
}

dpx_status dpx_host_retire(dpx_host *host, uint32_t slot, uint64_t timeout, dpx_failure *failure)
{
    struct retiring retiring = {.host = host, .slot = slot, .failure = failure};
    dpx_status status = dpx_enter(host, &retiring.caller, failure);
    if (status != DPX_OK)
        return status;
    if (slot >= host->geometry.max_hosts || slot == host->world.self.slot) {
        status = dpx_fail(failure, DPX_E_INVALID);
    } else {
        retiring.generation = host->world.peers->slots[slot].record.who.generation;
        retiring.deadline = dpx_deadline(dpx_now(), timeout);
        status = sentence(&retiring);
        if (status == DPX_OK)
            status = bury(&retiring);
    }
    dpx_exit(host, retiring.caller);
    return status;
}
