/* SPDX-License-Identifier: MIT */
#include "signalbox/keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/log.h"

#define HEAD_MAX (REDIS_PREFIX_MAX + 16)

#define DEFINE_FIXED(name, ...) char name[FIXED_NAME_MAX];
FIXED_KEYS(DEFINE_FIXED)
#undef DEFINE_FIXED
char KEY_MIGRATION[2 * FIXED_NAME_MAX], CHANNEL_POOL[FIXED_NAME_MAX];

static const struct {
    char *name;
    const char *rest;
} fixed[] = {
#define FIXED_ROW(name, rest) {name, rest},
    FIXED_KEYS(FIXED_ROW)
#undef FIXED_ROW
};

static struct head {
    char text[HEAD_MAX];
    size_t len;
} key_head, channel_head;

static void set_head(struct head *h, const char *prefix, const char *database)
{
    h->len = (size_t)snprintf(h->text, sizeof(h->text), "%s%s", prefix, database);
}

/* A slash is in no prefix: nobody's own prefix looks like that of a database. */
void keys_init(const char *prefix, int db)
{
    char database[16] = "";

    assert(strlen(prefix) <= REDIS_PREFIX_MAX);
    if (db != 0 && strcmp(prefix, REDIS_PREFIX_DEFAULT) == 0)
        snprintf(database, sizeof(database), "db%d/", db);
    set_head(&key_head, prefix, "");
    set_head(&channel_head, prefix, database);
    for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
        snprintf(fixed[i].name, FIXED_NAME_MAX, "%s%s", prefix, fixed[i].rest);
    snprintf(KEY_MIGRATION, sizeof(KEY_MIGRATION), "%s{%s}:migration", prefix, KEY_SCHEMA);
    snprintf(CHANNEL_POOL, sizeof(CHANNEL_POOL), "%spool", channel_head.text);
}

/* What was cut off would be somebody else's: what does not fit is nobody's. No id that is valid is so long, but what
   Redis holds may be from anybody. */
static void __attribute__((format(printf, 3, 4)))
write_name(char *out, const struct head *head, const char *format, ...)
{
    size_t room = KEY_MAX - head->len;
    va_list list;
    int n;

    memcpy(out, head->text, head->len);
    va_start(list, format);
    n = vsnprintf(out + head->len, room, format, list);
    va_end(list);
    if (n >= 0 && (size_t)n < room)
        return;
    LOG_ERROR("key_too_long", LOG_INT("bytes", n));
    snprintf(out + head->len, room, "{none}");
}

void key_inbox(char out[static KEY_MAX], const char *wid)
{
    write_name(out, &channel_head, "inbox:%s", wid);
}

void key_worker(char out[static KEY_MAX], const char *wid)
{
    write_name(out, &key_head, "worker:%s", wid);
}

void key_owners(char out[static KEY_MAX], const char *wid)
{
    write_name(out, &key_head, "{own:%s}", wid);
}

void key_owned(char out[static KEY_MAX], const char *wid, uint64_t sid)
{
    write_name(out, &key_head, "{own:%s}:%" PRIu64, wid, sid);
}

void key_peer(char out[static KEY_MAX], const char *peer)
{
    write_name(out, &key_head, "{peer:%s}", peer);
}

void key_point(char out[static KEY_MAX], const char *kind, const char *point)
{
    write_name(out, &key_head, "{%s:%s}", kind, point);
}

void key_point_ends(char out[static KEY_MAX], const char *kind, const char *point)
{
    write_name(out, &key_head, "{%s:%s}:ends", kind, point);
}

void key_drop(char out[static KEY_MAX], const char *id)
{
    write_name(out, &key_head, "{drop:%s}", id);
}

void key_chunk(char out[static KEY_MAX], const char *chunk, const char *part)
{
    write_name(out, &key_head, "{chunk:%s}:%s", chunk, part);
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
    write_name(out, &key_head, "{code:%s:%s}%s", escaped, code, part);
}

void key_code(char out[static KEY_MAX], const char *room, const char *code)
{
    write_code(out, room, code, "");
}

void key_requests(char out[static KEY_MAX], const char *room, const char *code)
{
    write_code(out, room, code, ":requests");
}

void key_askers(char out[static KEY_MAX], const char *room, const char *code)
{
    write_code(out, room, code, ":askers");
}

void key_link(char out[static KEY_MAX], const char *code)
{
    write_code(out, "", code, ":link");
}

void key_device(char out[static KEY_MAX], const char *device)
{
    write_name(out, &key_head, "{device:%s}", device);
}

void key_challenges(char out[static KEY_MAX], const char *ip)
{
    write_name(out, &key_head, "{ip:%s}:challenges", ip);
}

void key_nonce(char out[static KEY_MAX], const char *nonce)
{
    write_name(out, &key_head, "{nonce:%s}", nonce);
}

void key_reference(char out[static KEY_MAX], const char *version, const char *platform, const char *part)
{
    char escaped[3 * ID_MAX + 1];

    escape_name(escaped, version);
    write_name(out, &key_head, "{ref:%s:%s}%s", escaped, platform, part);
}

void key_room_codes(char out[static KEY_MAX], const char *room)
{
    write_name(out, &key_head, "{signal:%s}", room);
}

void key_presence(char out[static KEY_MAX], const char *room)
{
    write_name(out, &channel_head, "signal:%s", room);
}

void key_room(char out[static KEY_MAX], const char *room)
{
    write_name(out, &key_head, "{room:%s}", room);
}

void key_room_peers(char out[static KEY_MAX], const char *room)
{
    write_name(out, &key_head, "{room:%s}:peers", room);
}

void key_room_channel(char out[static KEY_MAX], const char *room)
{
    write_name(out, &channel_head, "room:%s", room);
}

void key_room_peer(char out[static KEY_MAX], const char *peer)
{
    write_name(out, &key_head, "{member:%s}", peer);
}

void key_pool_member(char out[static KEY_MAX], const char *member)
{
    write_name(out, &key_head, "{pool:%s}", member);
}

void key_client(char out[static KEY_MAX], const char *client)
{
    write_name(out, &key_head, "{client:%s}", client);
}

/* An address has no braces. */
void key_stored(char out[static KEY_MAX], const char *range, const char *part)
{
    write_name(out, &key_head, "{stored:%s}%s", range, part);
}

void key_check(char out[static KEY_MAX], const char *id)
{
    write_name(out, &key_head, "{check:%s}", id);
}

void key_check_other(char out[static KEY_MAX], const char *id)
{
    write_name(out, &key_head, "{check:%s}:other", id);
}
