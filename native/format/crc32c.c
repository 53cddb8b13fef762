/* CRC-32C: by instruction where the processor has one, else eight bytes a step by table.
 *
 * The x86 instruction takes three cycles but a new one may start every cycle, so three
 * stretches of a block are summed side by side and then joined: appending n zero bytes to a
 * message multiplies its remainder by x^(8n), which is one carry-less multiplication by a
 * constant and one more CRC instruction as the reduction.
 */
#include "wire.h"

#if defined(__aarch64__)
#include <arm_acle.h>
unsigned long getauxval(unsigned long type); /* of the C library; reads process memory only */
#define AUXV_HWCAP 16
#define HWCAP_HAS_CRC32 (1UL << 7)
#endif

#define POLYNOMIAL UINT32_C(0x82f63b78) /* reflected */

typedef uint32_t crc_function(uint32_t crc, const uint8_t *at, size_t length);

static uint32_t table[8][256];
static crc_function *fastest;

static uint32_t crc_by_table(uint32_t crc, const uint8_t *at, size_t length)
{
    for (; length >= 8; at += 8, length -= 8) {
        uint32_t low = dpx_load32(at) ^ crc;
        uint32_t high = dpx_load32(at + 4);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
              table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    for (; length > 0; at++, length--)
        crc = table[0][(crc ^ *at) & 255] ^ crc >> 8;
    return crc;
}

static void fill_table(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int i = 1; i < 8; i++)
            table[i][byte] = table[0][table[i - 1][byte] & 255] ^ table[i - 1][byte] >> 8;
}

#if defined(__x86_64__)

#define STRETCH 160u /* bytes; 3 of them in a 512-byte block after its first 16 bytes */

typedef long long pair __attribute__((vector_size(16)));

/* x^(8 * zeroes - 33) mod P, reflected: what a remainder is multiplied by to append that
 * many zero bytes (33: the multiplication and the reduction shift by that much). */
static uint32_t append_one, append_two;

static uint32_t append_factor(uint32_t zeroes)
{
    uint32_t power = UINT32_C(0x80000000); /* x^0 */
    for (uint32_t i = 0; i < 8 * zeroes - 33; i++)
        power = (power & 1) ? power >> 1 ^ POLYNOMIAL : power >> 1;
    return power;
}

__attribute__((target("sse4.2"))) static uint32_t crc_by_sse(uint32_t crc, const uint8_t *at, size_t length)
{
    uint64_t sum = crc;
    for (; length >= 8; at += 8, length -= 8)
        sum = __builtin_ia32_crc32di(sum, dpx_load64(at));
    crc = (uint32_t)sum;
    for (; length > 0; at++, length--)
        crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}

__attribute__((target("sse4.2,pclmul"))) static uint64_t append_zeroes(uint64_t crc, uint32_t factor)
{
    pair a = {(long long)crc, 0};
    pair b = {factor, 0};
    pair product = (pair)__builtin_ia32_pclmulqdq128(a, b, 0);
    return __builtin_ia32_crc32di(0, (uint64_t)product[0]);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc_by_three(uint32_t crc, const uint8_t *at,
                                                                      size_t length)
{
    uint64_t first = crc;
    for (; length >= 3 * STRETCH; at += 3 * STRETCH, length -= 3 * STRETCH) {
        uint64_t second = 0, third = 0;
        for (size_t i = 0; i < STRETCH; i += 8) {
            first = __builtin_ia32_crc32di(first, dpx_load64(at + i));
            second = __builtin_ia32_crc32di(second, dpx_load64(at + STRETCH + i));
            third = __builtin_ia32_crc32di(third, dpx_load64(at + 2 * STRETCH + i));
        }
        first = append_zeroes(first, append_two) ^ append_zeroes(second, append_one) ^ third;
    }
    return crc_by_sse((uint32_t)first, at, length);
}

static void choose_instruction(void)
{
    __builtin_cpu_init();
    append_one = append_factor(STRETCH);
    append_two = append_factor(2 * STRETCH);
    if (__builtin_cpu_supports("sse4.2"))
        fastest = __builtin_cpu_supports("pclmul") ? crc_by_three : crc_by_sse;
}

#elif defined(__aarch64__) && !defined(__AARCH64EB__)

__attribute__((target("+crc"))) static uint32_t crc_by_arm(uint32_t crc, const uint8_t *at, size_t length)
{
    for (; length >= 8; at += 8, length -= 8)
        crc = __crc32cd(crc, dpx_load64(at));
    for (; length > 0; at++, length--)
        crc = __crc32cb(crc, *at);
    return crc;
}

static void choose_instruction(void)
{
    if (getauxval(AUXV_HWCAP) & HWCAP_HAS_CRC32)
        fastest = crc_by_arm;
}

#else

static void choose_instruction(void)
{
}

#endif

/* At load time, so that no call ever finds a half-filled table and none has to look. */
__attribute__((constructor)) static void prepare(void)
{
    fill_table();
    fastest = crc_by_table;
    choose_instruction();
}

uint32_t dpx_crc32c(uint32_t crc, const void *data, size_t length)
{
    return ~fastest(~crc, data, length);
}

uint32_t dpx_crc32c_portable(uint32_t crc, const void *data, size_t length)
{
    return ~crc_by_table(~crc, data, length);
}

uint32_t dpx_block_crc(const void *data, size_t length)
{
    /* The field lies in the first 16 bytes: sum a copy of those, then the rest in place. */
    uint8_t start[16];
    static_assert(offsetof(dpx_disk_common, crc32c) + 4 <= sizeof start, "field inside the copy");
    memcpy(start, data, sizeof start);
    memset(start + offsetof(dpx_disk_common, crc32c), 0, 4);
    uint32_t crc = fastest(~UINT32_C(0), start, sizeof start);
    return ~fastest(crc, (const uint8_t *)data + sizeof start, length - sizeof start);
}
