/* SPDX-License-Identifier: MIT */
/* bytes: reference-counted buffers to send, and a builder for them.
   Allocation never returns NULL: a process out of memory logs it and aborts. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signalbox/span.h"

char *span_dup(struct span a); /* a zero-terminated copy; the caller frees it */

void *mem_alloc(size_t size); /* zeroed; freed with free() */
void *mem_grow(void *old, size_t size);
char *mem_dup(const char *text);

/* One outgoing frame, shared by all who send it. The room before its first byte belongs to
   the WebSocket library, which writes the frame header there. */
#define BYTES_HEADROOM 16
struct bytes;
struct bytes *bytes_new(size_t len);        /* one reference, content undefined */
struct bytes *bytes_copy(struct span text); /* one reference */
struct bytes *bytes_ref(struct bytes *b);   /* one more reference to the same bytes */
void bytes_unref(struct bytes *b);          /* frees with the last one; NULL is fine */
bool bytes_queued(struct bytes *b);         /* for net/frames.c: true if no other queue holds them */
bool bytes_unqueued(struct bytes *b);       /* true if no other queue holds them any more */
char *bytes_data(struct bytes *b);
size_t bytes_len(const struct bytes *b);
struct span bytes_span(const struct bytes *b); /* borrowed as long as the reference */

/* Grows while it is written to; all zero is an empty builder. */
struct builder {
    struct bytes *bytes;
    size_t room;
};
void builder_add(struct builder *w, struct span text);
void builder_text(struct builder *w, const char *text);
void builder_expect(struct builder *w, size_t more); /* so many bytes will come: room for them is made at once */
void builder_number(struct builder *w, unsigned long long n); /* in decimal digits; faster than builder_printf() */
void builder_printf(struct builder *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void builder_json(struct builder *w, struct span text); /* as a JSON string with its quotes; text is UTF-8 */
/* "name":"text" of a JSON object, behind a comma unless it is the first after the brace. */
void builder_member(struct builder *w, const char *name, const char *text);
size_t builder_len(const struct builder *w);
struct bytes *builder_take(struct builder *w); /* its bytes, one reference; the builder is empty again */
void builder_free(struct builder *w);
