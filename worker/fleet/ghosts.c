/* SPDX-License-Identifier: MIT */
#include "signalbox/ghosts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/address.h"
#include "signalbox/identity.h"
#include "signalbox/index.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"

#define STEP_MS 20
#define STEP_SOCKETS "50"
#define LOOK_MS 60000 /* what reached Redis late is there for no longer */

/* The look under way, if wid is set. */
static struct {
    char wid[WID_LEN + 1]; /* under which it began */
    char cursor[24];
    bool thorough, anew;
    size_t pending; /* sockets of this step whose answer is to come */
    size_t sockets, entries;
} look;

static void next_step(void *arg);

static void begin(void)
{
    look.anew = false;
    memcpy(look.wid, self_wid(), sizeof(look.wid));
    snprintf(look.cursor, sizeof(look.cursor), "0");
    next_step(NULL);
}

static void end(void)
{
    if (look.sockets || look.entries)
        LOG_INFO("ghosts_undone", LOG_INT("sockets", look.sockets), LOG_INT("entries", look.entries));
    memset(&look, 0, sizeof(look));
}

/* Another name than at the beginning has other keys: a look follows the resync that comes with it. */
static bool is_over(void)
{
    return !look.anew && (strcmp(look.cursor, "0") == 0 || strcmp(look.wid, self_wid()) != 0);
}

static void on_looked_at(void)
{
    if (--look.pending > 0)
        return;
    if (is_over())
        end();
    else
        timer_once(STEP_MS, next_step, NULL);
}

static void on_undone(bool ok, void *arg)
{
    (void)arg;
    look.sockets += ok;
    on_looked_at();
}

static bool has(struct session *s, const char *entry)
{
    const char *rest;
    const struct entry_kind *kind = entry_kind_of(entry, &rest);

    if (kind && kind->key)
        return identity_wanted(s, kind, rest);
    return !kind || !kind->holds || kind->holds(s, rest);
}

static void let_go(struct session *s, const char *entry, const struct address *self)
{
    look.entries++;
    entry_undo(entry, self);
    index_forget(s, 1, &(struct note){.entry = entry});
}

/* What the socket registers after this answer has come reaches Redis behind what is undone here. */
static void on_entries(const struct reply *r, void *arg)
{
    struct address *a = arg;
    struct session *s = session_find(a->sid);

    for (size_t i = 0; s && strcmp(a->wid, self_wid()) == 0 && i < reply_count(r); i++) {
        const char *entry = reply_span(reply_at(r, i)).at;

        if (!has(s, entry))
            let_go(s, entry, a);
    }
    free(a);
    on_looked_at();
}

/* Entries without an end are those that a worker knows of, too; of the others its client alone does. */
static void look_at_open(const struct address *a)
{
    struct address *asked = mem_alloc(sizeof(*asked));
    char key[KEY_MAX];

    *asked = *a;
    key_owned(key, a->wid, a->sid);
    redis_command(on_entries, asked, "ZRANGEBYSCORE", key, "+inf", "+inf", NULL);
}

static void look_at(uint64_t sid)
{
    struct address a = {.sid = sid};

    memcpy(a.wid, look.wid, sizeof(a.wid));
    if (index_is_undoing(sid) || (session_find(sid) && !look.thorough))
        return;
    look.pending++;
    if (session_find(sid))
        look_at_open(&a);
    else
        index_undo(&a, NULL, on_undone, NULL);
}

/* A socket that opens meanwhile is not among them: its sid is new. If Redis is away, a resync begins a look anew. */
static void on_scanned(const struct reply *r, void *arg)
{
    struct span cursor;
    const struct reply *sids;

    (void)arg;
    look.pending = 1;
    if (r && reply_read(r, "sr", &cursor, &sids)) {
        snprintf(look.cursor, sizeof(look.cursor), "%.*s", (int)cursor.len, cursor.at);
        for (size_t i = 0; i < reply_count(sids); i++)
            look_at((uint64_t)reply_int(reply_at(sids, i)));
    } else {
        snprintf(look.cursor, sizeof(look.cursor), "0");
    }
    on_looked_at();
}

static void next_step(void *arg)
{
    char key[KEY_MAX];

    (void)arg;
    if (look.anew) {
        begin();
        return;
    }
    key_owners(key, look.wid);
    redis_command(on_scanned, NULL, "SSCAN", key, look.cursor, "COUNT", STEP_SOCKETS, NULL);
}

void ghosts_look(bool thorough)
{
    look.thorough |= thorough;
    if (*look.wid)
        look.anew = true;
    else
        begin();
}

/* A look that takes longer than LOOK_MS comes to its end all the same. */
static void on_time(void *arg)
{
    (void)arg;
    if (redis_up() && !*look.wid)
        ghosts_look(false);
}

void ghosts_init(void)
{
    timer_every(LOOK_MS, on_time, NULL);
}
