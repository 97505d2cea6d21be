/* SPDX-License-Identifier: MIT */
/* frame: WebSocket frames as a client writes and reads them (RFC 6455 section 5). It masks all with the same
   four bytes, which costs the server as much as others would. */
#pragma once

#include <stddef.h>

#define FRAME_HEAD_MAX 14

enum { FRAME_TEXT = 1, FRAME_CLOSE = 8, FRAME_PING = 9, FRAME_PONG = 10 };

struct frame {
    unsigned opcode;
    const char *payload; /* within the bytes that were read */
    size_t len;
};

/* A whole message as one frame into out, which has room for FRAME_HEAD_MAX bytes more; returns the frame's length. */
size_t frame_write(char *out, unsigned opcode, const char *payload, size_t len);

/* The first frame of what has come: how many bytes it takes, 0: it is not whole yet, FRAME_BAD: no server of ours sends
   this (masked, in fragments, or with bits that nobody agreed on). */
#define FRAME_BAD ((size_t)-1)
size_t frame_read(const char *data, size_t len, struct frame *f);
