/* SPDX-License-Identifier: MIT */
#include "signalbox/http_body.h"

#include <ctype.h>
#include <string.h>

#define LINE_MAX_BYTES 1024       /* of a chunk's first line, or a trailer */
#define OVERHEAD_FREE (16 * 1024) /* bytes of chunked coding that may come with no data at all … */
#define OVERHEAD_EACH 8           /* … and so many more with each byte */

static const struct http_fault malformed = {400, "Malformed chunked body"};

static int on_data(http_parser *p, const char *at, size_t len)
{
    struct http_body *b = p->data;

    b->on_part((struct span){at, len}, b->arg);
    return 0;
}

static int on_chunk(http_parser *p)
{
    struct http_body *b = p->data;

    b->left = p->content_length;
    b->trailers = b->left == 0;
    return 0;
}

static int on_whole(http_parser *p)
{
    struct http_body *b = p->data;

    b->whole = true;
    return 0;
}

void http_body_begin(struct http_body *b, const struct http_head *h, void (*on_part)(struct span part, void *arg),
                     void *arg)
{
    *b = (struct http_body){.parser = h->parser,
                            .on_part = on_part,
                            .arg = arg,
                            .chunked = h->chunked,
                            .left = h->chunked ? 0 : h->body_length};
    b->parser.data = b;
}

static bool feed(struct http_body *b, struct span in)
{
    static const http_parser_settings settings = {
        .on_body = on_data, .on_chunk_header = on_chunk, .on_message_complete = on_whole};

    return http_parser_execute(&b->parser, &settings, in.at, in.len) == in.len &&
           HTTP_PARSER_ERRNO(&b->parser) == HPE_OK;
}

/* 1*HEXDIG [ ";" extension ] */
static bool is_chunk_line(struct span line)
{
    size_t digits = 0;

    while (digits < line.len && isxdigit((unsigned char)line.at[digits]))
        digits++;
    return digits > 0 && digits <= 16 && (digits == line.len || line.at[digits] == ';');
}

/* A whole line, with its end; an empty span as long as that has not come. */
static struct span whole_line(struct span in, struct http_fault *fault)
{
    const char *end = memchr(in.at, '\n', in.len);
    size_t len = end ? (size_t)(end - in.at) + 1 : in.len;

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)in.at[i];
        bool cr_fits = c != '\r' || i + 1 == len || in.at[i + 1] == '\n',
             lf_fits = c != '\n' || (i && in.at[i - 1] == '\r');

        if (!cr_fits || !lf_fits || c == 0x7f || (c < ' ' && !strchr("\t\r\n", c)) || c == '\0')
            *fault = malformed;
    }
    if (len > LINE_MAX_BYTES)
        *fault = malformed;
    return (struct span){in.at, end && fault->status == 0 ? len : 0};
}

/* What may be fed at once; 0: more is needed, or there is a fault. */
static size_t next_piece(struct http_body *b, struct span in, struct http_fault *fault)
{
    struct span line, text;

    if (b->left > 0)
        return in.len < b->left ? in.len : (size_t)b->left;
    if (b->ended_chunk) {
        if (in.len >= 2 && memcmp(in.at, "\r\n", 2) != 0)
            *fault = malformed;
        return in.len >= 2 && fault->status == 0 ? 2 : 0;
    }
    line = whole_line(in, fault);
    if (line.len == 0)
        return 0;
    text = (struct span){line.at, line.len - 2};
    if (!(b->trailers ? text.len == 0 || http_is_field_line(text) : is_chunk_line(text)))
        *fault = malformed;
    return fault->status ? 0 : line.len;
}

size_t http_body_read(struct http_body *b, struct span in, struct http_fault *fault)
{
    size_t used = 0;

    fault->status = 0;
    while (!b->whole && used < in.len) {
        size_t len = next_piece(b, (struct span){in.at + used, in.len - used}, fault);
        bool data = b->left > 0;

        if (len == 0)
            break;
        if (data) {
            b->left -= len;
            b->data += len;
        } else {
            b->overhead += len;
        }
        b->ended_chunk = data && b->left == 0 && b->chunked;
        if (!feed(b, (struct span){in.at + used, len}) || b->overhead > OVERHEAD_FREE + OVERHEAD_EACH * b->data) {
            *fault = malformed;
            break;
        }
        used += len;
    }
    return used;
}
