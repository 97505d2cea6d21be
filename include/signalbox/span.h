/* SPDX-License-Identifier: MIT */
/* span: text in somebody else's memory. Asks for none itself, so that log can use it, which says that there is none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Borrowed memory; not terminated by a zero. */
struct span {
    const char *at;
    size_t len;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})
struct span span_of(const char *text); /* text is terminated by a zero; NULL gives an empty span */
bool span_equals(struct span a, struct span b);
bool span_is(struct span a, const char *text);
struct span span_trim(struct span a); /* without blanks and tabs at its ends */

/* How many bytes the first character of text takes (RFC 3629); 0: invalid UTF-8, or nothing left. */
size_t utf8_len(struct span text);
