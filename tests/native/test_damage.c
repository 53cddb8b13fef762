/* The format room: every damage noticed, and the field table complete. */
#include "samples.h"

static _Alignas(4096) uint8_t block[DPX_BLOCK_MAX];
static _Alignas(4096) uint8_t other[DPX_BLOCK_MAX];

typedef struct example {
    enum dpx_kind kind;
    uint64_t index;
} example;

/* One block of each kind in `block`; its kind and place are returned. */
static example encode_example(const dpx_geometry *geometry, unsigned which)
{
    static const dpx_notice entries[DPX_BLOCK_MAX / 8] = {{1, 0}, {2, 5}, {3, 0}};
    static const dpx_incarnation writer = {.slot = 3, .generation = 1, .nonce = {{7}}};
    dpx_slot_record record = slot_sample();
    dpx_header header = header_sample();
    dpx_own own = own_sample();
    switch (which) {
    case 0:
        dpx_superblock_encode(block, geometry, 0, 1, 2);
        return (example){DPX_KIND_SUPERBLOCK, 0};
    case 1:
        dpx_slot_encode(block, geometry, 0, &record);
        return (example){DPX_KIND_SLOT, dpx_slot_block(geometry, record.who.slot)};
    case 2:
        dpx_notice_encode(block, geometry, 0, 0, &writer, 2, 3, entries);
        return (example){DPX_KIND_NOTICE, dpx_notice_block(geometry, 3, 0)};
    case 3:
        dpx_header_encode(block, geometry, 0, &header);
        return (example){DPX_KIND_HEADER, dpx_header_block(geometry, header.area)};
    default:
        dpx_own_encode(block, geometry, 0, &own);
        return (example){DPX_KIND_OWN, dpx_own_block(geometry, own.area, own.who.slot)};
    }
}

static void every_flipped_bit(void)
{
    for (uint32_t size = 512; size <= 4096; size *= 8) {
        dpx_geometry geometry = sample(size, 1);
        for (unsigned which = 0; which < 5; which++) {
            example at = encode_example(&geometry, which);
            CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 0, at.index), DPX_SOUND);
            for (uint32_t bit = 0; bit < size * 8; bit++) {
                block[bit / 8] ^= (uint8_t)(1u << bit % 8);
                dpx_flaw want = bit < 64 ? DPX_FLAW_MAGIC : bit < 80 ? DPX_FLAW_VERSION : DPX_FLAW_CHECKSUM;
                CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 0, at.index), want);
                if (at.kind == DPX_KIND_SUPERBLOCK) {
                    dpx_geometry found;
                    uint32_t disk;
                    uint64_t sequence;
                    CHECK(dpx_superblock_decode(block, size, &found, &disk, &sequence) != DPX_SOUND);
                }
                block[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        }
    }
}

static void blocks_out_of_place(void)
{
    dpx_geometry geometry = sample(512, 3);
    dpx_geometry foreign = geometry;
    foreign.uuid.bytes[15] ^= 1;
    for (unsigned which = 0; which < 5; which++) {
        example at = encode_example(&geometry, which);
        CHECK_EQ(dpx_block_check(block, &foreign, at.kind, 0, at.index), DPX_FLAW_LOCKSPACE);
        CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 1, at.index), DPX_FLAW_DISK);
        CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 0, at.index + 1), DPX_FLAW_INDEX);
        for (unsigned kind = 1; kind <= DPX_KIND_GROUP; kind++)
            if (kind != at.kind)
                CHECK_EQ(dpx_block_check(block, &geometry, (enum dpx_kind)kind, 0, at.index), DPX_FLAW_KIND);
        memset(block, 0, 512);
        CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 0, at.index), DPX_FLAW_ZEROED);
        memset(block, 0xaa, 512);
        CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 0, at.index), DPX_FLAW_MAGIC);
    }
    for (int flaw = DPX_SOUND; flaw <= DPX_FLAW_FIELD; flaw++)
        CHECK(strlen(dpx_flaw_text((dpx_flaw)flaw)) > 3);
}

/* Puts a value into a field of the block and makes the checksum right again: what only a
 * faulty writer can do. */
static void forge(const char *name, unsigned kind, uint64_t value)
{
    for (size_t i = 0; i < dpx_field_count; i++) {
        const dpx_field *field = &dpx_fields[i];
        if ((field->kind == kind || field->kind == 0) && strcmp(field->name, name) == 0) {
            for (unsigned byte = 0; byte < field->size; byte++)
                block[field->offset + byte] = (uint8_t)(byte < 8 ? value >> 8 * byte : 0);
            memset(block + 12, 0, 4);
            uint32_t crc = dpx_crc32c(0, block, 512);
            for (unsigned byte = 0; byte < 4; byte++)
                block[12 + byte] = (uint8_t)(crc >> 8 * byte);
            return;
        }
    }
    CHECK(!"no such field");
}

static void forged(unsigned which, const char *name, uint64_t value, dpx_flaw want)
{
    dpx_geometry geometry = sample(512, 3);
    example at = encode_example(&geometry, which);
    forge(name, at.kind, value);
    if (!CHECK_EQ(dpx_block_check(block, &geometry, at.kind, 0, at.index), want))
        fprintf(stderr, "    kind %d, field %s = %" PRIu64 "\n", (int)at.kind, name, value);
}

static void fields_out_of_range(void)
{
    static const char *const shape[] = {"block_size", "max_hosts", "max_leases", "disks"};
    for (unsigned which = 0; which <= 3; which++) {
        if (which == 2)
            continue; /* notice blocks repeat no shape */
        for (unsigned i = 0; i < 4; i++) {
            forged(which, shape[i], 5, DPX_FLAW_FIELD);
            forged(which, shape[i], 0, DPX_FLAW_FIELD);
        }
        forged(which, "outage_tolerance", 0, DPX_FLAW_FIELD);
        forged(which, "kill_grace", 8, DPX_FLAW_FIELD); /* below W */
        forged(which, "watchdog_timeout", 0, DPX_FLAW_FIELD);
        forged(which, "claim_time", 0, DPX_FLAW_FIELD);
        forged(which, "claim_time", 77, DPX_SOUND); /* another time, but a possible one */
    }
    forged(0, "disk", 3, DPX_FLAW_DISK);
    forged(0, "generation", 1, DPX_FLAW_FIELD);
    forged(0, "name_length", 64, DPX_FLAW_FIELD);
    forged(0, "name", 'x' | '\n' << 8, DPX_FLAW_FIELD);
    forged(1, "disk_generation", 99, DPX_SOUND);
    forged(1, "slot", 62, DPX_FLAW_FIELD);
    forged(1, "slot", UINT32_MAX, DPX_FLAW_FIELD);
    forged(1, "state", 3, DPX_FLAW_FIELD);
    forged(1, "notices", 65, DPX_FLAW_FIELD);
    forged(1, "host_name_length", 64, DPX_FLAW_FIELD);
    forged(1, "host_name_length", 6, DPX_FLAW_FIELD); /* half a character */
    forged(1, "space_name_length", 64, DPX_FLAW_FIELD);
    forged(3, "area", 1022, DPX_FLAW_FIELD);
    forged(3, "area", UINT32_MAX, DPX_FLAW_FIELD);
    forged(3, "state", 3, DPX_FLAW_FIELD);
    forged(3, "name_length", 0, DPX_FLAW_FIELD);
    forged(3, "name_length", 6, DPX_FLAW_FIELD); /* a NUL in it */
    forged(3, "name_length", 201, DPX_FLAW_FIELD);
    forged(3, "name", 0xff, DPX_FLAW_FIELD);
    forged(4, "slot", 6, DPX_FLAW_FIELD);
    forged(4, "slot", UINT32_MAX, DPX_FLAW_FIELD);
    forged(4, "area", 18, DPX_FLAW_FIELD);
    forged(4, "area", UINT32_MAX, DPX_FLAW_FIELD);
    forged(4, "target", 1024, DPX_FLAW_FIELD);
    forged(4, "mode", 3, DPX_FLAW_FIELD);
    forged(4, "mode", 0, DPX_FLAW_FIELD); /* a flag without a mode */
    forged(4, "hold", UINT64_MAX, DPX_FLAW_FIELD);
    forged(4, "last_exclusive", UINT64_MAX, DPX_FLAW_FIELD);
    forged(4, "certainly_taken", UINT64_MAX, DPX_FLAW_FIELD);
    forged(4, "value_length", 161, DPX_FLAW_FIELD);
    forged(4, "taken", 1, DPX_SOUND);
    forged(4, "taken", 2, DPX_FLAW_FIELD);
    forged(4, "label_length", 65, DPX_FLAW_FIELD);
    forged(4, "label", '\n', DPX_FLAW_FIELD);
    forged(4, "hold", 0, DPX_SOUND);
    forged(4, "generation", UINT64_MAX, DPX_SOUND);
}

/* ---- the table ---- */

static void table_covers_every_byte(void)
{
    for (unsigned kind = DPX_KIND_SUPERBLOCK; kind <= DPX_KIND_GROUP; kind++) {
        unsigned covered[512] = {0};
        for (size_t i = 0; i < dpx_field_count; i++) {
            const dpx_field *field = &dpx_fields[i];
            if (field->kind != kind && field->kind != 0)
                continue;
            for (unsigned byte = 0; byte < (unsigned)field->size * field->count; byte++)
                covered[field->offset + byte]++;
            CHECK(strchr("ubsi", field->type) != NULL);
            CHECK(field->type != 'i' || field->size == 16);
            CHECK(field->type != 'u' || field->size <= 8);
            for (size_t j = i + 1; j < dpx_field_count; j++) /* a dtype wants names to be unique */
                if (dpx_fields[j].kind == kind || dpx_fields[j].kind == 0)
                    CHECK(strcmp(field->name, dpx_fields[j].name) != 0);
        }
        for (unsigned byte = 0; byte < 512; byte++)
            CHECK_EQ(covered[byte], 1);
    }
}

static void encoders_leave_no_old_bytes(void)
{
    for (uint32_t size = 512; size <= 4096; size *= 8) {
        dpx_geometry geometry = sample(size, 1);
        for (unsigned which = 0; which < 5; which++) {
            memset(block, 0, sizeof block);
            encode_example(&geometry, which);
            memcpy(other, block, sizeof block);
            memset(block, 0x5a, sizeof block);
            encode_example(&geometry, which);
            CHECK_BYTES(block, other, size);
        }
    }
}

int main(void)
{
    RUN(every_flipped_bit);
    RUN(blocks_out_of_place);
    RUN(fields_out_of_range);
    RUN(table_covers_every_byte);
    RUN(encoders_leave_no_old_bytes);
    return check_finish("test_damage");
}
