/* SPDX-License-Identifier: MIT */
#include "signalbox/bytes.h"
#include "signalbox/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUILDER_ROOM_LEAST 240

struct bytes {
    size_t len;
    unsigned refs, queues;
    char headroom[BYTES_HEADROOM];
    char data[];
};

char *span_dup(struct span a)
{
    char *copy = mem_alloc(a.len + 1);

    if (a.len)
        memcpy(copy, a.at, a.len);
    return copy;
}

static _Noreturn void out_of_memory(size_t wanted)
{
    LOG_ERROR("out_of_memory", LOG_INT("wanted_bytes", wanted));
    abort();
}

static size_t size_sum(size_t a, size_t b)
{
    size_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        out_of_memory(SIZE_MAX);
    return sum;
}

void *mem_alloc(size_t size)
{
    void *got = calloc(1, size ? size : 1);

    if (!got)
        out_of_memory(size);
    return got;
}

void *mem_grow(void *old, size_t size)
{
    void *got = realloc(old, size ? size : 1);

    if (!got)
        out_of_memory(size);
    return got;
}

char *mem_dup(const char *text)
{
    return span_dup(span_of(text));
}

struct bytes *bytes_new(size_t len)
{
    struct bytes *b = mem_grow(NULL, size_sum(sizeof(*b), len));

    b->len = len;
    b->refs = 1;
    b->queues = 0;
    return b;
}

struct bytes *bytes_copy(struct span text)
{
    struct bytes *b = bytes_new(text.len);

    if (text.len)
        memcpy(b->data, text.at, text.len);
    return b;
}

struct bytes *bytes_ref(struct bytes *b)
{
    b->refs++;
    return b;
}

void bytes_unref(struct bytes *b)
{
    if (!b)
        return;
    assert(b->refs > 0);
    if (--b->refs == 0)
        free(b);
}

bool bytes_queued(struct bytes *b)
{
    return b->queues++ == 0;
}

bool bytes_unqueued(struct bytes *b)
{
    assert(b->queues > 0);
    return --b->queues == 0;
}

char *bytes_data(struct bytes *b)
{
    return b->data;
}

size_t bytes_len(const struct bytes *b)
{
    return b->len;
}

struct span bytes_span(const struct bytes *b)
{
    return (struct span){b->data, b->len};
}

/* Makes room for more bytes behind those written, and says where they go. */
static char *builder_reserve(struct builder *w, size_t more)
{
    size_t len = builder_len(w);
    size_t needed = size_sum(len, more);

    if (!w->bytes || needed > w->room) {
        w->room = needed > w->room * 2 ? needed : w->room * 2;
        if (w->room < BUILDER_ROOM_LEAST)
            w->room = BUILDER_ROOM_LEAST;
        if (w->bytes)
            w->bytes = mem_grow(w->bytes, size_sum(sizeof(*w->bytes), w->room));
        else
            w->bytes = bytes_new(w->room);
        w->bytes->len = len;
    }
    return w->bytes->data + len;
}

void builder_expect(struct builder *w, size_t more)
{
    builder_reserve(w, more);
}

void builder_add(struct builder *w, struct span text)
{
    if (!text.len)
        return;
    memcpy(builder_reserve(w, text.len), text.at, text.len);
    w->bytes->len += text.len;
}

void builder_text(struct builder *w, const char *text)
{
    builder_add(w, span_of(text));
}

void builder_printf(struct builder *w, const char *format, ...)
{
    va_list args, again;

    va_start(args, format);
    va_copy(again, args);
    char *at = builder_reserve(w, 1);
    size_t room = w->room - w->bytes->len;
    int len = vsnprintf(at, room, format, args);
    if (len < 0)
        abort();
    if ((size_t)len >= room) {
        at = builder_reserve(w, (size_t)len + 1);
        vsnprintf(at, (size_t)len + 1, format, again);
    }
    w->bytes->len += (size_t)len;
    va_end(again);
    va_end(args);
}

void builder_number(struct builder *w, unsigned long long n)
{
    char digits[20], *at = digits + sizeof(digits);

    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    builder_add(w, (struct span){at, (size_t)(digits + sizeof(digits) - at)});
}

static void builder_escape(struct builder *w, unsigned char c)
{
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: the byte, the letter of its escape */

    static const char digits[] = "0123456789abcdef";
    char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 0xf]};

    for (size_t i = 0; i + 1 < sizeof(names); i += 2) {
        if ((unsigned char)names[i] == c) {
            escape[1] = names[i + 1];
            builder_add(w, (struct span){escape, 2});
            return;
        }
    }
    builder_add(w, (struct span){escape, sizeof(escape)});
}

void builder_json(struct builder *w, struct span text)
{
    size_t from = 0;

    if (!text.len)
        text = SPAN("");
    builder_add(w, SPAN("\""));
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        builder_add(w, (struct span){text.at + from, i - from});
        builder_escape(w, c);
        from = i + 1;
    }
    builder_add(w, (struct span){text.at + from, text.len - from});
    builder_add(w, SPAN("\""));
}

void builder_member(struct builder *w, const char *name, const char *text)
{
    size_t len = builder_len(w);

    builder_text(w, len > 0 && w->bytes->data[len - 1] == '{' ? "\"" : ",\"");
    builder_text(w, name);
    builder_add(w, SPAN("\":"));
    builder_json(w, span_of(text));
}

size_t builder_len(const struct builder *w)
{
    return w->bytes ? w->bytes->len : 0;
}

struct bytes *builder_take(struct builder *w)
{
    struct bytes *b = w->bytes ? w->bytes : bytes_new(0);

    *w = (struct builder){0};
    return b;
}

void builder_free(struct builder *w)
{
    bytes_unref(w->bytes);
    *w = (struct builder){0};
}
