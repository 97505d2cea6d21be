/* SPDX-License-Identifier: MIT */
/* frame_watch: looks at the frames of a client (RFC 6455 section 5) on their way to libwebsockets, which takes unmasked
   ones, and answers the first of several pings and tells nobody. Pings are taken out; the rest goes on as it came. */
#pragma once

#include "signalbox/bytes.h"

#define FRAME_HEADER_MAX 14
#define CONTROL_PAYLOAD_MAX 125

struct frame_watch {
    unsigned char header[FRAME_HEADER_MAX];
    unsigned char header_len; /* of it that has come; 0: between two frames, or inside a payload */
    bool ping;                /* the present frame is one */
    bool violated;            /* what has come is no frame of a client; nothing goes on any more */
    unsigned long long left;  /* of its payload */
    unsigned char ping_mask[4];
    struct builder ping_payload; /* masked, as far as it has come */
};

/* Leaves in buf what goes on, and returns its length. on_ping is called with each ping's payload, unmasked. */
size_t frame_watch_pass(struct frame_watch *w, char *buf, size_t len, void (*on_ping)(struct span payload, void *arg),
                        void *arg);
void frame_watch_free(struct frame_watch *w);
