/* The layout as a table.  Offsets and sizes come from the structures themselves. */
#include "wire.h"

#define SIZE(structure, member) sizeof(((structure *)0)->member)

#define ONE(kind, structure, member, type) \
    {kind, #member, offsetof(structure, member), SIZE(structure, member), 1, type}
#define MANY(kind, structure, member, type)                                                  \
    {kind, #member, offsetof(structure, member), SIZE(structure, member[0]),                 \
     SIZE(structure, member) / SIZE(structure, member[0]), type}
#define SHAPE_ONE(kind, structure, member) \
    {kind, #member, offsetof(structure, shape.member), SIZE(structure, shape.member), 1, 'u'}
#define SHAPE(kind, structure)                                                                \
    SHAPE_ONE(kind, structure, block_size), SHAPE_ONE(kind, structure, max_hosts),            \
        SHAPE_ONE(kind, structure, max_leases),                                               \
        {kind, "disk_generation", offsetof(structure, shape.disk_generation), 4, DPX_MAX_DISKS, 'u'}, \
        SHAPE_ONE(kind, structure, outage_tolerance), SHAPE_ONE(kind, structure, kill_grace), \
        SHAPE_ONE(kind, structure, watchdog_timeout), SHAPE_ONE(kind, structure, claim_time), \
        SHAPE_ONE(kind, structure, disks),                                                    \
        {kind, "shape_reserved", offsetof(structure, shape.reserved), SIZE(structure, shape.reserved), 1, 'b'}

#define COMMON(member, type) ONE(0, dpx_disk_common, member, type)
#define SUPER(member, type) ONE(DPX_KIND_SUPERBLOCK, dpx_disk_superblock, member, type)
#define SLOT(member, type) ONE(DPX_KIND_SLOT, dpx_disk_slot, member, type)
#define HEADER(member, type) ONE(DPX_KIND_HEADER, dpx_disk_header, member, type)
#define GROUP(member, type) ONE(DPX_KIND_GROUP, dpx_disk_group, member, type)
#define OWN(member, type) ONE(DPX_KIND_OWN, dpx_disk_own, member, type)

const dpx_field dpx_fields[] = {
    COMMON(magic, 'b'),
    COMMON(version, 'u'),
    COMMON(kind, 'u'),
    COMMON(disk, 'u'),
    COMMON(crc32c, 'u'),
    COMMON(lockspace, 'i'),
    COMMON(index, 'u'),
    COMMON(generation, 'u'),
    COMMON(sequence, 'u'),
    COMMON(written_at, 'u'),

    SHAPE(DPX_KIND_SUPERBLOCK, dpx_disk_superblock),
    SUPER(features_compatible, 'u'),
    SUPER(features_incompatible, 'u'),
    SUPER(created_at, 'u'),
    SUPER(name_length, 'u'),
    SUPER(name, 's'),
    SUPER(reserved, 'b'),

    SLOT(slot, 'u'),
    SLOT(state, 'u'),
    SLOT(flags, 'u'),
    SLOT(host_name_length, 'u'),
    SLOT(space_name_length, 'u'),
    SLOT(nonce, 'i'),
    SLOT(counter, 'u'),
    SLOT(host, 'i'),
    SLOT(boot, 'i'),
    SLOT(pid, 'u'),
    SLOT(start_time, 'u'),
    SLOT(pid_namespace, 'u'),
    SLOT(notices, 'u'),
    SLOT(software, 'u'),
    SLOT(joined_at, 'u'),
    SHAPE(DPX_KIND_SLOT, dpx_disk_slot),
    SLOT(host_name, 's'),
    SLOT(space_name, 's'),
    SLOT(reserved, 'b'),
    SLOT(mailbox, 'b'),
    SLOT(predecessor_generation, 'u'),
    SLOT(predecessor_nonce, 'i'),
    SLOT(reservation_key, 'u'),
    SLOT(time_namespace, 'u'),
    SLOT(predecessor_slot, 'u'),
    SLOT(reserved_end, 'b'),

    ONE(DPX_KIND_NOTICE, dpx_disk_notice, nonce, 'i'),
    MANY(DPX_KIND_NOTICE, dpx_disk_notice, entries, 'u'),

    HEADER(area, 'u'),
    HEADER(state, 'u'),
    HEADER(name_length, 'u'),
    HEADER(reserved_a, 'b'),
    HEADER(lease, 'i'),
    HEADER(first_ballot, 'u'),
    HEADER(created_at, 'u'),
    SHAPE(DPX_KIND_HEADER, dpx_disk_header),
    HEADER(name, 's'),
    HEADER(reserved, 'b'),

    OWN(slot, 'u'),
    OWN(area, 'u'),
    OWN(nonce, 'i'),
    OWN(lease, 'i'),
    OWN(directory_token, 'u'),
    OWN(ballot, 'u'),
    OWN(hold, 'u'),
    OWN(last_exclusive, 'u'),
    OWN(change_token, 'u'),
    OWN(ticket, 'u'),
    OWN(ticket_at, 'u'),
    OWN(held_since, 'u'),
    OWN(target, 'u'),
    OWN(mode, 'u'),
    OWN(label_length, 'u'),
    OWN(value_length, 'u'),
    OWN(taken, 'u'),
    OWN(label, 's'),
    OWN(certainly_taken, 'u'),
    OWN(holder, 'i'),
    OWN(value_token, 'u'),
    OWN(value, 'b'),
    OWN(reserved, 'b'),

    GROUP(group, 'u'),
    GROUP(reserved, 'b'),
};

const size_t dpx_field_count = sizeof dpx_fields / sizeof dpx_fields[0];
