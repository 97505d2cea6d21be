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

/* Of "http://host:80/path" what begins with the path. */
static struct span without_origin(struct span target)
{
    const char *slash;

    if (target.len && *target.at == '/')
        return target;
    slash = memchr(target.at, ':', target.len);
    target.len -= (size_t)(slash + 3 - target.at);
    target.at = slash + 3;
    while (target.len && *target.at != '/' && *target.at != '?')
        target = (struct span){target.at + 1, target.len - 1};
    return target;
}

/* An origin, in absolute form (RFC 9112 section 3.2.2). */
static bool is_absolute(struct span target)
{
    return (target.len > 7 && strncasecmp(target.at, "http://", 7) == 0) ||
           (target.len > 8 && strncasecmp(target.at, "https://", 8) == 0);
}

bool http_head_read_target(struct http_head *h)
{
    struct span target = h->raw_path, all;
    const char *question;

    if (h->parser.method == HTTP_OPTIONS && span_is(target, "*")) {
        h->path = mem_dup("*");
        h->encoded_slash = SIZE_MAX;
        return true;
    }
    if (*target.at != '/' && !is_absolute(target))
        return false;
    all = without_origin(target);
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
        const char *and = memchr(rest.at, '&', rest.len);
        struct span argument = {rest.at, and? (size_t)(and-rest.at) : rest.len};
        char *value;

        used = argument.len + (and != NULL);
        if (argument.len <= len || strncmp(argument.at, name, len) != 0 || argument.at[len] != '=')
            continue;
        value = mem_alloc(argument.len - len);
        if (!percent_decode((struct span){argument.at + len + 1, argument.len - len - 1}, value, &slash))
            *value = '\0';
        return value;
    }
    return NULL;
}
