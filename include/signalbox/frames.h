/* SPDX-License-Identifier: MIT */
/* frames: a queue of messages, to a client or from it, and what all queues of the worker take together. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "signalbox/bytes.h"

/* What a frame takes beside its bytes: the entry, their head, what malloc adds to both. */
#define FRAME_COST 128

struct frame {
    struct bytes *bytes;
    bool binary;
    STAILQ_ENTRY(frame) next;
};
STAILQ_HEAD(frames, frame);

size_t frames_push(struct frames *f, struct bytes *b, bool binary); /* takes one reference; returns its length */
struct frame *frames_pop(struct frames *f);                         /* there is one; the caller frees it */
void frame_free(struct frame *f);
void frames_clear(struct frames *f);

/* Of all queues, and what was added besides; bytes that wait in many of them count once. */
size_t frames_total(void);
void frames_add_other(size_t bytes); /* kept for a client, but in no queue */
void frames_sub_other(size_t bytes);
