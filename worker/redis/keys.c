/* SPDX-License-Identifier: MIT */
#include "signalbox/keys.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "signalbox/log.h"

/* What was cut off would be somebody else's: what does not fit is nobody's. No id that is valid is so long, but what
   Redis holds may be from anybody. */
static void __attribute__((format(printf, 2, 3))) write_key(char *out, const char *format, ...)
{
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(out, KEY_MAX, format, list);
    va_end(list);
    if (n >= 0 && n < KEY_MAX)
        return;
    LOG_ERROR("key_too_long", LOG_INT("bytes", n));
    snprintf(out, KEY_MAX, "sb:{none}");
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

/* A colon in the first of two names would let one pair look like another: it is written as in a URL. */
static void escape_name(char out[static 3 * ID_MAX + 1], const char *name)
{
    size_t n = 0;

    for (; *name && n < 3 * ID_MAX - 2; name++) {
        if (*name != ':' && *name != '%') {
            out[n++] = *name;
            continue;
        }
        memcpy(out + n, *name == ':' ? "%3A" : "%25", 3);
        n += 3;
    }
    out[n] = '\0';
}

static void write_code(char out[static KEY_MAX], const char *room, const char *code, const char *part)
{
    char escaped[3 * ID_MAX + 1];

    escape_name(escaped, room);
    write_key(out, "sb:{code:%s:%s}%s", escaped, code, part);
}

void key_code(char out[static KEY_MAX], const char *room, const char *code)
{
    write_code(out, room, code, "");
}

void key_requests(char out[static KEY_MAX], const char *room, const char *code)
{
    write_code(out, room, code, ":requests");
}

void key_link(char out[static KEY_MAX], const char *code)
{
    write_code(out, "", code, ":link");
}

void key_device(char out[static KEY_MAX], const char *device)
{
    write_key(out, "sb:{device:%s}", device);
}

void key_challenges(char out[static KEY_MAX], const char *device)
{
    write_key(out, "sb:{device:%s}:challenges", device);
}

void key_nonce(char out[static KEY_MAX], const char *nonce)
{
    write_key(out, "sb:{nonce:%s}", nonce);
}

void key_reference(char out[static KEY_MAX], const char *version, const char *platform, const char *part)
{
    char escaped[3 * ID_MAX + 1];

    escape_name(escaped, version);
    write_key(out, "sb:{ref:%s:%s}%s", escaped, platform, part);
}

void key_room_codes(char out[static KEY_MAX], const char *room)
{
    write_key(out, "sb:{signal:%s}", room);
}

void key_presence(char out[static KEY_MAX], const char *room)
{
    write_key(out, "sb:signal:%s", room);
}

void key_room(char out[static KEY_MAX], const char *room)
{
    write_key(out, "sb:{room:%s}", room);
}

void key_room_peers(char out[static KEY_MAX], const char *room)
{
    write_key(out, "sb:{room:%s}:peers", room);
}

void key_room_channel(char out[static KEY_MAX], const char *room)
{
    write_key(out, "sb:room:%s", room);
}

void key_room_peer(char out[static KEY_MAX], const char *peer)
{
    write_key(out, "sb:{member:%s}", peer);
}

void key_pool_member(char out[static KEY_MAX], const char *member)
{
    write_key(out, "sb:{pool:%s}", member);
}

void key_client(char out[static KEY_MAX], const char *client)
{
    write_key(out, "sb:{client:%s}", client);
}

void key_check(char out[static KEY_MAX], const char *id)
{
    write_key(out, "sb:{check:%s}", id);
}

void key_check_other(char out[static KEY_MAX], const char *id)
{
    write_key(out, "sb:{check:%s}:other", id);
}
