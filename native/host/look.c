/* What a path shows: is it a disk of a lockspace, of which, and is it fit to be used? */
#include "members.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RECORDS_AT 4096u /* where the slot records begin, whatever the shape */
#define LOOK_BYTES 8192u

static void blame(dpx_look *look, const dpx_member *member, dpx_status status, int error)
{
    look->failure.status = status;
    look->failure.error = error < 0 ? -error : error;
    snprintf(look->failure.path, sizeof look->failure.path, "%s", member->path);
}

static void judge_superblock(dpx_look *look, const dpx_member *member, const uint8_t *data, size_t bytes)
{
    uint64_t sequence;
    dpx_flaw flaw = dpx_superblock_decode(data, bytes, &look->geometry, &look->index, &sequence);
    look->failure.flaw = flaw;
    switch (flaw) {
    case DPX_SOUND:
        if (look->geometry.features_incompatible != 0) {
            blame(look, member, DPX_E_FEATURE, 0);
            look->failure.value = look->geometry.features_incompatible;
        }
        break;
    case DPX_FLAW_ZEROED:
    case DPX_FLAW_MAGIC:
        blame(look, member, DPX_E_NOT_LOCKSPACE, 0);
        break;
    case DPX_FLAW_VERSION:
        blame(look, member, DPX_E_VERSION, 0);
        look->failure.value = (uint64_t)data[8] | (uint64_t)data[9] << 8;
        break;
    default:
        blame(look, member, DPX_E_SUPERBLOCK, 0);
        break;
    }
}

/* A superblock that another disk's was written over: the records behind it tell.  (Believed, it would shut out the
 * disk that it was copied from, or let this one's blocks be judged as another's.) */
static void judge_records(dpx_look *look, const dpx_member *member, const uint8_t *data, size_t bytes)
{
    if (look->failure.status != DPX_OK || bytes <= RECORDS_AT)
        return;
    dpx_flaw flaw = dpx_superblock_belongs(&look->geometry, look->index, data + RECORDS_AT, bytes - RECORDS_AT);
    if (flaw == DPX_SOUND)
        return;
    look->failure.flaw = flaw;
    blame(look, member, DPX_E_SUPERBLOCK, 0);
}

/* Room enough, and blocks that the device can write whole. */
static void judge_device(dpx_look *look, const dpx_member *member)
{
    uint64_t wanted = look->geometry.total_blocks * look->geometry.block_size;
    if (look->failure.status != DPX_OK)
        return;
    if (look->facts.logical_block > look->geometry.block_size) {
        blame(look, member, DPX_E_BLOCK_SIZE, 0);
        look->failure.value = look->facts.logical_block;
    } else if (look->facts.bytes < wanted) {
        blame(look, member, DPX_E_TRUNCATED, 0);
        look->failure.value = wanted;
    }
}

void dpx_look_at(dpx_member *member, uint32_t block_size, uint64_t open_by, uint64_t read_by,
                 const _Atomic bool *stop, dpx_look *look)
{
    uint8_t data[LOOK_BYTES];
    memset(look, 0, sizeof *look);
    if (open_by != 0) {
        int error = dpx_disk_open(member->disk, open_by, &look->facts);
        if (error != 0) {
            blame(look, member, error == -EINVAL ? DPX_E_NO_DIRECT_IO : DPX_E_SYSTEM, error);
            return;
        }
    } else {
        look->facts = member->facts;
    }
    look->opened = true;
    /* A lockspace is larger; but what is smaller may still be recognised as a piece of one. */
    size_t bytes = look->facts.bytes < LOOK_BYTES ? look->facts.bytes / block_size * block_size : LOOK_BYTES;
    if (bytes == 0) {
        blame(look, member, DPX_E_NOT_LOCKSPACE, 0);
        return;
    }
    uint32_t count = (uint32_t)(bytes / block_size);
    int error = dpx_transfer(member->disk, false, 0, count, block_size, data, read_by, stop);
    if (error != 0) {
        blame(look, member, DPX_E_SYSTEM, error);
        return;
    }
    judge_superblock(look, member, data, bytes);
    judge_records(look, member, data, bytes);
    judge_device(look, member);
}

static bool same_shape(const dpx_geometry *a, const dpx_geometry *b)
{
    bool blocks = a->block_size == b->block_size && a->max_hosts == b->max_hosts &&
                  a->max_leases == b->max_leases && a->disks == b->disks;
    bool times = a->outage_tolerance == b->outage_tolerance && a->kill_grace == b->kill_grace &&
                 a->watchdog_timeout == b->watchdog_timeout && a->claim_time == b->claim_time;
    return blocks && times;
}

dpx_status dpx_look_matches(const dpx_look *look, const dpx_geometry *geometry, dpx_failure *failure)
{
    *failure = look->failure;
    if (failure->status != DPX_OK)
        return failure->status;
    if (!dpx_uuid_equal(&look->geometry.uuid, &geometry->uuid)) {
        failure->status = DPX_E_OTHER_LOCKSPACE;
    } else if (!same_shape(&look->geometry, geometry)) {
        failure->status = DPX_E_SUPERBLOCK;
        failure->flaw = DPX_FLAW_FIELD;
    } else if (look->geometry.disk_generation[look->index] < geometry->disk_generation[look->index]) {
        failure->status = DPX_E_OUTDATED_DISK;
        failure->disk = look->index;
    }
    return failure->status;
}
