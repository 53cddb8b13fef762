/* Opening a lockspace: all paths at once, a sound superblock on a majority. */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STOP_PATIENCE DPX_SECOND

struct glance {
    dpx_member *member;
    uint64_t deadline;
    pthread_t thread;
    bool started;
    dpx_look look;
};

static void *glance_main(void *argument)
{
    struct glance *glance = argument;
    dpx_look_at(glance->member, DPX_BLOCK_MIN, glance->deadline, glance->deadline, NULL, &glance->look);
    return NULL;
}

/* Looks at every path at the same time: one that hangs costs the others nothing. */
static void look_around(dpx_space *space, struct glance *glances, uint64_t deadline)
{
    for (uint32_t i = 0; i < space->count; i++) {
        glances[i] = (struct glance){.member = &space->members[i], .deadline = deadline};
        glances[i].started = dpx_host_thread(&glances[i].thread, glance_main, &glances[i], NULL, 0) == 0;
    }
    for (uint32_t i = 0; i < space->count; i++) {
        if (glances[i].started)
            pthread_join(glances[i].thread, NULL);
        else
            glance_main(&glances[i]);
    }
}

static dpx_status fail_at(const dpx_space *space, uint32_t path, dpx_status status, dpx_failure *failure)
{
    failure->status = status;
    snprintf(failure->path, sizeof failure->path, "%s", space->members[path].path);
    return status;
}

static const dpx_look *first_sound(const dpx_space *space, const struct glance *glances)
{
    for (uint32_t i = 0; i < space->count; i++)
        if (glances[i].look.failure.status == DPX_OK)
            return &glances[i].look;
    return NULL;
}

static bool knows_geometry(const dpx_look *look)
{
    dpx_status status = look->failure.status;
    return status == DPX_OK || status == DPX_E_BLOCK_SIZE || status == DPX_E_TRUNCATED;
}

/* Disks that belong elsewhere, or were named twice: mistakes, not absences. */
static dpx_status find_mistakes(const dpx_space *space, const struct glance *glances,
                                const dpx_geometry *geometry, dpx_failure *failure)
{
    for (uint32_t i = 0; i < space->count; i++) {
        const dpx_look *look = &glances[i].look;
        if (look->failure.status == DPX_E_FEATURE || look->failure.status == DPX_E_VERSION) {
            *failure = look->failure;
            return failure->status;
        }
        for (uint32_t j = 0; j < i; j++) {
            const dpx_look *other = &glances[j].look;
            if (look->opened && other->opened && look->facts.device == other->facts.device &&
                look->facts.inode == other->facts.inode)
                return fail_at(space, i, DPX_E_SAME_DISK, failure);
        }
    }
    for (uint32_t i = 0; geometry && i < space->count; i++) {
        const dpx_look *look = &glances[i].look;
        if (!knows_geometry(look))
            continue;
        if (!dpx_uuid_equal(&look->geometry.uuid, &geometry->uuid))
            return fail_at(space, i, DPX_E_OTHER_LOCKSPACE, failure);
        for (uint32_t j = 0; j < i; j++)
            if (knows_geometry(&glances[j].look) && glances[j].look.index == look->index)
                return fail_at(space, i, DPX_E_SAME_DISK, failure);
    }
    return DPX_OK;
}

/* A rebuild raises a disk's generation in all superblocks: whatever any of them says makes
 * an older copy of that disk outdated. */
static void settle_generations(dpx_space *space, const struct glance *glances)
{
    dpx_geometry *geometry = &space->geometry;
    for (uint32_t i = 0; i < space->count; i++) {
        const dpx_look *look = &glances[i].look;
        if (look->failure.status != DPX_OK)
            continue;
        for (uint32_t disk = 0; disk < geometry->disks; disk++)
            if (look->geometry.disk_generation[disk] > geometry->disk_generation[disk])
                geometry->disk_generation[disk] = look->geometry.disk_generation[disk];
    }
}

void dpx_member_shape(const dpx_space *space, dpx_member *member)
{
    dpx_disk_block_size(member->disk, space->geometry.block_size);
    dpx_disk_queueing(member->disk, dpx_io_limit(&space->geometry) / DPX_QUEUEING_PART);
}

static uint32_t admit(dpx_space *space, const struct glance *glances, dpx_failure *failure)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < space->count; i++) {
        dpx_member *member = &space->members[i];
        const dpx_look *look = &glances[i].look;
        dpx_failure why;
        member->opened = look->opened;
        member->facts = member->used = look->facts;
        dpx_status status = dpx_look_matches(look, &space->geometry, &why);
        member->trouble = status;
        member->error = why.error;
        if (knows_geometry(look)) {
            member->assigned = true;
            member->index = look->index;
        }
        if (status != DPX_OK) {
            snprintf(why.path, sizeof why.path, "%s", member->path);
            *failure = why;
            continue;
        }
        dpx_member_shape(space, member);
        atomic_store(&member->online, true);
        good++;
    }
    for (uint32_t i = 0; i < space->count; i++)
        if (space->members[i].assigned)
            atomic_store(&space->by_index[space->members[i].index], &space->members[i]);
    return good;
}

static dpx_status judge(dpx_space *space, const struct glance *glances, dpx_failure *failure)
{
    const dpx_look *reference = first_sound(space, glances);
    dpx_status status = find_mistakes(space, glances, reference ? &reference->geometry : NULL, failure);
    if (status != DPX_OK)
        return status;
    if (!reference) {
        *failure = glances[0].look.failure;
        return failure->status;
    }
    space->geometry = reference->geometry;
    if (space->count > space->geometry.disks || space->count < dpx_majority(&space->geometry)) {
        failure->value = space->geometry.disks;
        return fail_at(space, space->count - 1, DPX_E_DISK_COUNT, failure);
    }
    settle_generations(space, glances);
    uint32_t good = admit(space, glances, failure);
    if (good >= dpx_majority(&space->geometry)) {
        dpx_failure_clear(failure);
        return DPX_OK;
    }
    if (space->geometry.disks > 1) {
        failure->value = good;
        failure->status = DPX_E_NO_MAJORITY;
    }
    return failure->status;
}

static dpx_status start_disks(dpx_space *space, const char *const *paths, uint32_t count,
                              dpx_failure *failure)
{
    for (uint32_t i = 0; i < count; i++) {
        dpx_member *member = &space->members[i];
        snprintf(member->path, sizeof member->path, "%s", paths[i]);
        if (strlen(paths[i]) >= sizeof member->path) {
            failure->error = ENAMETOOLONG;
            return fail_at(space, i, DPX_E_SYSTEM, failure);
        }
        int error = dpx_disk_start(member->path, space->read_only, DPX_WORKERS, &member->disk);
        if (error != 0) {
            failure->error = -error;
            return fail_at(space, i, DPX_E_SYSTEM, failure);
        }
        space->count = i + 1;
    }
    return DPX_OK;
}

dpx_status dpx_space_open(const char *const *paths, uint32_t count, bool read_only, uint64_t timeout,
                          dpx_space **out, dpx_failure *failure)
{
    struct glance glances[DPX_MAX_DISKS];
    *out = NULL;
    dpx_failure_clear(failure);
    if (count == 0 || count > DPX_MAX_DISKS) {
        failure->value = DPX_MAX_DISKS;
        return dpx_fail(failure, count == 0 ? DPX_E_INVALID : DPX_E_DISK_COUNT);
    }
    dpx_space *space = calloc(1, sizeof *space);
    if (!space)
        return dpx_fail_errno(failure, ENOMEM);
    pthread_mutex_init(&space->lock, NULL);
    pthread_mutex_init(&space->listening, NULL);
    space->read_only = read_only;
    space->pid = getpid();
    dpx_status status = start_disks(space, paths, count, failure);
    if (status == DPX_OK) {
        look_around(space, glances, dpx_deadline(dpx_now(), timeout));
        status = judge(space, glances, failure);
    }
    if (status == DPX_OK) {
        int error = dpx_mender_start(space);
        if (error != 0)
            status = dpx_fail_errno(failure, -error);
    }
    if (status != DPX_OK) {
        dpx_space_close(space);
        return status;
    }
    *out = space;
    return DPX_OK;
}

void dpx_space_close(dpx_space *space)
{
    bool stuck = false;
    if (!space || getpid() != space->pid) /* a child has no threads to end */
        return;
    dpx_mender_stop(space);
    uint64_t deadline = dpx_now() + STOP_PATIENCE;
    for (uint32_t i = 0; i < space->count; i++)
        stuck |= !dpx_disk_stop(space->members[i].disk, deadline);
    pthread_mutex_destroy(&space->lock);
    pthread_mutex_destroy(&space->listening);
    /* What still hangs belongs to requests with memory of their own; nothing of it leads here. */
    (void)stuck;
    free(space);
}

const dpx_geometry *dpx_space_geometry(const dpx_space *space)
{
    return &space->geometry;
}

uint32_t dpx_space_disks(const dpx_space *space, dpx_space_disk *disks, uint32_t capacity)
{
    dpx_space *mine = (dpx_space *)(uintptr_t)space; /* only its lock is touched */
    pthread_mutex_lock(&mine->lock);
    for (uint32_t i = 0; i < space->count && i < capacity; i++) {
        const dpx_member *member = &space->members[i];
        dpx_space_disk *disk = &disks[i];
        memset(disk, 0, sizeof *disk);
        memcpy(disk->path, member->path, sizeof disk->path);
        disk->assigned = member->assigned;
        disk->index = member->index;
        disk->online = atomic_load(&member->online);
        disk->trouble = member->trouble;
        disk->error = member->error;
        disk->network = member->facts.network;
        disk->block_device = member->facts.block_device;
        disk->oldest = dpx_disk_oldest(member->disk);
    }
    pthread_mutex_unlock(&mine->lock);
    return space->count;
}

static dpx_status move(dpx_space *space, bool write, uint32_t disk, uint64_t block, uint32_t count,
                       void *data, uint64_t timeout, dpx_failure *failure)
{
    dpx_failure_clear(failure);
    failure->disk = disk;
    failure->block = block;
    dpx_failure_path(space, failure);
    if (getpid() != space->pid)
        return dpx_fail(failure, DPX_E_FORKED);
    if (write && space->read_only)
        return dpx_fail(failure, DPX_E_READ_ONLY);
    /* A disk that does not count (an outdated one) may still be looked at, and rebuilt. */
    dpx_member *member = disk < DPX_MAX_DISKS ? atomic_load(&space->by_index[disk]) : NULL;
    dpx_disk *target = member ? member->disk : NULL;
    if (!target || !dpx_disk_is_open(target)) {
        failure->error = ENODEV;
        return dpx_fail(failure, DPX_E_STORAGE);
    }
    uint64_t deadline = dpx_deadline(dpx_now(), timeout);
    int error = dpx_transfer(target, write, block, count, space->geometry.block_size, data, deadline, NULL);
    if (error == 0)
        return DPX_OK;
    if (error != -ETIMEDOUT)
        dpx_space_doubt(space, disk, error);
    failure->error = -error;
    return dpx_fail(failure, error == -ENOMEM ? DPX_E_SYSTEM : DPX_E_STORAGE);
}

dpx_status dpx_space_read(dpx_space *space, uint32_t disk, uint64_t block, uint32_t count, void *data,
                          uint64_t timeout, dpx_failure *failure)
{
    return move(space, false, disk, block, count, data, timeout, failure);
}

dpx_status dpx_space_write(dpx_space *space, uint32_t disk, uint64_t block, uint32_t count, const void *data,
                           uint64_t timeout, dpx_failure *failure)
{
    return move(space, true, disk, block, count, (void *)(uintptr_t)data, timeout, failure);
}
