/* Names and labels: valid UTF-8 without control characters; and where a name's area is. */
#include "wire.h"

/* Length of the valid character at `text`, or 0: not UTF-8 (RFC 3629: neither overlong, nor
 * a surrogate, nor above U+10FFFF), or a control character (C0, DEL, C1). */
static size_t character(const uint8_t *text, size_t length)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text[0];
    if (first < 0x80)
        return first >= 0x20 && first != 0x7f;
    size_t bytes = first >= 0xf0 && first < 0xf8   ? 4
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xc0 && first < 0xe0 ? 2
                                                   : 0;
    if (bytes == 0 || bytes > length)
        return 0;
    uint32_t point = first & (0xffu >> (bytes + 1));
    for (size_t i = 1; i < bytes; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3fu);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    bool control = point >= 0x80 && point <= 0x9f;
    return point >= smallest[bytes] && point <= 0x10ffff && !surrogate && !control ? bytes : 0;
}

bool dpx_name_valid(const char *name, size_t length, size_t limit)
{
    if (length == 0 || length > limit)
        return false;
    const uint8_t *text = (const uint8_t *)name;
    for (size_t at = 0; at < length;) {
        bool plain = text[at] >= 0x20 && text[at] < 0x7f; /* nearly all of them, in every block that is read */
        size_t bytes = plain ? 1 : character(text + at, length - at);
        if (bytes == 0)
            return false;
        at += bytes;
    }
    return true;
}

bool dpx_text_sound(const uint8_t *text, size_t length, size_t limit)
{
    return length == 0 || dpx_name_valid((const char *)text, length, limit);
}

size_t dpx_label_store(uint8_t *field, size_t limit, const char *label, size_t length)
{
    const uint8_t *text = (const uint8_t *)label;
    size_t stored = 0;
    for (size_t at = 0; at < length && stored < limit;) {
        size_t bytes = character(text + at, length - at);
        if (bytes > limit - stored)
            break;
        if (bytes == 0)
            field[stored] = '?';
        else
            memcpy(field + stored, text + at, bytes);
        stored += bytes ? bytes : 1;
        at += bytes ? bytes : 1;
    }
    return stored;
}

size_t dpx_text_load(char *text, size_t limit, const uint8_t *field, size_t length)
{
    if (length > limit)
        length = limit;
    memcpy(text, field, length);
    text[length] = 0;
    return length;
}

uint32_t dpx_home_area(const dpx_geometry *geometry, const char *name, size_t length)
{
    /* FNV-1a, 64 bits; then the finaliser of MurmurHash3, because the low bits of FNV of
     * similar names (vm-1, vm-2, …) are too alike for a modulus. */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++) {
        hash ^= (uint8_t)name[i];
        hash *= UINT64_C(0x100000001b3);
    }
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    hash ^= hash >> 33;
    return (uint32_t)(hash % geometry->max_leases);
}
