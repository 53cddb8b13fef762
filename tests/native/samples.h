/* One of everything, with a value of its own in every field. */
#ifndef DPX_TEST_SAMPLES_H
#define DPX_TEST_SAMPLES_H

#include "check.h"
#include "format/format.h"

static inline dpx_geometry sample(uint32_t block_size, uint32_t disks)
{
    dpx_geometry geometry = {
        .block_size = block_size,
        .max_hosts = 64,
        .max_leases = 1024,
        .disks = disks,
        .outage_tolerance = UINT64_C(40000000000),
        .kill_grace = UINT64_C(10000000000),
        .watchdog_timeout = UINT64_C(9000000000),
        .claim_time = UINT64_C(1000000000),
        .features_compatible = UINT64_C(0x8000000000000001),
        .features_incompatible = 6,
        .created_at = UINT64_C(1700000000123456789),
        .name = "Lager Süd",
    };
    for (uint8_t i = 0; i < 16; i++)
        geometry.uuid.bytes[i] = (uint8_t)(i * 17 + 3);
    for (uint32_t i = 0; i < disks; i++)
        geometry.disk_generation[i] = i + 7;
    CHECK(dpx_geometry_derive(&geometry));
    return geometry;
}

static inline dpx_uuid uuid_of(uint8_t seed)
{
    dpx_uuid uuid;
    for (int i = 0; i < 16; i++)
        uuid.bytes[i] = (uint8_t)(seed + i * 29);
    return uuid;
}

static inline dpx_slot_record slot_sample(void)
{
    return (dpx_slot_record){
        .who = {.slot = 63, .generation = UINT64_C(0x1122334455667788), .nonce = uuid_of(1)},
        .sequence = 77,
        .written_at = 88,
        .state = DPX_SLOT_ACTIVE,
        .flags = DPX_SLOT_DRAINS_ON_EXIT | 0x80,
        .counter = UINT64_C(0x99aabbccddeeff00),
        .host = uuid_of(2),
        .boot = uuid_of(3),
        .pid = 4194303,
        .start_time = 123456789,
        .pid_namespace = 4026531836,
        .notices = 64,
        .software = 0x010203,
        .joined_at = 99,
        .outage_tolerance = 4000,
        .kill_grace = 1000,
        .watchdog_timeout = 900,
        .mailbox = {{.kind = DPX_MAIL_REWRITE, .slot = 5, .generation = 6, .area = 7, .serial = 8},
                    {.slot = 9, .serial = UINT64_MAX}},
        .predecessor = {.slot = 62, .generation = 54, .nonce = uuid_of(6)},
        .reservation_key = UINT64_C(0xfedcba9876543210),
        .time_namespace = 4026531834,
        .host_name = "host-α",
    };
}

static inline dpx_header header_sample(void)
{
    return (dpx_header){
        .directory_token = 131079,
        .sequence = 5,
        .written_at = 6,
        .area = 1023,
        .state = DPX_LEASE_IN_USE,
        .lease = uuid_of(9),
        .first_ballot = UINT64_C(1) << 61,
        .created_at = 10,
        .name_length = 5,
        .name = "disk1",
    };
}

static inline dpx_own own_sample(void)
{
    return (dpx_own){
        .who = {.slot = 5, .generation = 3, .nonce = uuid_of(4)},
        .sequence = 11,
        .written_at = 12,
        .area = 17,
        .lease = uuid_of(5),
        .directory_token = 13,
        .ballot = 65536 * 9 + 5,
        .hold = 65536 * 8 + 5,
        .last_exclusive = 65536 * 7 + 5,
        .certainly_taken = 65536 * 6 + 5,
        .holder = uuid_of(7),
        .change_token = 16,
        .ticket = 18,
        .ticket_at = 19,
        .held_since = 20,
        .target = 21,
        .mode = DPX_MODE_SHARED,
        .label_length = 9,
        .label = "qemu: vm1",
    };
}

#endif
