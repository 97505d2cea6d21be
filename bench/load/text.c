/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define QUESTIONS 16

bool text_begins(const char *text, size_t len, const char *begin)
{
    size_t size = strlen(begin);

    return len >= size && memcmp(text, begin, size) == 0;
}

const char *text_after(const char *text, size_t len, const char *mark)
{
    size_t size = strlen(mark);
    const char *at = memmem(text, len, mark, size);

    return at ? at + size : NULL;
}

static uint64_t value_of(char letter, const struct client *c)
{
    switch (letter) {
    case 'i':
        return c->index;
    case 'g':
        return c->index / options.group;
    case 'j':
        return c->index % options.group;
    case 'n':
        return c->sent;
    case 'm':
        return c->sent % QUESTIONS;
    default:
        abort();
    }
}

size_t load_fill(char *out, size_t room, const char *template, const struct client *c)
{
    size_t len = 0;

    for (const char *at = template; *at && len + 24 < room; at++) {
        if (*at == '%')
            len += (size_t)snprintf(out + len, room - len, "%llu", (unsigned long long)value_of(*++at, c));
        else
            out[len++] = *at;
    }
    return len;
}
