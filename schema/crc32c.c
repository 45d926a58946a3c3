/* CRC32C (Castagnoli, polynomial 0x1EDC6F41 reflected), as in RFC 3720. By the processor's instruction where it has one,
 * else four bits at a time. */
#include <string.h>

#include "schema/audit.h"

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t len) {
    static const uint32_t nibble[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (size_t i = 0; i < len; i++) {
        crc = nibble[(crc ^ p[i]) & 15] ^ crc >> 4;
        crc = nibble[(crc ^ (uint32_t)(p[i] >> 4)) & 15] ^ crc >> 4;
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t len) {
    uint64_t c = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        c = __builtin_ia32_crc32di(c, word);
    }
    crc = (uint32_t)c;
    for (; len > 0; p++, len--)
        crc = __builtin_ia32_crc32qi(crc, *p);
    return crc;
}
#endif

uint32_t vmsig_crc32c(const void *bytes, size_t len) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_instruction(~0u, bytes, len);
#endif
    return ~by_table(~0u, bytes, len);
}
