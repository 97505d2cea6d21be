/* SPDX-License-Identifier: MIT */
/* http_body: the body of a request (RFC 9112 sections 6 and 7), of a length that is known or in chunks. http-parser
   takes chunks apart; what it lets pass is refused before: lines without CRLF, chunks that do not end where they said.
 */
#pragma once

#include "signalbox/http_head.h"

struct http_body {
    http_parser parser;
    void (*on_part)(struct span part, void *arg);
    void *arg;
    bool chunked, whole;
    bool ended_chunk, trailers;        /* the CRLF behind a chunk is next; the last chunk has come */
    unsigned long long left;           /* of the chunk, or of a body of known length */
    unsigned long long data, overhead; /* bytes that came, of either */
};

/* A body follows the head. on_part is called for its parts, within http_body_read(). */
void http_body_begin(struct http_body *b, const struct http_head *h, void (*on_part)(struct span part, void *arg),
                     void *arg);
/* How much of it was used; b->whole once the body has ended. fault->status is set where it is malformed. */
size_t http_body_read(struct http_body *b, struct span in, struct http_fault *fault);
