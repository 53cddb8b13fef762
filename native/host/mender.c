/* The mender: one thread per opened lockspace that looks at the superblock of a disk that
 * failed, and opens it anew until it is right again.  It may wait for storage; nobody
 * waits for it. */
#include "engine.h"

#include <errno.h>

#define OPEN_PATIENCE (UINT64_C(250) * DPX_MS)

dpx_disk *dpx_space_disk_of(const dpx_space *space, uint32_t disk)
{
    if (disk >= DPX_MAX_DISKS)
        return NULL;
    dpx_member *member = atomic_load_explicit(&space->by_index[disk], memory_order_acquire);
    if (!member || !atomic_load_explicit(&member->online, memory_order_acquire))
        return NULL;
    return member->disk;
}

void dpx_space_doubt(dpx_space *space, uint32_t disk, int error)
{
    dpx_member *member = disk < DPX_MAX_DISKS ? atomic_load(&space->by_index[disk]) : NULL;
    if (!member || error == 0)
        return;
    atomic_store(&member->doubted, true);
    atomic_store(&space->alarm, 1);
    dpx_futex_wake(&space->alarm);
}

static void tell(dpx_space *space, uint32_t disk, bool up, int error)
{
    pthread_mutex_lock(&space->listening);
    for (dpx_listener *listener = space->listeners; listener; listener = listener->next)
        listener->news(listener->context, disk, up, error);
    pthread_mutex_unlock(&space->listening);
}

void dpx_space_listen(dpx_space *space, dpx_listener *listener)
{
    pthread_mutex_lock(&space->listening);
    listener->next = space->listeners;
    space->listeners = listener;
    pthread_mutex_unlock(&space->listening);
}

static bool vetted(dpx_space *space, const dpx_member *member)
{
    bool good = true;
    pthread_mutex_lock(&space->listening);
    for (dpx_listener *listener = space->listeners; listener; listener = listener->next)
        good &= listener->vet(listener->context, member->disk, member->index, &listener->gone);
    pthread_mutex_unlock(&space->listening);
    return good;
}

void dpx_space_unlisten(dpx_space *space, dpx_listener *listener)
{
    atomic_store(&listener->gone, true);
    pthread_mutex_lock(&space->listening);
    for (dpx_listener **at = &space->listeners; *at; at = &(*at)->next) {
        if (*at == listener) {
            *at = listener->next;
            break;
        }
    }
    pthread_mutex_unlock(&space->listening);
}

static void put_down(dpx_space *space, dpx_member *member, const dpx_failure *failure)
{
    bool was_online = atomic_exchange(&member->online, false);
    pthread_mutex_lock(&space->lock);
    member->trouble = failure->status;
    member->error = failure->error;
    pthread_mutex_unlock(&space->lock);
    if (was_online)
        tell(space, member->index, false, failure->error);
}

/* Which other path leads to the same disk, or claims the same place in the lockspace? */
static bool is_double(const dpx_space *space, const dpx_member *member, const dpx_look *look)
{
    for (uint32_t i = 0; i < space->count; i++) {
        const dpx_member *other = &space->members[i];
        if (other == member)
            continue;
        bool same_file = other->opened && other->facts.device == look->facts.device &&
                         other->facts.inode == look->facts.inode;
        if (same_file || (other->assigned && other->index == look->index))
            return true;
    }
    return false;
}

static bool same_place(const dpx_disk_facts *one, const dpx_disk_facts *other)
{
    return one->device == other->device && one->inode == other->inode;
}

static void put_up(dpx_space *space, dpx_member *member, const dpx_look *look)
{
    dpx_failure failure;
    bool elsewhere = member->opened && look->opened && !same_place(&member->used, &look->facts);
    dpx_look_matches(look, &space->expected, &failure);
    if (failure.status == DPX_OK && member->assigned && member->index != look->index)
        failure.status = DPX_E_OTHER_LOCKSPACE; /* the path leads to another of its disks now */
    pthread_mutex_lock(&space->lock);
    if (look->opened) {
        member->opened = true;
        member->facts = look->facts;
    }
    if (failure.status == DPX_OK && is_double(space, member, look))
        failure.status = DPX_E_SAME_DISK;
    if (failure.status == DPX_OK) {
        member->assigned = true;
        member->index = look->index;
        member->trouble = DPX_OK;
        member->error = 0;
    }
    pthread_mutex_unlock(&space->lock);
    if (failure.status == DPX_OK && elsewhere && !vetted(space, member)) {
        failure.status = DPX_E_OUTDATED_DISK;
        failure.error = ESTALE;
    }
    if (failure.status != DPX_OK) {
        put_down(space, member, &failure);
        return;
    }
    member->used = look->facts;
    member->wanders |= elsewhere && !same_place(&member->led, &member->used);
    dpx_member_shape(space, member);
    atomic_store(&space->by_index[member->index], member);
    atomic_store(&member->doubted, false);
    if (!atomic_exchange(&member->online, true))
        tell(space, member->index, true, 0);
}

/* Somebody put another file in its place, or the path was turned to another device: whoever opens it from now on uses
 * that one, and what is held by the old one is held beside them.  Some file systems give new numbers at every look. */
static bool leads_elsewhere(dpx_member *member)
{
    dpx_disk_facts first, second;
    uint64_t deadline = dpx_now() + OPEN_PATIENCE;
    if (member->wanders || dpx_disk_leads(member->disk, deadline, &first) != 0 || same_place(&first, &member->used))
        return false;
    if (dpx_disk_leads(member->disk, deadline, &second) != 0 || same_place(&second, &member->used))
        return false;
    member->led = first;
    member->wanders = !same_place(&first, &second);
    return !member->wanders;
}

/* Nothing was cut off since it was opened. */
static bool reaches_end(const dpx_space *space, const dpx_member *member, dpx_failure *failure)
{
    const dpx_geometry *geometry = &space->geometry;
    uint8_t block[DPX_BLOCK_MAX];
    uint64_t deadline = dpx_now() + dpx_io_limit(geometry);
    int error = dpx_transfer(member->disk, false, geometry->total_blocks - 1, 1, geometry->block_size, block,
                             deadline, &space->stopping);
    failure->status = error == 0 ? DPX_OK : DPX_E_SYSTEM;
    failure->error = -error;
    return error == 0;
}

static void learn_from(dpx_space *space, const dpx_look *look, uint32_t disk)
{
    uint32_t *expected = &space->expected.disk_generation[disk];
    dpx_failure failure;
    if (dpx_look_matches(look, &space->expected, &failure) == DPX_OK &&
        look->geometry.disk_generation[disk] > *expected)
        *expected = look->geometry.disk_generation[disk];
}

/* A rebuild raises the generation of the disk that it makes in all superblocks.  Before a
 * disk is taken into use again they are asked: the one that was replaced must not count
 * when it returns, however long ago this lockspace was opened. */
static void learn_generation(dpx_space *space, const dpx_member *returning, const dpx_look *look)
{
    uint64_t limit = dpx_io_limit(&space->geometry);
    if (look->failure.status != DPX_OK)
        return;
    for (uint32_t i = 0; i < space->count && !atomic_load(&space->stopping); i++) {
        dpx_member *other = &space->members[i];
        dpx_look its;
        if (other == returning || !atomic_load(&other->online))
            continue;
        dpx_look_at(other, space->geometry.block_size, 0, dpx_now() + limit, &space->stopping, &its);
        learn_from(space, &its, look->index);
    }
    learn_from(space, look, look->index);
}

static void mend(dpx_space *space, dpx_member *member)
{
    uint32_t block_size = member->assigned ? space->geometry.block_size : DPX_BLOCK_MIN;
    uint64_t limit = dpx_io_limit(&space->geometry);
    dpx_look look;
    if (atomic_load(&member->online)) {
        bool elsewhere = leads_elsewhere(member);
        if (!atomic_exchange(&member->doubted, false) && !elsewhere)
            return;
        dpx_failure failure = {.status = DPX_E_SYSTEM, .error = ESTALE};
        if (!elsewhere)
            dpx_look_at(member, block_size, 0, dpx_now() + limit, &space->stopping, &look);
        bool matches = !elsewhere && dpx_look_matches(&look, &space->expected, &failure) == DPX_OK;
        if (matches && look.index == member->index && reaches_end(space, member, &failure))
            return; /* the fault was local to that I/O */
        if (failure.status == DPX_E_SYSTEM && failure.error == ETIMEDOUT)
            return; /* slow or hung: the engine goes on without it, and sees it return */
        put_down(space, member, &failure);
    }
    uint64_t now = dpx_now();
    uint64_t open_by = now + (limit < OPEN_PATIENCE ? limit : OPEN_PATIENCE);
    dpx_look_at(member, block_size, open_by, now + limit, &space->stopping, &look);
    learn_generation(space, member, &look);
    put_up(space, member, &look);
}

static uint64_t interval(const dpx_space *space)
{
    uint64_t tick = space->geometry.outage_tolerance / 16;
    return tick < DPX_SECOND ? tick : DPX_SECOND;
}

static void *mender_main(void *argument)
{
    dpx_space *space = argument;
    while (!atomic_load(&space->stopping)) {
        dpx_futex_wait(&space->alarm, 0, interval(space));
        atomic_store(&space->alarm, 0);
        for (uint32_t i = 0; i < space->count && !atomic_load(&space->stopping); i++)
            mend(space, &space->members[i]);
    }
    return NULL;
}

int dpx_mender_start(dpx_space *space)
{
    space->expected = space->geometry;
    int error = dpx_host_thread(&space->mender, mender_main, space, NULL, 0);
    space->mending = error == 0;
    return error;
}

void dpx_mender_stop(dpx_space *space)
{
    if (!space->mending)
        return;
    atomic_store(&space->stopping, true);
    atomic_store(&space->alarm, 1);
    dpx_futex_wake(&space->alarm);
    pthread_join(space->mender, NULL);
    space->mending = false;
}
