/* Cleaning up after the dead: slots whose writes cannot come any more are claimed and left. */
#include "engine.h"

#include <errno.h>

static void reclaimed(dpx_task *task)
{
    dpx_host *host = task->host;
    uint64_t again = host->geometry.outage_tolerance / 2;
    dpx_event event = {.kind = DPX_EVENT_RECLAIMED, .slot = host->reclaim_slot};
    host->reclaim = NULL;
    host->reclaim_after = 0;
    if (dpx_task_verdict(task) == DPX_DONE) {
        uint64_t now = dpx_now();
        const dpx_slot_record *freed = dpx_claim_record(task->machine.claim);
        dpx_peers_learn(host->world.peers, host->reclaim_slot, freed, now);
        dpx_tell(host, &event);
    } else {
        const dpx_peer *peer = &host->world.peers->slots[host->reclaim_slot];
        if (peer->record.state == DPX_SLOT_CLAIMING && !peer->voided) /* an owner was found below it */
            dpx_voids_forget(&peer->record.who);
        host->reclaim_after = dpx_now() + again + dpx_random(&host->world) % again;
    }
}

/* A claim that is over may still have I/O under way there, of a disk that holds on to it: never two writes of one
 * record in flight. */
static bool lingers(const dpx_host *host, uint32_t slot)
{
    for (const dpx_task *task = host->active; task; task = task->next)
        if (task->kind == DPX_TASK_CLAIM && dpx_claim_record(task->machine.claim)->who.slot == slot)
            return true;
    return false;
}

int dpx_reclaim_start(dpx_host *host, uint32_t slot)
{
    dpx_uuid nonce;
    dpx_unlock(host);
    dpx_task *task = dpx_task_new(host, DPX_TASK_CLAIM, 1);
    int error = task ? dpx_random_bytes(&nonce, sizeof nonce) : -ENOMEM;
    dpx_lock(host);
    if (error != 0 || host->reclaim || host->over || lingers(host, slot)) {
        if (task)
            dpx_task_drop(task);
        return error;
    }
    uint64_t now = dpx_now();
    /* A life of its own, short and in another slot: it must not touch ours. */
    task->own_world = (dpx_world){.geometry = &host->geometry,
                                  .peers = host->world.peers,
                                  .wall = dpx_wall(),
                                  .random = dpx_random(&host->world)};
    task->world = &task->own_world;
    task->machine.claim = dpx_claim_place(task->memory, task->world);
    task->ended = reclaimed;
    dpx_writer_enter(&task->writer, &nonce);
    host->reclaim = task;
    host->reclaim_slot = slot;
    dpx_claim_begin(task->machine.claim, &host->me, &nonce, slot, true, now, now);
    dpx_task_start(task);
    return 0;
}

static uint32_t next_corpse(dpx_host *host)
{
    for (uint32_t slot = 0; slot < host->geometry.max_hosts; slot++) {
        const dpx_peer *peer = &host->world.peers->slots[slot];
        if (slot == host->world.self.slot || !peer->seen || dpx_peer_free(peer) || lingers(host, slot))
            continue;
        if (dpx_peers_drain(host->world.peers, slot) != DPX_NOT_DRAINED)
            return slot;
        bool worth_knowing = dpx_peers_evidence(host->world.peers, slot) != DPX_NOT_DRAINED;
        if (worth_knowing && !dpx_peers_dead(host->world.peers, &peer->record.who))
            dpx_peers_want_slot(host->world.peers, slot);
    }
    return DPX_ANY_SLOT;
}

void dpx_reclaim_run(dpx_host *host, uint64_t now)
{
    uint64_t spread = host->geometry.outage_tolerance / 4;
    if (host->reclaim || host->over || host->leaving)
        return;
    uint32_t slot = next_corpse(host);
    if (slot == DPX_ANY_SLOT)
        return;
    if (host->reclaim_after == 0) /* every host sees it: not all at once */
        host->reclaim_after = now + dpx_random(&host->world) % (spread + 1) + 1;
    else if (host->reclaim_after <= now)
        dpx_reclaim_start(host, slot);
}
