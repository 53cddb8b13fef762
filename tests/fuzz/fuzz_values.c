/* What native/format computes besides single blocks (shapes, names, many blocks at a time, checksums),
 * each held against a second, independent way of saying it.  One program per TARGET (Makefile). */
#include "fuzz.h"

#ifdef TARGET_GEOMETRY
/* The limits of layout.h, said once more. */
static bool possible(const dpx_geometry *g)
{
    uint64_t most = UINT64_C(1) << 55;
    return (g->block_size == 512 || g->block_size == 4096) && g->max_hosts >= 2 && g->max_hosts <= 4096 &&
           g->max_leases >= 2 && g->max_leases <= 1048576 && (g->disks == 1 || g->disks == 3 || g->disks == 5) &&
           g->outage_tolerance - 1 < most && g->kill_grace - 1 < most && g->claim_time - 1 < most &&
           g->watchdog_timeout > 0 && g->watchdog_timeout <= g->kill_grace;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    uint8_t way = take8(&in);
    dpx_geometry geometry = {.block_size = way & 1 ? take32(&in) : way & 2 ? 4096 : 512,
                             .max_hosts = way & 4 ? take32(&in) : take32(&in) % 4099,
                             .max_leases = way & 8 ? take32(&in) : take32(&in) % 1048579,
                             .disks = take8(&in) % (way & 16 ? 255 : 6),
                             .outage_tolerance = take64(&in),
                             .kill_grace = take64(&in),
                             .watchdog_timeout = take64(&in),
                             .claim_time = take64(&in)};
    uint64_t mask = way & 32 ? UINT64_MAX : (UINT64_C(1) << 55) - 1;
    geometry.outage_tolerance &= mask;
    geometry.kill_grace &= mask;
    geometry.watchdog_timeout &= mask;
    geometry.claim_time &= mask;
    take_bytes(&in, geometry.name, sizeof geometry.name);
    dpx_geometry before = geometry;
    size_t name = dpx_text_length(geometry.name, sizeof geometry.name);
    bool named = name == 0 || dpx_name_valid(geometry.name, name, DPX_SPACE_NAME_MAX);
    bool derived = dpx_geometry_derive(&geometry);
    MUST(derived == (possible(&before) && named), "derived %d", derived);
    MUST(derived || memcmp(&before, &geometry, sizeof before) == 0, "derived in part");
    for (uint32_t i = 0; derived && i < 32; i++) {
        uint64_t index = i < 16 ? take64(&in) % geometry.total_blocks : geometry.total_blocks - 1 - i;
        dpx_place place = dpx_place_of(&geometry, index);
        bool slot = place.kind == DPX_KIND_SLOT, notice = place.kind == DPX_KIND_NOTICE;
        bool own = place.kind == DPX_KIND_OWN, header = place.kind == DPX_KIND_HEADER;
        bool group = place.kind == DPX_KIND_GROUP;
        uint64_t back = slot     ? dpx_slot_block(&geometry, place.slot)
                        : notice ? dpx_notice_block(&geometry, place.slot, place.part)
                        : own    ? dpx_own_block(&geometry, place.area, place.slot)
                        : header ? dpx_header_block(&geometry, place.area)
                        : group  ? dpx_group_block(&geometry, place.group)
                                 : index;
        MUST(back == index, "block %llu comes back as %llu", (unsigned long long)index, (unsigned long long)back);
    }
    return 0;
}
#endif

#ifdef TARGET_NAMES
/* UTF-8 by going the other way: decode loosely, encode strictly, compare. */
static bool text_by_reference(const uint8_t *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        uint32_t lead = text[at], bytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        uint32_t point = bytes == 1 ? lead : lead & (0x7fu >> bytes);
        uint8_t strict[4];
        for (uint32_t i = 1; i < bytes; i++)
            point = point << 6 | (at + i < length ? text[at + i] & 0x3fu : 0);
        uint32_t wanted = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        for (uint32_t i = wanted; i-- > 1; point >>= 6)
            strict[i] = (uint8_t)(0x80 | (point & 0x3f));
        strict[0] = (uint8_t)(wanted == 1 ? point : (0xf00u >> wanted & 0xff) | point);
        if (wanted != bytes || at + bytes > length || memcmp(strict, text + at, bytes) != 0)
            return false;
        if (bytes == 1 ? lead < 0x20 || lead == 0x7f : bytes == 2 && lead == 0xc2 && text[at + 1] < 0xa0)
            return false;
        if ((bytes == 3 && lead == 0xed && text[at + 1] >= 0xa0) || lead > 0xf4 || (lead == 0xf4 &&
            text[at + 1] > 0x8f))
            return false;
        at += bytes;
    }
    return length > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    size_t limit = take8(&in);
    uint8_t field[256], twice[256];
    char loaded[256];
    char *exact = malloc(in.left + 1); /* never read past its end: the terminator is not part of it */
    size_t length = in.left;
    take_bytes(&in, exact, length);
    MUST(dpx_name_valid(exact, length, limit) == (length <= limit && text_by_reference((uint8_t *)exact, length)),
        "name");
    size_t stored = dpx_label_store(field, limit, exact, length);
    MUST(stored <= limit && stored <= length, "label too long");
    MUST(dpx_text_sound(field, stored, limit), "a careless label made an unsound block");
    MUST(dpx_label_store(twice, limit, (char *)field, stored) == stored && memcmp(twice, field, stored) == 0, "label");
    MUST(dpx_text_load(loaded, limit, field, stored) == stored && memcmp(loaded, field, stored) == 0, "text");
    MUST(dpx_text_load(loaded, limit ? limit - 1 : 0, field, 255) == (limit ? limit - 1 : 0), "cut");
    MUST(dpx_text_length(exact, length) <= length, "length");
    free(exact);
    return 0;
}
#endif

#ifdef TARGET_BULK
enum { MANY = 24 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(64) uint8_t blocks[MANY * BLOCK_MAX];
    input in = {data, size};
    dpx_geometry geometry = shape_of(&in);
    uint8_t flaws[MANY];
    uint32_t disk = take8(&in) % geometry.disks, count = 1 + take8(&in) % MANY;
    uint64_t first = take32(&in) % geometry.total_blocks;
    dpx_bulk_empty(blocks, &geometry, disk, first, count, 7);
    uint64_t flawed = dpx_bulk_check(blocks, &geometry, disk, first, count, flaws);
    MUST(flawed == (first == 0) && (first != 0 || flaws[0] == DPX_FLAW_ZEROED), "an empty lockspace is damaged");
    bool seal = take8(&in) & 1;
    uint64_t touched = 0;
    while (in.left >= 4) {
        uint32_t at = take32(&in), where = at >> 8 & 0xfff, block = (at >> 20) % count;
        blocks[block * geometry.block_size + where % geometry.block_size] ^= (uint8_t)at;
        touched |= (uint64_t)((at & 0xff) != 0) << block;
    }
    if (seal)
        dpx_bulk_seal(blocks, &geometry, disk, count);
    flawed = dpx_bulk_check(blocks, &geometry, disk, first, count, flaws);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *block = blocks + (size_t)i * geometry.block_size;
        dpx_place place = dpx_place_of(&geometry, first + i);
        dpx_flaw alone = DPX_SOUND;
        if (place.kind != 0)
            alone = dpx_block_check(block, &geometry, (enum dpx_kind)place.kind, disk, first + i);
        MUST(flaws[i] == alone, "block %u: %d in bulk, %d alone", i, flaws[i], alone);
        MUST(!seal || flaws[i] != DPX_FLAW_CHECKSUM, "sealed, and the checksum is wrong");
        MUST(touched >> i & 1 || first + i == 0 || alone == DPX_SOUND, "an untouched block is damaged");
        flawed -= alone != DPX_SOUND;
    }
    MUST(flawed == 0, "miscounted");
    return 0;
}
#endif

#ifdef TARGET_CRC
/* Bit by bit, from the polynomial. */
static uint32_t crc_by_bits(uint32_t crc, const uint8_t *data, size_t length)
{
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
    }
    return ~crc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    uint32_t start = take32(&in);
    size_t cut = in.left ? take8(&in) % (in.left + 1) : 0;
    if (cut > in.left)
        cut = in.left;
    uint32_t whole = crc_by_bits(start, in.data, in.left);
    MUST(dpx_crc32c(start, in.data, in.left) == whole, "by instruction");
    MUST(dpx_crc32c_portable(start, in.data, in.left) == whole, "by table");
    MUST(dpx_crc32c(dpx_crc32c(start, in.data, cut), in.data + cut, in.left - cut) == whole, "in two parts");
    return 0;
}
#endif
