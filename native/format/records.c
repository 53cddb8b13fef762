/* Slot records, notice blocks, lease headers and own blocks: encode and decode. */
#include "wire.h"

static void shape_load_times(const dpx_disk_shape *shape, dpx_slot_record *record)
{
    record->outage_tolerance = dpx_load64(&shape->outage_tolerance);
    record->kill_grace = dpx_load64(&shape->kill_grace);
    record->watchdog_timeout = dpx_load64(&shape->watchdog_timeout);
}

/* ---- slot records ---- */

static void mailbox_load(const dpx_disk_mail *mailbox, dpx_mail *mails)
{
    for (uint32_t i = 0; i < DPX_MAILS; i++)
        mails[i] = (dpx_mail){.kind = (enum dpx_mail_kind)dpx_load32(&mailbox[i].kind),
                              .slot = dpx_load32(&mailbox[i].slot),
                              .generation = dpx_load64(&mailbox[i].generation),
                              .area = dpx_load32(&mailbox[i].area),
                              .serial = dpx_load64(&mailbox[i].serial)};
}

static void mailbox_store(dpx_disk_mail *mailbox, const dpx_mail *mails)
{
    for (uint32_t i = 0; i < DPX_MAILS; i++) {
        dpx_store32(&mailbox[i].kind, (uint32_t)mails[i].kind);
        dpx_store32(&mailbox[i].slot, mails[i].slot);
        dpx_store64(&mailbox[i].generation, mails[i].generation);
        dpx_store32(&mailbox[i].area, mails[i].area);
        dpx_store64(&mailbox[i].serial, mails[i].serial);
    }
}

void dpx_slot_decode(const void *data, dpx_slot_record *record)
{
    const dpx_disk_slot *block = data;
    *record = (dpx_slot_record){
        .who.slot = dpx_load32(&block->slot),
        .who.generation = dpx_load64(&block->common.generation),
        .who.nonce = block->nonce,
        .sequence = dpx_load64(&block->common.sequence),
        .written_at = dpx_load64(&block->common.written_at),
        .state = (enum dpx_slot_state)block->state,
        .flags = block->flags,
        .counter = dpx_load64(&block->counter),
        .host = block->host,
        .boot = block->boot,
        .pid = dpx_load64(&block->pid),
        .start_time = dpx_load64(&block->start_time),
        .pid_namespace = dpx_load64(&block->pid_namespace),
        .notices = dpx_load32(&block->notices),
        .software = dpx_load32(&block->software),
        .joined_at = dpx_load64(&block->joined_at),
        .predecessor = {.slot = dpx_load32(&block->predecessor_slot),
                        .generation = dpx_load64(&block->predecessor_generation),
                        .nonce = block->predecessor_nonce},
        .reservation_key = dpx_load64(&block->reservation_key),
        .time_namespace = dpx_load64(&block->time_namespace),
    };
    shape_load_times(&block->shape, record);
    mailbox_load(block->mailbox, record->mailbox);
    dpx_text_load(record->host_name, DPX_HOST_NAME_MAX, block->host_name, block->host_name_length);
}

void dpx_slot_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_slot_record *record)
{
    dpx_disk_slot *block = data;
    assert(record->state <= DPX_SLOT_ACTIVE && record->notices <= geometry->max_hosts);
    dpx_block_open(data, geometry, DPX_KIND_SLOT, disk, dpx_slot_block(geometry, record->who.slot),
                   record->who.generation, record->sequence, record->written_at);
    dpx_store32(&block->slot, record->who.slot);
    block->state = (uint8_t)record->state;
    block->flags = record->flags;
    block->nonce = record->who.nonce;
    dpx_store64(&block->counter, record->counter);
    block->host = record->host;
    block->boot = record->boot;
    dpx_store64(&block->pid, record->pid);
    dpx_store64(&block->start_time, record->start_time);
    dpx_store64(&block->pid_namespace, record->pid_namespace);
    dpx_store32(&block->notices, record->notices);
    dpx_store32(&block->software, record->software);
    dpx_store64(&block->joined_at, record->joined_at);
    mailbox_store(block->mailbox, record->mailbox);
    dpx_store32(&block->predecessor_slot, record->predecessor.slot);
    dpx_store64(&block->predecessor_generation, record->predecessor.generation);
    block->predecessor_nonce = record->predecessor.nonce;
    dpx_store64(&block->reservation_key, record->reservation_key);
    dpx_store64(&block->time_namespace, record->time_namespace);

    dpx_shape_store(&block->shape, geometry);
    /* The owner's times; a record that names none (a free one) repeats the lockspace's. */
    if (record->outage_tolerance || record->kill_grace || record->watchdog_timeout) {
        assert(dpx_times_sound(record->outage_tolerance, record->kill_grace, record->watchdog_timeout,
                               geometry->claim_time));
        dpx_store64(&block->shape.outage_tolerance, record->outage_tolerance);
        dpx_store64(&block->shape.kill_grace, record->kill_grace);
        dpx_store64(&block->shape.watchdog_timeout, record->watchdog_timeout);
    }

    block->host_name_length = (uint8_t)dpx_label_store(block->host_name, DPX_HOST_NAME_MAX, record->host_name,
                                                       dpx_text_length(record->host_name, DPX_HOST_NAME_MAX));
    block->space_name_length = (uint8_t)dpx_label_store(block->space_name, DPX_SPACE_NAME_MAX, geometry->name,
                                                        dpx_text_length(geometry->name, DPX_SPACE_NAME_MAX));
    dpx_block_seal(data, geometry);
}

/* ---- notice blocks ---- */

dpx_notice dpx_notice_entry(const void *data, uint32_t position)
{
    const uint8_t *array = (const uint8_t *)data + offsetof(dpx_disk_notice, entries);
    uint64_t entry = dpx_load64(array + 8 * (size_t)position);
    return (dpx_notice){.about = (uint32_t)entry, .certificate = (uint32_t)(entry >> 32)};
}

dpx_incarnation dpx_notice_writer(const void *data, uint32_t slot)
{
    const dpx_disk_notice *block = data;
    return (dpx_incarnation){
        .slot = slot, .generation = dpx_load64(&block->common.generation), .nonce = block->nonce};
}

void dpx_notice_decode(const void *data, const dpx_geometry *geometry, dpx_incarnation *who, uint64_t *sequence,
                       dpx_notice *entries)
{
    const dpx_disk_notice *block = data;
    *who = dpx_notice_writer(data, dpx_place_of(geometry, dpx_load64(&block->common.index)).slot);
    *sequence = dpx_load64(&block->common.sequence);
    for (uint32_t i = 0; i < geometry->notice_entries; i++)
        entries[i] = dpx_notice_entry(data, i);
}

void dpx_notice_encode(void *data, const dpx_geometry *geometry, uint32_t disk, uint32_t part,
                       const dpx_incarnation *who, uint64_t sequence, uint64_t written_at,
                       const dpx_notice *entries)
{
    dpx_disk_notice *block = data;
    uint8_t *array = (uint8_t *)data + offsetof(dpx_disk_notice, entries);
    dpx_block_open(data, geometry, DPX_KIND_NOTICE, disk, dpx_notice_block(geometry, who->slot, part),
                   who->generation, sequence, written_at);
    block->nonce = who->nonce;
    for (uint32_t i = 0; i < geometry->notice_entries; i++)
        dpx_store64(array + 8 * (size_t)i, (uint64_t)entries[i].certificate << 32 | entries[i].about);
    dpx_block_seal(data, geometry);
}

/* ---- lease headers ---- */

void dpx_header_decode(const void *data, dpx_header *header)
{
    const dpx_disk_header *block = data;
    *header = (dpx_header){
        .directory_token = dpx_load64(&block->common.generation),
        .sequence = dpx_load64(&block->common.sequence),
        .written_at = dpx_load64(&block->common.written_at),
        .area = dpx_load32(&block->area),
        .state = (enum dpx_lease_state)block->state,
        .lease = block->lease,
        .first_ballot = dpx_load64(&block->first_ballot),
        .created_at = dpx_load64(&block->created_at),
    };
    header->name_length =
        (uint8_t)dpx_text_load(header->name, DPX_LEASE_NAME_MAX, block->name, block->name_length);
}

void dpx_header_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_header *header)
{
    dpx_disk_header *block = data;
    assert(header->state <= DPX_LEASE_TOMBSTONE && header->name_length <= DPX_LEASE_NAME_MAX);
    assert(header->state != DPX_LEASE_IN_USE || header->name_length > 0);
    dpx_block_open(data, geometry, DPX_KIND_HEADER, disk, dpx_header_block(geometry, header->area),
                   header->directory_token, header->sequence, header->written_at);
    dpx_store32(&block->area, header->area);
    block->state = (uint8_t)header->state;
    block->name_length = header->name_length;
    block->lease = header->lease;
    dpx_store64(&block->first_ballot, header->first_ballot);
    dpx_store64(&block->created_at, header->created_at);
    dpx_shape_store(&block->shape, geometry);
    memcpy(block->name, header->name, header->name_length);
    dpx_block_seal(data, geometry);
}

/* ---- own blocks ---- */

void dpx_own_decode(const void *data, dpx_own *own)
{
    const dpx_disk_own *block = data;
    *own = (dpx_own){
        .who.slot = dpx_load32(&block->slot),
        .who.generation = dpx_load64(&block->common.generation),
        .who.nonce = block->nonce,
        .sequence = dpx_load64(&block->common.sequence),
        .written_at = dpx_load64(&block->common.written_at),
        .area = dpx_load32(&block->area),
        .lease = block->lease,
        .directory_token = dpx_load64(&block->directory_token),
        .ballot = dpx_load64(&block->ballot),
        .hold = dpx_load64(&block->hold),
        .last_exclusive = dpx_load64(&block->last_exclusive),
        .change_token = dpx_load64(&block->change_token),
        .ticket = dpx_load64(&block->ticket),
        .ticket_at = dpx_load64(&block->ticket_at),
        .held_since = dpx_load64(&block->held_since),
        .target = dpx_load32(&block->target),
        .mode = (enum dpx_mode)block->mode,
        .certainly_taken = dpx_load64(&block->certainly_taken),
        .taken = block->taken != 0,
        .holder = block->holder,
    };
    own->label_length =
        (uint8_t)dpx_text_load(own->label, sizeof block->label, block->label, block->label_length);
}

void dpx_own_encode(void *data, const dpx_geometry *geometry, uint32_t disk, const dpx_own *own)
{
    dpx_disk_own *block = data;
    /* What dpx_block_check would refuse must never reach a disk. */
    assert(own->mode <= DPX_MODE_EXCLUSIVE && (own->hold == 0 || own->mode != DPX_MODE_NONE));
    assert(own->hold != 0 || !own->taken);
    assert(own->hold <= own->ballot && own->last_exclusive <= own->ballot && own->certainly_taken <= own->ballot);
    assert(own->target < geometry->max_leases);
    dpx_block_open(data, geometry, DPX_KIND_OWN, disk, dpx_own_block(geometry, own->area, own->who.slot),
                   own->who.generation, own->sequence, own->written_at);
    dpx_store32(&block->slot, own->who.slot);
    dpx_store32(&block->area, own->area);
    block->nonce = own->who.nonce;
    block->lease = own->lease;
    dpx_store64(&block->directory_token, own->directory_token);
    dpx_store64(&block->ballot, own->ballot);
    dpx_store64(&block->hold, own->hold);
    dpx_store64(&block->last_exclusive, own->last_exclusive);
    dpx_store64(&block->change_token, own->change_token);
    dpx_store64(&block->ticket, own->ticket);
    dpx_store64(&block->ticket_at, own->ticket_at);
    dpx_store64(&block->held_since, own->held_since);
    dpx_store32(&block->target, own->target);
    dpx_store64(&block->certainly_taken, own->certainly_taken);
    block->holder = own->holder;
    block->mode = (uint8_t)own->mode;
    block->taken = own->taken;
    size_t length = own->label_length < sizeof own->label ? own->label_length : sizeof own->label - 1;
    block->label_length = (uint8_t)dpx_label_store(block->label, sizeof block->label, own->label, length);
    dpx_block_seal(data, geometry);
}

/* ---- an empty lockspace ---- */

void dpx_empty_encode(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t index,
                      uint64_t written_at)
{
    dpx_place place = dpx_place_of(geometry, index);
    assert(place.kind != DPX_KIND_SUPERBLOCK);
    if (place.kind == DPX_KIND_SLOT) {
        dpx_slot_record record = {.who.slot = place.slot, .written_at = written_at};
        dpx_slot_encode(data, geometry, disk, &record);
    } else if (place.kind == DPX_KIND_NOTICE) {
        static const dpx_notice none[DPX_BLOCK_MAX / 8];
        const dpx_incarnation nobody = {.slot = place.slot};
        dpx_notice_encode(data, geometry, disk, place.part, &nobody, 0, written_at, none);
    } else if (place.kind == DPX_KIND_GROUP) {
        dpx_disk_group *block = data;
        dpx_block_open(data, geometry, DPX_KIND_GROUP, disk, index, 0, 0, written_at);
        dpx_store32(&block->group, place.group);
        dpx_block_seal(data, geometry);
    } else if (place.kind == DPX_KIND_HEADER) {
        dpx_header header = {.area = place.area, .written_at = written_at};
        if (place.area == DPX_DIRECTORY_AREA) {
            header.state = DPX_LEASE_IN_USE;
            header.lease = geometry->uuid;
            header.created_at = written_at;
            header.name_length = sizeof DPX_DIRECTORY_NAME - 1;
            memcpy(header.name, DPX_DIRECTORY_NAME, sizeof DPX_DIRECTORY_NAME);
        }
        dpx_header_encode(data, geometry, disk, &header);
    } else if (place.kind == DPX_KIND_OWN) {
        dpx_own own = {.who.slot = place.slot, .area = place.area, .written_at = written_at};
        dpx_own_encode(data, geometry, disk, &own);
    } else {
        memset(data, 0, geometry->block_size); /* padding: never read as a block */
    }
}
