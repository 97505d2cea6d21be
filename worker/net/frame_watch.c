/* SPDX-License-Identifier: MIT */
#include "signalbox/frame_watch.h"

#include <string.h>

#define OPCODE 0x0f
#define OPCODE_PING 0x9
#define FIN 0x80
#define RESERVED 0x70
#define MASKED 0x80
#define LENGTH 0x7f

/* Of the whole header, once its second byte has come. */
static size_t header_size(const struct frame_watch *w)
{
    unsigned length = w->header[1] & LENGTH;

    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

static unsigned long long payload_size(const struct frame_watch *w)
{
    size_t extended = header_size(w) - 6;
    unsigned long long size = 0;

    if (extended == 0)
        return w->header[1] & LENGTH;
    for (size_t i = 0; i < extended; i++)
        size = size << 8 | w->header[2 + i];
    return size;
}

static void end_ping(struct frame_watch *w, void (*on_ping)(struct span payload, void *arg), void *arg)
{
    struct bytes *payload;

    builder_add(&w->ping_payload, (struct span){"", 0});
    payload = builder_take(&w->ping_payload);
    for (size_t i = 0; i < bytes_len(payload); i++)
        bytes_data(payload)[i] = (char)(bytes_data(payload)[i] ^ (char)w->ping_mask[i % 4]);
    on_ping(bytes_span(payload), arg);
    bytes_unref(payload);
}

/* Takes one byte of a header. What is wrong with other control frames libwebsockets sees to. */
static void take_header_byte(struct frame_watch *w, unsigned char byte)
{
    w->header[w->header_len++] = byte;
    if (w->header_len == 1) {
        w->ping = (byte & OPCODE) == OPCODE_PING;
        w->violated = w->ping && (byte & (FIN | RESERVED)) != FIN;
    } else if (w->header_len == 2) {
        w->violated = !(byte & MASKED) || (w->ping && (byte & LENGTH) > CONTROL_PAYLOAD_MAX);
    }
    if (w->header_len < 2 || w->header_len < header_size(w))
        return;
    memcpy(w->ping_mask, w->header + w->header_len - 4, 4);
    w->left = payload_size(w);
    w->header_len = 0;
}

size_t frame_watch_pass(struct frame_watch *w, char *buf, size_t len, void (*on_ping)(struct span payload, void *arg),
                        void *arg)
{
    size_t kept = 0, used = 0;

    while (used < len && !w->violated) {
        size_t n = 1;
        bool in_payload = w->left > 0;

        if (in_payload) {
            n = len - used < w->left ? len - used : (size_t)w->left;
            w->left -= n;
        } else {
            take_header_byte(w, (unsigned char)buf[used]);
        }
        if (in_payload && w->ping)
            builder_add(&w->ping_payload, (struct span){buf + used, n});
        if (!w->ping && !w->violated) {
            memmove(buf + kept, buf + used, n);
            kept += n;
        }
        used += n;
        if (w->ping && !w->violated && w->header_len == 0 && w->left == 0)
            end_ping(w, on_ping, arg);
    }
    return kept;
}

void frame_watch_free(struct frame_watch *w)
{
    builder_free(&w->ping_payload);
}
