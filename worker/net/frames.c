/* SPDX-License-Identifier: MIT */
#include "signalbox/frames.h"

#include <stdlib.h>

static size_t total;

size_t frames_push(struct frames *f, struct bytes *b, bool binary)
{
    struct frame *frame = mem_alloc(sizeof(*frame));

    frame->bytes = b;
    frame->binary = binary;
    STAILQ_INSERT_TAIL(f, frame, next);
    total += FRAME_COST + (bytes_queued(b) ? bytes_len(b) : 0);
    return bytes_len(b);
}

struct frame *frames_pop(struct frames *f)
{
    struct frame *first = STAILQ_FIRST(f);

    STAILQ_REMOVE_HEAD(f, next);
    total -= FRAME_COST + (bytes_unqueued(first->bytes) ? bytes_len(first->bytes) : 0);
    return first;
}

void frame_free(struct frame *f)
{
    bytes_unref(f->bytes);
    free(f);
}

void frames_clear(struct frames *f)
{
    while (!STAILQ_EMPTY(f))
        frame_free(frames_pop(f));
}

size_t frames_total(void)
{
    return total;
}

void frames_add_other(size_t bytes)
{
    total += bytes;
}

void frames_sub_other(size_t bytes)
{
    total -= bytes;
}
