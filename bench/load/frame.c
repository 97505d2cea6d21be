/* SPDX-License-Identifier: MIT */
#include "frame.h"

#include <stdint.h>
#include <string.h>

size_t frame_write(char *out, unsigned opcode, const char *payload, size_t len)
{
    static const char mask[4] = {0x5a, 0x17, 0x43, 0x6e};
    size_t n = 2, bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;

    out[0] = (char)(0x80 | opcode);
    out[1] = (char)(0x80 | (bytes == 0 ? len : bytes == 2 ? 126 : 127));
    while (bytes > 0)
        out[n++] = (char)((uint64_t)len >> 8 * --bytes & 0xff);
    memcpy(out + n, mask, sizeof(mask));
    n += sizeof(mask);
    for (size_t i = 0; i < len; i++)
        out[n + i] = (char)(payload[i] ^ mask[i & 3]);
    return n + len;
}

size_t frame_read(const char *data, size_t len, struct frame *f)
{
    const unsigned char *byte = (const unsigned char *)data;
    size_t head = 2, bytes;
    uint64_t size = 0;

    if (len < head)
        return 0;
    if ((byte[0] & 0xf0) != 0x80 || byte[1] & 0x80)
        return FRAME_BAD;
    bytes = byte[1] == 126 ? 2 : byte[1] == 127 ? 8 : 0;
    if (len < head + bytes)
        return 0;
    if (bytes == 0)
        size = byte[1];
    for (size_t i = 0; i < bytes; i++)
        size = size << 8 | byte[head + i];
    head += bytes;
    if (len - head < size)
        return 0;
    *f = (struct frame){byte[0] & 0x0f, data + head, (size_t)size};
    return head + (size_t)size;
}
