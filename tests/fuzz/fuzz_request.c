/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/http_body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is read of one request. */
struct reading {
    size_t head, used; /* bytes of the head; of it and of the body */
    unsigned status;   /* of what is wrong with it; 0: nothing */
    bool whole;
    struct builder body;
};

static void on_part(struct span part, void *arg)
{
    struct reading *r = arg;

    builder_add(&r->body, part);
}

static void read_body(struct reading *r, const struct http_head *h, struct span bytes, size_t piece)
{
    struct http_fault fault = {0};
    struct http_body b;

    http_body_begin(&b, h, on_part, r);
    for (size_t came = r->head; !b.whole && fault.status == 0;) {
        came = bytes.len - came < piece ? bytes.len : came + piece;
        r->used += http_body_read(&b, (struct span){bytes.at + r->used, came - r->used}, &fault);
        if (came == bytes.len)
            break;
    }
    r->whole = b.whole;
    r->status = fault.status;
    assert(h->chunked || builder_len(&r->body) <= h->body_length);
}

static void check_head(const struct http_head *h)
{
    assert(*h->path == '/' || strcmp(h->path, "*") == 0);
    for (const unsigned char *at = (const unsigned char *)h->path; *at; at++)
        assert(*at >= ' ' && *at != 0x7f);
    for (size_t i = 0; i < h->fields_count; i++)
        assert(h->fields[i].value.at[h->fields[i].value.len] == '\0' && h->fields[i].name.len > 0);
    free(http_head_joined(h, "x"));
    free(http_head_argument(h, "a"));
}

static struct reading read_request(struct span bytes, size_t piece)
{
    struct http_head_scan scan = {0};
    struct http_fault fault = {0};
    struct reading r = {0};
    struct http_head *h;

    for (size_t came = 0; came < bytes.len && r.head == 0 && fault.status == 0;) {
        came = bytes.len - came < piece ? bytes.len : came + piece;
        r.head = http_head_end(&scan, (struct span){bytes.at, came}, &fault);
    }
    h = r.head ? http_head_new((struct span){bytes.at, r.head}, &fault) : NULL;
    r.status = fault.status;
    r.used = r.head;
    if (h && r.status == 0) {
        check_head(h);
        if (h->chunked || h->body_length > 0)
            read_body(&r, h, bytes, piece);
    }
    http_head_free(h);
    return r;
}

/* The first byte says in pieces of what size the rest comes; whatever it is, it is the same request. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy;
    struct reading whole, pieces;

    if (size < 2)
        return 0;
    copy = malloc(size - 1); /* of that size: what is read behind it is seen */
    memcpy(copy, data + 1, size - 1);
    whole = read_request((struct span){copy, size - 1}, size - 1);
    pieces = read_request((struct span){copy, size - 1}, (size_t)*data + 1);
    assert(whole.head == pieces.head && whole.status == pieces.status && whole.whole == pieces.whole);
    assert(whole.status || whole.used == pieces.used);
    assert(whole.status || builder_len(&whole.body) == builder_len(&pieces.body));
    builder_free(&whole.body);
    builder_free(&pieces.body);
    free(copy);
    return 0;
}
