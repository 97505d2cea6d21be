/* SPDX-License-Identifier: MIT */
#include "signalbox/keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static void __attribute__((format(printf, 2, 3))) write_key(char *out, const char *format, ...)
{
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(out, KEY_MAX, format, list);
    va_end(list);
    assert(n > 0 && n < KEY_MAX);
    (void)n;
}

void key_inbox(char out[static KEY_MAX], const char *wid)
{
    write_key(out, "sb:inbox:%s", wid);
}

void key_worker(char out[static KEY_MAX], const char *wid)
{
    write_key(out, "sb:worker:%s", wid);
}

void key_owners(char out[static KEY_MAX], const char *wid)
{
    write_key(out, "sb:{own:%s}", wid);
}

void key_owned(char out[static KEY_MAX], const char *wid, uint64_t sid)
{
    write_key(out, "sb:{own:%s}:%" PRIu64, wid, sid);
}

void key_peer(char out[static KEY_MAX], const char *peer)
{
    write_key(out, "sb:{peer:%s}", peer);
}

void key_point(char out[static KEY_MAX], const char *kind, const char *point)
{
    write_key(out, "sb:{%s:%s}", kind, point);
}

void key_point_ends(char out[static KEY_MAX], const char *kind, const char *point)
{
    write_key(out, "sb:{%s:%s}:ends", kind, point);
}

void key_chunk(char out[static KEY_MAX], const char *chunk, const char *part)
{
    write_key(out, "sb:{chunk:%s}:%s", chunk, part);
}
