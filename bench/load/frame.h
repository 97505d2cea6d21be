/* SPDX-License-Identifier: MIT */
/* frame: WebSocket frames as a client writes and reads them (RFC 6455 section 5). Its mask is zero, which is a mask as
   any other and spares the work. */
#pragma once

#include <stddef.h>

#define FRAME_HEAD_MAX 14

enum { FRAME_TEXT = 1, FRAME_CLOSE = 8, FRAME_PING = 9, FRAME_PONG = 10 };

struct frame {
    unsigned opcode;
    const char *payload; /* within the bytes that were read */
    size_t len;
};

/* The head of a whole message of that length; returns its own length. */
size_t frame_head(char out[static FRAME_HEAD_MAX], unsigned opcode, size_t len);

/* The first frame of what has come: how many bytes it takes, 0: it is not whole yet, FRAME_BAD: no server of ours sends
   this (masked, in fragments, or with bits that nobody agreed on). */
#define FRAME_BAD ((size_t)-1)
size_t frame_read(const char *data, size_t len, struct frame *f);
