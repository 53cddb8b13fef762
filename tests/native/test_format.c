/* The format room: checksum, geometry, names, and every block there and back. */
#include <stdlib.h>

#include "samples.h"

static _Alignas(4096) uint8_t block[DPX_BLOCK_MAX];

/* ---- checksum ---- */

static void crc_vectors(void)
{
    /* RFC 3720, B.4; its bytes are listed in the order in which they go on the wire. */
    uint8_t data[48];
    memset(data, 0, 32);
    CHECK_EQ(dpx_crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, 32);
    CHECK_EQ(dpx_crc32c(0, data, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    CHECK_EQ(dpx_crc32c(0, data, 32), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = (uint8_t)(31 - i);
    CHECK_EQ(dpx_crc32c(0, data, 32), 0x113fdb5c);
    static const uint8_t command[48] = {0x01, 0xc0, 0, 0,    0, 0, 0, 0,    0, 0,    0, 0, 0, 0,    0, 0,
                                        0x14, 0,    0, 0,    0, 0, 4, 0,    0, 0,    0, 0x14, 0, 0, 0, 0x18,
                                        0x28, 0,    0, 0,    0, 0, 0, 0,    0x02, 0, 0, 0, 0, 0,    0, 0};
    CHECK_EQ(dpx_crc32c(0, command, 48), 0xd9963a56);
    CHECK_EQ(dpx_crc32c(0, "123456789", 9), 0xe3069283);
    CHECK_EQ(dpx_crc32c_portable(0, "123456789", 9), 0xe3069283);
    CHECK_EQ(dpx_crc32c(0, "", 0), 0);
}

static void crc_instruction_equals_table(void)
{
    uint8_t *data = malloc(5000);
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 5000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        data[i] = (uint8_t)(random >> 32);
    }
    for (size_t length = 0; length <= 4200; length++) {
        size_t start = length % 13;
        uint32_t seed = (uint32_t)(length * 2654435761u);
        CHECK_EQ(dpx_crc32c(seed, data + start, length), dpx_crc32c_portable(seed, data + start, length));
    }
    for (size_t cut = 0; cut <= 1000; cut += 7)
        CHECK_EQ(dpx_crc32c(dpx_crc32c(0, data, cut), data + cut, 1000 - cut), dpx_crc32c(0, data, 1000));
    free(data);
}

/* ---- geometry ---- */

static void geometry_as_documented(void)
{
    dpx_geometry geometry = sample(512, 3);
    CHECK_EQ(geometry.slots_at, 8);
    CHECK_EQ(geometry.notices_at, 72);
    CHECK_EQ(geometry.notice_entries, DPX_NOTICES_PER_SECTOR);
    CHECK_EQ(geometry.notice_blocks, 2);
    CHECK_EQ(geometry.groups_at, 200);
    CHECK_EQ(geometry.group_blocks, 1);
    CHECK_EQ(geometry.areas_at, 208);
    CHECK_EQ(geometry.area_blocks * 512, 36864);
    CHECK_EQ(geometry.total_blocks, 208 + 1024 * 72);

    geometry = sample(4096, 1);
    CHECK_EQ(geometry.slots_at, 1);
    CHECK_EQ(geometry.notices_at, 65);
    CHECK_EQ(geometry.notice_entries, 502);
    CHECK_EQ(geometry.groups_at, 129);
    CHECK_EQ(geometry.areas_at, 130);
    CHECK_EQ(geometry.area_blocks, 65);
}

static void geometry_limits(void)
{
#define REFUSED(change)                           \
    do {                                          \
        dpx_geometry wrong = sample(512, 3);      \
        wrong.total_blocks = 99;                  \
        change;                                   \
        CHECK(!dpx_geometry_derive(&wrong));      \
        CHECK_EQ(wrong.total_blocks, 99);         \
    } while (0)
    REFUSED(wrong.block_size = 0);
    REFUSED(wrong.block_size = 1024);
    REFUSED(wrong.block_size = 8192);
    REFUSED(wrong.max_hosts = DPX_MIN_HOSTS - 1);
    REFUSED(wrong.max_hosts = DPX_MAX_HOSTS + 1);
    REFUSED(wrong.max_leases = DPX_MIN_LEASES - 1);
    REFUSED(wrong.max_leases = DPX_MAX_LEASES + 1);
    REFUSED(wrong.disks = 0);
    REFUSED(wrong.disks = 2);
    REFUSED(wrong.disks = 4);
    REFUSED(wrong.disks = 7);
    REFUSED(wrong.outage_tolerance = 0);
    REFUSED(wrong.outage_tolerance = UINT64_MAX);
    REFUSED(wrong.kill_grace = 0);
    REFUSED(wrong.watchdog_timeout = 0);
    REFUSED(wrong.watchdog_timeout = wrong.kill_grace + 1);
    REFUSED(wrong.claim_time = 0);
    REFUSED(wrong.claim_time = UINT64_MAX);
    REFUSED(wrong.name[0] = '\n');
    REFUSED(memset(wrong.name, 'x', sizeof wrong.name));
#undef REFUSED
    static const uint32_t hosts[] = {DPX_MIN_HOSTS, 7, 54, 55, 64, 65, DPX_MAX_HOSTS};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        for (uint32_t size = 512; size <= 4096; size *= 8) {
            dpx_geometry geometry = sample(size, 1);
            geometry.max_hosts = hosts[i];
            geometry.max_leases = DPX_MAX_LEASES;
            CHECK(dpx_geometry_derive(&geometry));
            CHECK_EQ(geometry.slots_at * size % DPX_ALIGNMENT, 0);
            CHECK_EQ(geometry.notices_at * size % DPX_ALIGNMENT, 0);
            CHECK_EQ(geometry.areas_at * size % DPX_ALIGNMENT, 0);
            CHECK_EQ((uint64_t)geometry.area_blocks * size % DPX_ALIGNMENT, 0);
            CHECK(geometry.notice_blocks * geometry.notice_entries >= hosts[i]);
            CHECK_EQ(dpx_header_block(&geometry, DPX_MAX_LEASES - 1) + geometry.area_blocks,
                     geometry.total_blocks);
        }
    }
}

static void places_of_all_blocks(void)
{
    for (uint32_t size = 512; size <= 4096; size *= 8) {
        dpx_geometry geometry = sample(size, 1);
        geometry.max_hosts = 115; /* more than one notice block a slot, and padding everywhere */
        geometry.max_leases = 3;
        CHECK(dpx_geometry_derive(&geometry));
        unsigned seen[7] = {0};
        for (uint64_t index = 0; index < geometry.total_blocks; index++) {
            dpx_place place = dpx_place_of(&geometry, index);
            seen[place.kind]++;
            if (place.kind == DPX_KIND_SLOT)
                CHECK_EQ(dpx_slot_block(&geometry, place.slot), index);
            if (place.kind == DPX_KIND_NOTICE)
                CHECK_EQ(dpx_notice_block(&geometry, place.slot, place.part), index);
            if (place.kind == DPX_KIND_GROUP)
                CHECK_EQ(dpx_group_block(&geometry, place.group), index);
            if (place.kind == DPX_KIND_HEADER)
                CHECK_EQ(dpx_header_block(&geometry, place.area), index);
            if (place.kind == DPX_KIND_OWN)
                CHECK_EQ(dpx_own_block(&geometry, place.area, place.slot), index);
        }
        CHECK_EQ(seen[DPX_KIND_SUPERBLOCK], 1);
        CHECK_EQ(seen[DPX_KIND_SLOT], 115);
        CHECK_EQ(seen[DPX_KIND_NOTICE], 115 * geometry.notice_blocks);
        CHECK_EQ(seen[DPX_KIND_GROUP], 2);
        CHECK_EQ(seen[DPX_KIND_HEADER], 3);
        CHECK_EQ(seen[DPX_KIND_OWN], 3 * 115);
        CHECK_EQ(dpx_place_of(&geometry, geometry.total_blocks).kind, 0);
        CHECK_EQ(dpx_place_of(&geometry, UINT64_MAX).kind, 0);
    }
}

static void dead_time(void)
{
    uint64_t second = UINT64_C(1000000000);
    /* (40 + 10 + 10) * 1.11 + 5 = 71.6 s */
    CHECK_EQ(dpx_dead_time(40 * second, 10 * second, 10 * second), 71600 * second / 1000);
    CHECK_EQ(dpx_dead_time(1, 1, 1), 3 + 1 + 1); /* rounded up, never down */
}

/* ---- names ---- */

static void names(void)
{
    char long_name[201];
    memset(long_name, 'n', sizeof long_name);
    CHECK(dpx_name_valid(long_name, 200, DPX_LEASE_NAME_MAX));
    CHECK(!dpx_name_valid(long_name, 201, DPX_LEASE_NAME_MAX));
    CHECK(!dpx_name_valid("", 0, DPX_LEASE_NAME_MAX));
    CHECK(dpx_name_valid("x", 1, DPX_LEASE_NAME_MAX));
    CHECK(dpx_name_valid("vm/disk 1", 9, DPX_LEASE_NAME_MAX));
#define GOOD(text) CHECK(dpx_name_valid(text, sizeof text - 1, 200))
#define BAD(text) CHECK(!dpx_name_valid(text, sizeof text - 1, 200))
    GOOD("M\xc3\xbcller");
    GOOD("\xe6\x97\xa5\xe6\x9c\xac");
    GOOD("\xf0\x9f\x94\x92");
    GOOD("\xf4\x8f\xbf\xbf"); /* U+10FFFF */
    GOOD("\xc2\xa0");         /* the first character after the C1 controls */
    BAD("a\0b");
    BAD("a\nb");
    BAD("\t");
    BAD("\x1f");
    BAD("\x7f");
    BAD("\xc2\x80");         /* C1 control */
    BAD("\xc2\x9f");
    BAD("\x80");             /* continuation without a start */
    BAD("\xc3");             /* cut short */
    BAD("\xe6\x97");
    BAD("\xf0\x9f\x94");
    BAD("\xc0\xaf");         /* overlong */
    BAD("\xc1\xbf");
    BAD("\xe0\x9f\xbf");
    BAD("\xf0\x8f\xbf\xbf");
    BAD("\xed\xa0\x80");     /* surrogate */
    BAD("\xf4\x90\x80\x80"); /* above U+10FFFF */
    BAD("\xf8\x88\x80\x80\x80");
    BAD("\xff");
#undef GOOD
#undef BAD
}

static void home_areas_spread(void)
{
    dpx_geometry geometry = sample(512, 1);
    /* Final from the first release: a lease found by one version must be found by the next. */
    CHECK_EQ(dpx_home_area(&geometry, "vm-1", 4), 699);
    CHECK_EQ(dpx_home_area(&geometry, DPX_DIRECTORY_NAME, 9), 920);
    unsigned counts[1024] = {0};
    unsigned worst = 0;
    for (unsigned i = 0; i < 8192; i++) {
        char name[20];
        int length = snprintf(name, sizeof name, "vm-%u", i);
        uint32_t area = dpx_home_area(&geometry, name, (size_t)length);
        CHECK(area < 1024);
        worst = ++counts[area] > worst ? counts[area] : worst;
    }
    CHECK(worst < 30); /* 8 on average */
}

/* ---- there and back ---- */

static void superblock_round_trip(void)
{
    for (uint32_t disks = 1; disks <= 5; disks += 2) {
        for (uint32_t size = 512; size <= 4096; size *= 8) {
            dpx_geometry geometry = sample(size, disks), found;
            uint32_t disk = 99;
            uint64_t sequence = 99;
            dpx_superblock_encode(block, &geometry, disks - 1, 42, 43);
            CHECK_EQ(dpx_superblock_decode(block, DPX_BLOCK_MAX, &found, &disk, &sequence), DPX_SOUND);
            CHECK_EQ(disk, disks - 1);
            CHECK_EQ(sequence, 42);
            CHECK_BYTES(&found.uuid, &geometry.uuid, 16);
            CHECK_BYTES(found.disk_generation, geometry.disk_generation, sizeof found.disk_generation);
            CHECK_BYTES(found.name, geometry.name, sizeof found.name);
            CHECK_EQ(found.block_size, size);
            CHECK_EQ(found.max_hosts, geometry.max_hosts);
            CHECK_EQ(found.max_leases, geometry.max_leases);
            CHECK_EQ(found.disks, disks);
            CHECK_EQ(found.outage_tolerance, geometry.outage_tolerance);
            CHECK_EQ(found.kill_grace, geometry.kill_grace);
            CHECK_EQ(found.watchdog_timeout, geometry.watchdog_timeout);
            CHECK_EQ(found.claim_time, geometry.claim_time);
            CHECK_EQ(found.features_compatible, geometry.features_compatible);
            CHECK_EQ(found.features_incompatible, geometry.features_incompatible);
            CHECK_EQ(found.created_at, geometry.created_at);
            CHECK_EQ(found.total_blocks, geometry.total_blocks);
            CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_SUPERBLOCK, disk, 0), DPX_SOUND);
            if (size == 4096)
                CHECK_EQ(dpx_superblock_decode(block, 512, &found, &disk, &sequence), DPX_FLAW_CHECKSUM);
        }
    }
}

static void put_records(uint8_t *records, const dpx_geometry *geometry, uint32_t disk, uint32_t count)
{
    dpx_slot_record record = slot_sample();
    for (record.who.slot = 0; record.who.slot < count; record.who.slot++)
        dpx_slot_encode(records + (size_t)record.who.slot * geometry->block_size, geometry, disk, &record);
}

static void records_tell_whose_superblock_it_is(void)
{
    static uint8_t records[8192];
    for (uint32_t size = 512; size <= 4096; size *= 8) {
        dpx_geometry geometry = sample(size, 3), other = sample(size, 3), wide = sample(4608 - size, 3);
        other.uuid.bytes[3] ^= 1;
        memset(records, 0, sizeof records);
        CHECK_EQ(dpx_superblock_belongs(&geometry, 1, records, 4096), DPX_SOUND); /* they tell nothing */
        put_records(records, &geometry, 1, 4096 / size);
        CHECK_EQ(dpx_superblock_belongs(&geometry, 1, records, 4096), DPX_SOUND);
        CHECK_EQ(dpx_superblock_belongs(&geometry, 2, records, 4096), DPX_FLAW_DISK);
        CHECK_EQ(dpx_superblock_belongs(&other, 1, records, 4096), DPX_FLAW_LOCKSPACE);
        CHECK_EQ(dpx_superblock_belongs(&wide, 0, records, 4096), DPX_FLAW_DISK); /* of another block size */
        records[100] ^= 1; /* a damaged one tells nothing */
        CHECK_EQ(dpx_superblock_belongs(&geometry, 2, records, 4096), size == 512 ? DPX_FLAW_DISK : DPX_SOUND);
        CHECK_EQ(dpx_superblock_belongs(&geometry, 2, records, size - 1), DPX_SOUND); /* cut off */
        if (size == 4096)
            continue;
        put_records(records, &geometry, 2, 4); /* a block or two that strayed there prove nothing */
        CHECK_EQ(dpx_superblock_belongs(&geometry, 1, records, 4096), DPX_SOUND);
        put_records(records, &geometry, 2, 5);
        CHECK_EQ(dpx_superblock_belongs(&geometry, 1, records, 4096), DPX_FLAW_DISK);
    }
}

static void slot_round_trip(void)
{
    dpx_geometry geometry = sample(512, 3);
    dpx_slot_record in = slot_sample(), out;
    dpx_slot_encode(block, &geometry, 2, &in);
    CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_SLOT, 2, dpx_slot_block(&geometry, 63)), DPX_SOUND);
    dpx_slot_decode(block, &out);
    CHECK(dpx_incarnation_equal(&in.who, &out.who));
    CHECK(in.sequence == out.sequence && in.written_at == out.written_at && in.state == out.state);
    CHECK(in.flags == out.flags && in.counter == out.counter && in.pid == out.pid);
    CHECK(dpx_uuid_equal(&in.host, &out.host) && dpx_uuid_equal(&in.boot, &out.boot));
    CHECK(in.start_time == out.start_time && in.pid_namespace == out.pid_namespace);
    CHECK(in.notices == out.notices && in.software == out.software && in.joined_at == out.joined_at);
    CHECK(in.outage_tolerance == out.outage_tolerance && in.kill_grace == out.kill_grace);
    CHECK(in.watchdog_timeout == out.watchdog_timeout && in.time_namespace == out.time_namespace);
    CHECK(dpx_incarnation_equal(&in.predecessor, &out.predecessor) && in.reservation_key == out.reservation_key);
    for (uint32_t i = 0; i < DPX_MAILS; i++)
        CHECK_BYTES(&in.mailbox[i], &out.mailbox[i], sizeof in.mailbox[i]);
    CHECK_BYTES(in.host_name, out.host_name, sizeof in.host_name);

    /* A name that is no text must not make a record that nobody believes. */
    memset(in.host_name, 0xff, sizeof in.host_name - 1);
    in.outage_tolerance = in.kill_grace = in.watchdog_timeout = 0;
    dpx_slot_encode(block, &geometry, 2, &in);
    CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_SLOT, 2, dpx_slot_block(&geometry, 63)), DPX_SOUND);
    dpx_slot_decode(block, &out);
    CHECK_EQ(strspn(out.host_name, "?"), DPX_HOST_NAME_MAX);
    CHECK_EQ(out.outage_tolerance, geometry.outage_tolerance);
}

static void notice_round_trip(void)
{
    for (uint32_t size = 512; size <= 4096; size *= 8) {
        dpx_geometry geometry = sample(size, 3);
        geometry.max_hosts = 3000;
        CHECK(dpx_geometry_derive(&geometry));
        dpx_notice in[DPX_BLOCK_MAX / 8], out[DPX_BLOCK_MAX / 8];
        for (uint32_t i = 0; i < DPX_BLOCK_MAX / 8; i++)
            in[i] = (dpx_notice){.about = i * UINT32_C(2654435761), .certificate = ~i};
        dpx_incarnation writer = {.slot = 2999, .generation = 4, .nonce = {{1, 2, 3}}}, who;
        uint64_t sequence;
        uint32_t part = geometry.notice_blocks - 1;
        dpx_notice_encode(block, &geometry, 1, part, &writer, 5, 6, in);
        uint64_t index = dpx_notice_block(&geometry, 2999, part);
        CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_NOTICE, 1, index), DPX_SOUND);
        dpx_notice_decode(block, &geometry, &who, &sequence, out);
        CHECK_BYTES(in, out, sizeof in[0] * geometry.notice_entries);
        CHECK(dpx_incarnation_equal(&who, &writer) && sequence == 5);
    }
}

static void header_round_trip(void)
{
    dpx_geometry geometry = sample(512, 5);
    dpx_header in = header_sample(), out;
    dpx_header_encode(block, &geometry, 4, &in);
    uint64_t index = dpx_header_block(&geometry, in.area);
    CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_HEADER, 4, index), DPX_SOUND);
    dpx_header_decode(block, &out);
    CHECK(in.directory_token == out.directory_token && in.sequence == out.sequence);
    CHECK(in.written_at == out.written_at && in.area == out.area && in.state == out.state);
    CHECK(dpx_uuid_equal(&in.lease, &out.lease) && in.first_ballot == out.first_ballot);
    CHECK(in.created_at == out.created_at && in.name_length == out.name_length);
    CHECK_BYTES(in.name, out.name, sizeof in.name);
    in.name_length = DPX_LEASE_NAME_MAX;
    memset(in.name, 'z', DPX_LEASE_NAME_MAX);
    dpx_header_encode(block, &geometry, 4, &in);
    dpx_header_decode(block, &out);
    CHECK_BYTES(in.name, out.name, sizeof in.name);
}

static void own_round_trip(void)
{
    dpx_geometry geometry = sample(4096, 3);
    dpx_own in = own_sample(), out;
    dpx_own_encode(block, &geometry, 0, &in);
    uint64_t index = dpx_own_block(&geometry, in.area, in.who.slot);
    CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_OWN, 0, index), DPX_SOUND);
    dpx_own_decode(block, &out);
    CHECK(dpx_incarnation_equal(&in.who, &out.who) && dpx_uuid_equal(&in.lease, &out.lease));
    CHECK(in.sequence == out.sequence && in.written_at == out.written_at && in.area == out.area);
    CHECK(in.directory_token == out.directory_token && in.ballot == out.ballot && in.hold == out.hold);
    CHECK(in.last_exclusive == out.last_exclusive && in.change_token == out.change_token);
    CHECK(in.ticket == out.ticket && in.ticket_at == out.ticket_at && in.held_since == out.held_since);
    CHECK(in.target == out.target && in.mode == out.mode && in.label_length == out.label_length);
    CHECK_BYTES(in.label, out.label, sizeof in.label);

    /* Cut in the middle of a character, as a caller with a byte limit does. */
    memset(in.label, 'l', 63);
    in.label[63] = '\xc3';
    in.label_length = 64;
    dpx_own_encode(block, &geometry, 0, &in);
    CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_OWN, 0, index), DPX_SOUND);
    dpx_own_decode(block, &out);
    CHECK_EQ(out.label_length, 64);
    CHECK_EQ(out.label[63], '?');
}

static void empty_lockspace(void)
{
    for (uint32_t size = 512; size <= 4096; size *= 8) {
        dpx_geometry geometry = sample(size, 3);
        geometry.max_hosts = 115;
        geometry.max_leases = 4;
        CHECK(dpx_geometry_derive(&geometry));
        for (uint64_t index = 1; index < geometry.total_blocks; index++) {
            dpx_place place = dpx_place_of(&geometry, index);
            memset(block, 0xee, sizeof block);
            dpx_empty_encode(block, &geometry, 1, index, 5);
            if (size == 512)
                CHECK_EQ(block[512], 0xee); /* not a byte beyond the block */
            if (place.kind)
                CHECK_EQ(dpx_block_check(block, &geometry, place.kind, 1, index), DPX_SOUND);
            else
                CHECK_EQ(dpx_block_check(block, &geometry, DPX_KIND_OWN, 1, index), DPX_FLAW_ZEROED);
        }
        dpx_header header;
        dpx_empty_encode(block, &geometry, 0, dpx_header_block(&geometry, 0), 5);
        dpx_header_decode(block, &header);
        CHECK_EQ(header.state, DPX_LEASE_IN_USE);
        CHECK(dpx_uuid_equal(&header.lease, &geometry.uuid));
        CHECK(strcmp(header.name, DPX_DIRECTORY_NAME) == 0 && header.name_length == 9);
        CHECK(header.directory_token == 0 && header.first_ballot == 0);
        dpx_empty_encode(block, &geometry, 0, dpx_header_block(&geometry, 1), 5);
        dpx_header_decode(block, &header);
        CHECK_EQ(header.state, DPX_LEASE_FREE);
    }
}

int main(void)
{
    RUN(crc_vectors);
    RUN(crc_instruction_equals_table);
    RUN(geometry_as_documented);
    RUN(geometry_limits);
    RUN(places_of_all_blocks);
    RUN(dead_time);
    RUN(names);
    RUN(home_areas_spread);
    RUN(superblock_round_trip);
    RUN(records_tell_whose_superblock_it_is);
    RUN(slot_round_trip);
    RUN(notice_round_trip);
    RUN(header_round_trip);
    RUN(own_round_trip);
    RUN(empty_lockspace);
    return check_finish("test_format");
}
