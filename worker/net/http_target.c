/* SPDX-License-Identifier: MIT */
/* The target of a request: its path and its query (http_head.h). */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "signalbox/http_head.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What is encoded by a percent sign and the two digits behind it; -1: nothing. */
static int encoded(struct span text, size_t percent)
{
    int high = percent + 2 < text.len ? hex(text.at[percent + 1]) : -1;
    int low = high >= 0 ? hex(text.at[percent + 2]) : -1;

    return low < 0 ? -1 : high * 16 + low;
}

/* Once, and nothing else: no plus becomes a blank, no dots are resolved. out has room for text and a zero. false: a bad
   percent-encoding, or a control character. */
static bool percent_decode(struct span text, char *out, size_t *encoded_slash)
{
    size_t n = 0;

    *encoded_slash = SIZE_MAX;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.at[i];

        if (c == '%') {
            c = encoded(text, i);
            i += 2;
            if (c == '/' && *encoded_slash == SIZE_MAX)
                *encoded_slash = n;
        }
        if (c < ' ' || c == 0x7f)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* Of "http://host:80/path" (RFC 9112 section 3.2.2) what begins with the path. false: it has no such form, or no host
   (RFC 9110 section 4.2.1). */
static bool skip_origin(struct span *target)
{
    size_t scheme = target->len > 7 && strncasecmp(target->at, "http://", 7) == 0    ? 7
                    : target->len > 8 && strncasecmp(target->at, "https://", 8) == 0 ? 8
                                                                                     : 0;
    size_t at = scheme;

    while (at < target->len && target->at[at] != '/' && target->at[at] != '?')
        at++;
    *target = (struct span){target->at + at, target->len - at};
    return scheme > 0 && at > scheme;
}

bool http_head_read_target(struct http_head *h)
{
    struct span all = h->raw_path;
    const char *question;

    if (h->parser.method == HTTP_OPTIONS && span_is(all, "*")) {
        h->path = mem_dup("*");
        h->encoded_slash = SIZE_MAX;
        return true;
    }
    if (*all.at != '/' && !skip_origin(&all))
        return false;
    question = memchr(all.at, '?', all.len);
    h->raw_path = (struct span){all.at, question ? (size_t)(question - all.at) : all.len};
    h->query =
        (struct span){all.at + h->raw_path.len + (question != NULL), all.len - h->raw_path.len - (question != NULL)};
    if (h->raw_path.len == 0)
        h->raw_path = SPAN("/");
    for (size_t i = 0; i < h->query.len; i++)
        if (h->query.at[i] == '%' && encoded(h->query, i) < 0)
            return false;
    h->path = mem_alloc(h->raw_path.len + 1);
    return percent_decode(h->raw_path, h->path, &h->encoded_slash);
}

char *http_head_argument(const struct http_head *h, const char *name)
{
    struct span rest = h->query;
    size_t len = strlen(name), used, slash;

    for (; rest.len > 0; rest = (struct span){rest.at + used, rest.len - used}) {
        const char *end = memchr(rest.at, '&', rest.len);
        struct span argument = {rest.at, end ? (size_t)(end - rest.at) : rest.len};
        char *value;

        used = argument.len + (end != NULL);
        if (argument.len <= len || strncmp(argument.at, name, len) != 0 || argument.at[len] != '=')
            continue;
        value = mem_alloc(argument.len - len);
        if (!percent_decode((struct span){argument.at + len + 1, argument.len - len - 1}, value, &slash))
            *value = '\0';
        return value;
    }
    return NULL;
}
