/* SPDX-License-Identifier: MIT */
#include "signalbox/resync.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/formers.h"
#include "signalbox/ghosts.h"
#include "signalbox/inbox.h"
#include "signalbox/lease.h"
#include "signalbox/loop.h"
#include "signalbox/script.h"
#include "signalbox/storage.h"

#define RESYNC_MS 20
#define RESYNC_SOCKETS 50 /* about so many in each RESYNC_MS */
#define CLAIM_MS 15000    /* a claim takes no longer than this, and */
#define CLAIM_ASKS 4      /* times TAKEOVER_PROBE_MS */
#define AGAIN_MS 5000     /* until a refresh that failed is tried again */
#define REFRESH_MS 1000
#define REFRESH_PARTS 200 /* of REFRESH_MS each: an identity is refreshed three times in its IDENTITY_TTL_MS */

/* An identity that is being refreshed, or waits for it. */
struct refreshing {
    session_id session;
    char *entry;
    int64_t again_ms; /* loop_ms() */
    TAILQ_ENTRY(refreshing) next;
};

static TAILQ_HEAD(, refreshing) unrefreshed = TAILQ_HEAD_INITIALIZER(unrefreshed); /* by again_ms */
static unsigned resync_part, resync_parts;
static struct timer *resync_timer, *settled_timer;

static struct refreshing *refreshing_new(const struct identity *i)
{
    struct refreshing *f = mem_alloc(sizeof(*f));

    f->session = i->session;
    f->entry = mem_dup(i->entry);
    return f;
}

static void refreshing_free(struct refreshing *f)
{
    free(f->entry);
    free(f);
}

/* --- one identity --- */

/* Tries again in AGAIN_MS, because Redis did not answer, or the other holder could not be asked. */
static void refresh_later(struct refreshing *f)
{
    struct identity *i = identity_of(f->session, f->entry);

    if (!i || i->waits) {
        refreshing_free(f);
        return;
    }
    i->waits = true;
    f->again_ms = loop_ms() + AGAIN_MS;
    TAILQ_INSERT_TAIL(&unrefreshed, f, next);
}

static void on_kept(struct refreshing *f)
{
    const struct identity *i = identity_of(f->session, f->entry);
    struct address self = self_address(f->session);

    if (i && !index_close_if_lost(session_find(f->session)) && i->kind->on_restored)
        i->kind->on_restored(i->id, &self);
    refreshing_free(f);
}

static void on_contested(struct session *s, enum claim_result result, long long since_ms, void *arg)
{
    struct refreshing *f = arg;

    (void)since_ms;
    if (result == CLAIM_UNAVAILABLE) {
        refresh_later(f);
    } else if (result == CLAIM_GRANTED) {
        on_kept(f);
    } else {
        if (s)
            claim_close_replaced(f->session);
        refreshing_free(f);
    }
}

/* Another address has the identity. That may be a former socket of the same client, whose last refresh reached Redis
   late, when Redis had lost the identity. So that socket is asked: if it lives, or cannot be asked just now, it keeps
   the identity. */
static void contest(struct refreshing *f)
{
    const struct identity *i = identity_of(f->session, f->entry);
    char key[KEY_MAX];

    if (!i) {
        refreshing_free(f);
        return;
    }
    i->kind->key(key, i->id);
    claim_contest(session_find(f->session), key, on_contested, f);
}

static void on_refreshed(const struct reply *r, void *arg)
{
    struct refreshing *f = arg;
    long long kept;

    if (!r || !reply_read(r, "i", &kept) || kept < 0 || kept > 2)
        refresh_later(f);
    else if (kept > 0)
        on_kept(f);
    else
        contest(f);
}

static void refresh(const struct identity *i)
{
    struct call c = call_new(&script_claim_refresh);
    char key[KEY_MAX], address[ADDRESS_MAX];

    i->kind->key(key, i->id);
    call_key(&c, key);
    self_address_text(i->session, address);
    call_text(&c, address);
    self_former_text(i->session, address);
    call_text(&c, address);
    call_int(&c, IDENTITY_TTL_MS);
    call_send(&c, on_refreshed, refreshing_new(i));
}

void resync_kind(struct session *s, const struct entry_kind *kind)
{
    struct identity *const *all;
    size_t count = identities_of(s, &all);

    for (size_t i = 0; i < count; i++)
        if (all[i]->kind == kind)
            refresh(all[i]);
}

void resync_identity(struct session *s, const struct entry_kind *kind, const char *id)
{
    struct identity *const *all;
    size_t count = identities_of(s, &all);

    for (size_t i = 0; i < count; i++)
        if (all[i]->kind == kind && strcmp(all[i]->id, id) == 0)
            refresh(all[i]);
}

/* --- the identities of a session --- */

/* Notes the identities in the index, too: if Redis has lost the ones, it has lost the others. */
static void refresh_session(struct session *s, void *arg)
{
    struct identity *const *all;
    size_t count = identities_of(s, &all);
    struct note *notes;

    (void)arg;
    if (count == 0) {
        (void)index_close_if_lost(s);
        return;
    }
    notes = mem_alloc(count * sizeof(*notes));
    for (size_t i = 0; i < count; i++)
        notes[i].entry = all[i]->entry;
    index_note(s, count, notes);
    free(notes);
    for (size_t i = 0; i < count; i++)
        refresh(all[i]);
}

static void refresh_unrefreshed(void)
{
    struct refreshing *f;

    while ((f = TAILQ_FIRST(&unrefreshed)) && f->again_ms <= loop_ms()) {
        struct identity *i = identity_of(f->session, f->entry);

        TAILQ_REMOVE(&unrefreshed, f, next);
        if (i) {
            i->waits = false;
            index_note(session_find(f->session), 1, &(struct note){.entry = i->entry});
            refresh(i);
        }
        refreshing_free(f);
    }
}

/* A socket that is open keeps its ids, however little it says. */
static void on_refresh(void *arg)
{
    static unsigned part;

    (void)arg;
    refresh_unrefreshed();
    if (redis_up())
        session_each_part(part++ % REFRESH_PARTS, REFRESH_PARTS, refresh_session, NULL);
}

/* --- all of them --- */

static void on_resync(void *arg)
{
    (void)arg;
    identities_note_again(loop_ms() + CLAIM_MS + CLAIM_ASKS * config->takeover_probe_ms);
    if (redis_up() && resync_part < resync_parts)
        session_each_part(resync_part++, resync_parts, refresh_session, NULL);
    if (resync_part < resync_parts)
        return;
    timer_free(resync_timer);
    resync_timer = NULL;
    formers_resynced();
    ghosts_look(true);
}

static void begin(void)
{
    resync_part = 0;
    resync_parts = (unsigned)(session_count() / RESYNC_SOCKETS) + 1;
    storage_tell_again();
    if (!resync_timer)
        resync_timer = timer_every(RESYNC_MS, on_resync, NULL);
}

static void on_settled(void *arg)
{
    (void)arg;
    settled_timer = NULL;
    begin();
}

/* Runs twice, SETTLED_MS apart. The leader may have begun to clean up after this worker while Redis had lost its lease,
   and what was sent on a connection that was given up may have reached Redis late. */
void resync_all(void)
{
    begin();
    timer_free(settled_timer);
    settled_timer = timer_once(SETTLED_MS, on_settled, NULL);
}

void resync_init(void)
{
    inbox_on_heard_again(resync_all);
    timer_every(REFRESH_MS, on_refresh, NULL);
}

void resync_fini(void)
{
    for (struct refreshing *f; (f = TAILQ_FIRST(&unrefreshed));) {
        TAILQ_REMOVE(&unrefreshed, f, next);
        refreshing_free(f);
    }
}
