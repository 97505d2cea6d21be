/* SPDX-License-Identifier: MIT */
/* A drop for many points of one message: Redis keeps it once, and the entries at the points refer to it. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/redis.h"
#include "signalbox/relay.h"
#include "signalbox/rendezvous.h"
#include "signalbox/script.h"

#define SHARED_LEAST 1024 /* bytes: to look up what is shorter costs more than its copies */
#define LOOK_UPS_AT_ONCE 8
#define LATER_MS 60000 /* it ends after all that refer to it */

/* One to which entries refer: others', or those that this message has replaced. */
struct drop_found {
    char id[DROP_ID_MAX];
    size_t len, times; /* so many entries */
    struct registering *owner;
    UT_hash_handle hh;
};

/* --- to leave one --- */

/* It has a name that follows from what it is and from whoever removes it: who registers the same again has it kept on,
   and nobody removes another's. */
static void name_drop(struct registering *r)
{
    char address[ADDRESS_MAX] = "";
    unsigned char hash[(DROP_ID_MAX - 1) / 2];
    crypto_generichash_state state;

    if (!meeting_outlives(&meeting_day))
        self_address_text(r->turn.session, address);
    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    crypto_generichash_update(&state, (const unsigned char *)address, sizeof(address));
    crypto_generichash_update(&state, (const unsigned char *)bytes_data(r->shared), bytes_len(r->shared));
    crypto_generichash_final(&state, hash, sizeof(hash));
    sodium_bin2hex(r->shared_id, sizeof(r->shared_id), hash, sizeof(hash));
}

bool registering_share(struct registering *r, struct bytes *text, size_t points)
{
    if (points < 2 || bytes_len(text) < SHARED_LEAST)
        return false;
    r->shared = bytes_ref(text);
    r->sharing = points;
    name_drop(r);
    return true;
}

void drop_entry(const struct registering *r, char out[static ENTRY_MAX])
{
    snprintf(out, ENTRY_MAX, "drop\t%s", r->shared_id);
}

void registering_keep_shared(struct registering *r, redis_callback on_kept)
{
    struct call c = call_new(&script_rendezvous_share);
    char key[KEY_MAX];

    key_drop(key, r->shared_id);
    call_key(&c, key);
    call_span(&c, bytes_span(r->shared));
    call_int(&c, meeting_ttl(&meeting_day) + LATER_MS);
    call_int(&c, (long long)r->sharing);
    call_send(&c, on_kept, r);
}

static void undo_drop(const char *id, const struct address *holder)
{
    char key[KEY_MAX];

    (void)holder;
    key_drop(key, id);
    redis_command(NULL, NULL, "UNLINK", key, NULL);
}

const struct entry_kind drop_kind = {"drop", undo_drop};

/* --- to read others' --- */

static size_t refer(struct registering *r, struct drop_found **all, const char *reference)
{
    struct drop_found *d;
    char id[DROP_ID_MAX];
    size_t len;

    if (sscanf(reference, "%32[0-9a-f] %zu", id, &len) != 2)
        return 0;
    HASH_FIND_STR(*all, id, d);
    if (!d) {
        d = mem_alloc(sizeof(*d));
        memcpy(d->id, id, sizeof(id));
        d->len = len;
        d->owner = r;
        HASH_ADD_STR(*all, id, d);
    }
    d->times++;
    return len;
}

size_t registering_refer(struct registering *r, const char *reference)
{
    return refer(r, &r->found, reference);
}

void registering_replaces(struct registering *r, const char *reference)
{
    refer(r, &r->replaced, reference);
}

static void look_on(struct registering *r);

/* One that has ended meanwhile, with its socket, is told no more. */
static void on_looked(const struct reply *reply, void *arg)
{
    struct drop_found *d = arg;
    struct registering *r = d->owner;
    struct span text = reply_span(reply);

    r->under_way--;
    if (!reply)
        r->failed = ERR_UNAVAILABLE;
    for (size_t i = 0; text.len == d->len && i < d->times; i++)
        registering_add_drop(r, text);
    turn_keeps(&r->turn, d->times * text.len);
    look_on(r);
}

static void look_on(struct registering *r)
{
    bool goes_on = turn_session(&r->turn) && r->failed == ERR_NONE;
    char key[KEY_MAX];

    while (goes_on && r->looking && r->under_way < LOOK_UPS_AT_ONCE) {
        key_drop(key, r->looking->id);
        redis_command(on_looked, r->looking, "HGET", key, "text", NULL);
        r->looking = r->looking->hh.next;
        r->under_way++;
    }
    if (r->under_way == 0)
        r->next(r);
}

/* What nobody refers to any more counts no more, either. */
static void on_unshared(const struct reply *reply, void *arg)
{
    struct drop_found *d = arg;
    long long gone;

    d->owner->under_way--;
    if (reply && reply_read(reply, "i", &gone) && gone)
        d->owner->parts[DAYS].unstored += shared_cost(d->len);
    look_on(d->owner);
}

static void unshare(struct drop_found *d)
{
    struct call c = call_new(&script_rendezvous_unshare);
    char key[KEY_MAX];

    key_drop(key, d->id);
    call_key(&c, key);
    call_int(&c, (long long)d->times);
    call_send(&c, on_unshared, d);
    d->owner->under_way++;
}

void registering_look_up(struct registering *r, void (*next)(struct registering *r))
{
    struct drop_found *d, *after;

    r->next = next;
    r->looking = r->found;
    HASH_ITER (hh, r->replaced, d, after)
        unshare(d);
    look_on(r);
}

static void free_all(struct drop_found *all)
{
    struct drop_found *d, *next;

    HASH_ITER (hh, all, d, next) {
        HASH_DEL(all, d);
        free(d);
    }
}

void registering_free_found(struct registering *r)
{
    free_all(r->found);
    free_all(r->replaced);
}
