/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/frame_watch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What goes on, and each ping with a bar before it. */
struct seen {
    struct builder on, pings;
    bool violated;
};

static void on_ping(struct span payload, void *arg)
{
    struct seen *s = arg;

    assert(payload.len <= CONTROL_PAYLOAD_MAX);
    builder_text(&s->pings, "|");
    builder_add(&s->pings, payload);
}

static void pass(struct frame_watch *w, struct span piece, struct seen *s)
{
    char *buf = malloc(piece.len + 1); /* of that size: what is written behind it is seen */
    size_t kept;

    memcpy(buf, piece.at, piece.len);
    kept = frame_watch_pass(w, buf, piece.len, on_ping, s);
    assert(kept <= piece.len);
    builder_add(&s->on, (struct span){buf, kept});
    free(buf);
}

static struct seen watch(struct span bytes, size_t piece)
{
    struct frame_watch w = {0};
    struct seen s = {0};

    for (size_t at = 0; at < bytes.len; at += piece)
        pass(&w, (struct span){bytes.at + at, bytes.len - at < piece ? bytes.len - at : piece}, &s);
    s.violated = w.violated;
    frame_watch_free(&w);
    return s;
}

static struct span text_of(const struct builder *b)
{
    return b->bytes ? bytes_span(b->bytes) : (struct span){"", 0};
}

/* The first byte says in pieces of what size the rest comes; whatever it is, the same becomes of it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span bytes = {(const char *)data + 1, size - 1};
    struct seen whole, pieces;

    if (size < 2)
        return 0;
    whole = watch(bytes, bytes.len);
    pieces = watch(bytes, (size_t)*data + 1);
    assert(span_equals(text_of(&whole.pings), text_of(&pieces.pings)) && whole.violated == pieces.violated);
    /* The first byte of a frame that turns out to be none may have gone on. */
    assert(text_of(&pieces.on).len - text_of(&whole.on).len <= whole.violated);
    assert(memcmp(text_of(&whole.on).at, text_of(&pieces.on).at, text_of(&whole.on).len) == 0);
    builder_free(&whole.on);
    builder_free(&whole.pings);
    builder_free(&pieces.on);
    builder_free(&pieces.pings);
    return 0;
}
