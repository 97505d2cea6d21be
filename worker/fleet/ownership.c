/* SPDX-License-Identifier: MIT */
#include "signalbox/ownership.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/claim.h"
#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/heartbeat.h"
#include "signalbox/inbox.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/script.h"

#define UNDO_BATCH_LAST "127" /* rank of the last entry that is undone in one go */
#define RESYNC_MS 20
#define RESYNC_SOCKETS 50 /* about so many in each RESYNC_MS */
#define CLAIM_MS 15000    /* no claim takes longer, besides */
#define CLAIM_ASKS 4      /* times the time for which it waits for a holder */
#define AGAIN_MS 5000     /* after which a refresh is tried again that did not succeed */
#define REFRESH_PARTS 200 /* of a second each: an identity is refreshed three times in its IDENTITY_TTL_MS */

struct identity {
    const char *kind;
    const char *id; /* within entry */
    char *entry;    /* kind TAB id */
    long long since_ms;
    session_id session;
    bool waiting; /* among the unrefreshed */
    UT_hash_handle hh;
};

struct owned {
    bool noted;
    /* loop_ms(): since when, and till when, it has entries in Redis that its client alone could write again */
    int64_t stored_since_ms, stored_until_ms;
    struct identity **identities;
    size_t count, room;
};

/* A socket that has closed and still owns something in Redis. */
struct closed {
    struct address address;
    bool under_way;
    TAILQ_ENTRY(closed) next;
};

static struct identity *held_here; /* by entry */
static TAILQ_HEAD(, closed) closed = TAILQ_HEAD_INITIALIZER(closed);
static size_t pending;
static struct metric *undone;

static struct owned *owned_of(struct session *s)
{
    void **slot = session_slot(s, SLOT_OWNERSHIP);

    if (!*slot)
        *slot = mem_alloc(sizeof(struct owned));
    return *slot;
}

static struct call index_call(const struct script *script, const struct address *a)
{
    struct call c = call_new(script);
    char key[KEY_MAX];

    key_owners(key, a->wid);
    call_key(&c, key);
    key_owned(key, a->wid, a->sid);
    call_key(&c, key);
    snprintf(key, sizeof(key), "%" PRIu64, a->sid);
    call_text(&c, key);
    return c;
}

/* Its client is told to begin anew: what it has stored is in nobody else's memory. */
static void registrations_lost(struct session *s)
{
    LOG_INFO("registrations_lost", LOG_INT("sid", session_id_of(s)));
    session_close(s, CLOSE_GOING_AWAY, "registrations lost");
}

struct noting {
    struct address address; /* under which it is noted */
    int64_t until_ms;
};

/* The first socket of a worker, or Redis was emptied and does not list this worker: were it to die before its next
   beat, nobody would clean up after it. What was stored under a name that this worker has lost since is lost, too. */
static void on_noted(const struct reply *r, void *arg)
{
    struct noting *n = arg;
    struct session *s = session_find(n->address.sid);
    struct owned *o = s ? owned_of(s) : NULL;
    long long new, first;

    if (r && reply_read(r, "ii", &new, &first) && first)
        heartbeat_now();
    if (s && n->until_ms > 0 && strcmp(n->address.wid, self_wid()) != 0) {
        registrations_lost(s);
    } else if (r && o && n->until_ms > o->stored_until_ms) {
        if (o->stored_until_ms < loop_ms())
            o->stored_since_ms = loop_ms();
        o->stored_until_ms = n->until_ms;
    }
    free(n);
}

void ownership_note(struct session *s, size_t count, const struct note *notes)
{
    struct address self = self_address(session_id_of(s));
    struct noting *n;
    struct call c;

    if (count == 0)
        return;
    n = mem_alloc(sizeof(*n));
    n->address = self;
    owned_of(s)->noted |= redis_up(); /* else it will not arrive, and there is nothing to undo */
    c = index_call(&script_own_note, &self);
    for (size_t i = 0; i < count; i++) {
        call_int(&c, notes[i].ttl_ms);
        call_text(&c, notes[i].entry);
        if (notes[i].ttl_ms > 0 && loop_ms() + notes[i].ttl_ms > n->until_ms)
            n->until_ms = loop_ms() + notes[i].ttl_ms;
    }
    call_send(&c, on_noted, n);
}

void ownership_forget(struct session *s, size_t count, const struct note *notes)
{
    struct address self = self_address(session_id_of(s));
    struct call c = index_call(&script_own_forget, &self);

    for (size_t i = 0; i < count; i++)
        call_text(&c, notes[i].entry);
    call_send(&c, NULL, NULL);
}

/* An identity that is being refreshed, or waits for it. */
struct refreshing {
    session_id session;
    char *entry;
    int64_t again_ms; /* loop_ms() */
    TAILQ_ENTRY(refreshing) next;
};

static TAILQ_HEAD(, refreshing) unrefreshed = TAILQ_HEAD_INITIALIZER(unrefreshed); /* by again_ms */
static int64_t resynced_ms;

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

static void refresh_later(struct identity *i)
{
    struct refreshing *f;

    if (i->waiting)
        return;
    i->waiting = true;
    f = refreshing_new(i);
    f->again_ms = loop_ms() + AGAIN_MS;
    TAILQ_INSERT_TAIL(&unrefreshed, f, next);
}

static size_t identity_index(const struct owned *o, const char *kind, const char *id)
{
    size_t i = 0;

    while (i < o->count && (strcmp(o->identities[i]->id, id) != 0 || strcmp(o->identities[i]->kind, kind) != 0))
        i++;
    return i;
}

static struct identity *find_identity(struct session *s, const char *kind, const char *id)
{
    struct owned *o = owned_of(s);
    size_t i = identity_index(o, kind, id);

    return i < o->count ? o->identities[i] : NULL;
}

/* A successor on this worker may have taken the place in the index of one that is just being closed. */
static void identity_free(struct identity *i)
{
    struct identity *indexed;

    HASH_FIND_STR(held_here, i->entry, indexed);
    if (indexed == i)
        HASH_DEL(held_here, i);
    free(i->entry);
    free(i);
}

static struct identity *identity_new(const char *kind, const char *id)
{
    struct identity *i = mem_alloc(sizeof(*i)), *former;
    struct builder entry = {0};

    builder_text(&entry, kind);
    builder_text(&entry, "\t");
    builder_text(&entry, id);
    i->kind = kind;
    i->entry = span_dup(bytes_span(entry.bytes));
    i->id = i->entry + strlen(kind) + 1;
    builder_free(&entry);
    HASH_FIND_STR(held_here, i->entry, former);
    if (former)
        HASH_DEL(held_here, former);
    HASH_ADD_KEYPTR(hh, held_here, i->entry, strlen(i->entry), i);
    return i;
}

/* Redis may have been emptied between the note of it and its claim, and the resync did not know of it yet. */
void identity_add(struct session *s, const char *kind, const char *id, long long since_ms)
{
    struct owned *o = owned_of(s);
    struct identity *i = find_identity(s, kind, id);

    if (!i) {
        if (o->count == o->room) {
            o->room = o->room ? o->room * 2 : 2;
            o->identities = mem_grow(o->identities, o->room * sizeof(struct identity *));
        }
        i = identity_new(kind, id);
        i->session = session_id_of(s);
        o->identities[o->count++] = i;
    }
    i->since_ms = since_ms;
    if (resynced_ms && loop_ms() - resynced_ms < CLAIM_MS + CLAIM_ASKS * config->takeover_probe_ms)
        ownership_note(s, 1, &(struct note){.entry = i->entry});
}

struct session *identity_holder(const char *entry)
{
    const struct identity *i;

    HASH_FIND_STR(held_here, entry, i);
    return i ? session_find(i->session) : NULL;
}

bool identity_held(struct session *s, const char *kind, const char *id)
{
    return find_identity(s, kind, id) != NULL;
}

long long identity_since(struct session *s, const char *kind, const char *id)
{
    const struct identity *found = find_identity(s, kind, id);

    return found ? found->since_ms : 0;
}

void identity_drop(struct session *s, const char *kind, const char *id)
{
    struct owned *o = owned_of(s);
    size_t i = identity_index(o, kind, id);

    if (i == o->count)
        return;
    identity_free(o->identities[i]);
    o->identities[i] = o->identities[--o->count];
}

size_t identity_count(struct session *s, const char *kind)
{
    struct owned *o = owned_of(s);
    size_t n = 0;

    for (size_t i = 0; i < o->count; i++)
        n += strcmp(o->identities[i]->kind, kind) == 0;
    return n;
}

/* The kind of an entry, and what stands behind its first tab. */
static const struct entry_kind *find_kind(const char *entry, const char **rest)
{
    size_t len = strcspn(entry, "\t");

    for (const struct domain *const *d = domains; *d && entry[len]; d++) {
        for (const struct entry_kind *const *kind = (*d)->kinds; kind && *kind; kind++) {
            if (strlen((*kind)->word) == len && memcmp((*kind)->word, entry, len) == 0) {
                *rest = entry + len + 1;
                return *kind;
            }
        }
    }
    LOG_WARNING("entry_of_unknown_kind");
    return NULL;
}

void ownership_undo_entry(const char *entry, const struct address *holder)
{
    const char *rest;
    const struct entry_kind *kind = find_kind(entry, &rest);

    if (kind)
        kind->undo(rest, holder);
}

void ownership_missing(const char *entry, const struct address *holder, session_id from)
{
    const char *rest;
    const struct entry_kind *kind = find_kind(entry, &rest);

    if (kind && kind->gone)
        kind->gone(rest, holder, from);
}

void ownership_gone(const char *entry, const struct address *holder, session_id from)
{
    ownership_undo_entry(entry, holder);
    ownership_missing(entry, holder, from);
}

static int64_t reaped_ms; /* when this worker was last taken for dead */

static bool was_reaped(const struct owned *o)
{
    return o->stored_until_ms > loop_ms() && o->stored_since_ms <= reaped_ms;
}

static void on_refreshed(enum claim_refreshed result, void *arg)
{
    struct refreshing *f = arg;
    struct session *s = session_find(f->session);
    struct address self = self_address(f->session);
    const char *id;
    const struct entry_kind *kind = find_kind(f->entry, &id);
    struct identity *i = s ? find_identity(s, kind->word, id) : NULL;

    if (i && result == REFRESH_UNKNOWN) {
        refresh_later(i);
    } else if (i && result >= REFRESH_KEPT) {
        if (result == REFRESH_AGAIN && was_reaped(owned_of(s)))
            registrations_lost(s);
        else if (kind->kept)
            kind->kept(id, &self);
    }
    refreshing_free(f);
}

static void refresh_identity(const struct identity *i)
{
    struct refreshing *f = refreshing_new(i);
    struct address self = self_address(i->session);
    const char *id;
    char key[KEY_MAX];

    find_kind(i->entry, &id)->key(key, id);
    claim_refresh(key, &self, on_refreshed, f);
}

void identity_refresh(struct session *s, const char *kind, const char *id)
{
    const struct identity *i = find_identity(s, kind, id);

    if (i)
        refresh_identity(i);
}

void ownership_lost(const char *entry, session_id from)
{
    const char *rest;
    const struct entry_kind *kind = find_kind(entry, &rest);
    struct session *s = session_find(from);

    if (kind && kind->lost)
        kind->lost(rest, from);
    else if (s)
        session_fail(s, ERR_UNAVAILABLE, NULL);
}

struct undoing {
    struct address address;
    bool (*may)(void);
    void (*done)(bool ok, void *arg);
    void *arg;
};

static void finish(struct undoing *u, bool ok)
{
    u->done(ok, u->arg);
    free(u);
}

static void next_batch(struct undoing *u);

static void on_batch_forgotten(const struct reply *r, void *arg)
{
    struct undoing *u = arg;
    long long left;

    if (!r || !reply_read(r, "i", &left))
        finish(u, false);
    else if (left > 0)
        next_batch(u);
    else
        finish(u, true);
}

/* Redis runs what is sent in its order: an entry leaves the index only after it was undone. */
static void on_batch(const struct reply *r, void *arg)
{
    struct undoing *u = arg;
    struct call c;

    if (!r || (u->may && !u->may())) {
        finish(u, false);
        return;
    }
    c = index_call(&script_own_forget, &u->address);
    for (size_t i = 0; i < reply_count(r); i++) {
        struct span entry = reply_span(reply_at(r, i));
        ownership_undo_entry(entry.at, &u->address);
        call_span(&c, entry);
    }
    metric_add(undone, (double)reply_count(r));
    call_send(&c, on_batch_forgotten, u);
}

static void next_batch(struct undoing *u)
{
    char key[KEY_MAX];

    key_owned(key, u->address.wid, u->address.sid);
    redis_command(on_batch, u, "ZRANGE", key, "0", UNDO_BATCH_LAST, NULL);
}

void ownership_undo(const struct address *a, bool (*may)(void), void (*done)(bool ok, void *arg), void *arg)
{
    struct undoing *u = mem_alloc(sizeof(*u));

    *u = (struct undoing){*a, may, done, arg};
    next_batch(u);
}

size_t ownership_pending(void)
{
    return pending;
}

static void on_undone(bool ok, void *arg)
{
    struct closed *c = arg;

    c->under_way = false;
    if (!ok)
        return;
    TAILQ_REMOVE(&closed, c, next);
    pending--;
    free(c);
}

static void undo_closed(struct closed *c)
{
    c->under_way = true;
    ownership_undo(&c->address, NULL, on_undone, c);
}

/* Redis was away when they closed, or refused to write. */
static void retry(void)
{
    struct closed *c;

    if (!redis_up())
        return;
    TAILQ_FOREACH (c, &closed, next)
        if (!c->under_way)
            undo_closed(c);
}

void ownership_on_session_end(struct session *s)
{
    struct owned *o = *session_slot(s, SLOT_OWNERSHIP);
    struct closed *c;

    if (!o)
        return;
    if (o->noted) {
        c = mem_alloc(sizeof(*c));
        c->address = self_address(session_id_of(s));
        TAILQ_INSERT_TAIL(&closed, c, next);
        pending++;
        undo_closed(c);
    }
    for (size_t i = 0; i < o->count; i++)
        identity_free(o->identities[i]);
    free(o->identities);
    free(o);
    *session_slot(s, SLOT_OWNERSHIP) = NULL;
}

/* Into the index, too: if Redis has lost the one, it has lost the other. */
static void refresh_session(struct session *s, void *arg)
{
    struct owned *o = *session_slot(s, SLOT_OWNERSHIP);
    struct note *notes;

    (void)arg;
    if (!o || o->count == 0)
        return;
    notes = mem_alloc(o->count * sizeof(*notes));
    for (size_t i = 0; i < o->count; i++)
        notes[i].entry = o->identities[i]->entry;
    ownership_note(s, o->count, notes);
    free(notes);
    for (size_t i = 0; i < o->count; i++)
        refresh_identity(o->identities[i]);
}

/* What Redis did not answer, or a holder that could not be asked, may have left an open socket without its id. */
static void refresh_unrefreshed(void)
{
    struct refreshing *f;

    while ((f = TAILQ_FIRST(&unrefreshed)) && f->again_ms <= loop_ms()) {
        struct session *s = session_find(f->session);
        const char *id;
        const struct entry_kind *kind = find_kind(f->entry, &id);
        struct identity *i = s ? find_identity(s, kind->word, id) : NULL;

        TAILQ_REMOVE(&unrefreshed, f, next);
        if (i) {
            i->waiting = false;
            ownership_note(s, 1, &(struct note){.entry = i->entry});
            refresh_identity(i);
        }
        refreshing_free(f);
    }
}

/* A socket that is open keeps its ids, however little it says. */
static void on_refresh(void *arg)
{
    static unsigned part;

    (void)arg;
    retry();
    refresh_unrefreshed();
    if (redis_up())
        session_each_part(part++ % REFRESH_PARTS, REFRESH_PARTS, refresh_session, NULL);
}

void identity_refresh_all(struct session *s, const char *kind)
{
    struct owned *o = owned_of(s);

    for (size_t i = 0; i < o->count; i++)
        if (strcmp(o->identities[i]->kind, kind) == 0)
            refresh_identity(o->identities[i]);
}

/* Frames were missed, and perhaps Redis has lost what it held: every id is written again, a few sockets at a time. */
static unsigned resync_part, resync_parts;
static struct timer *resync_timer, *settled_timer;

static void on_resync(void *arg)
{
    (void)arg;
    resynced_ms = loop_ms();
    if (redis_up() && resync_part < resync_parts)
        session_each_part(resync_part++, resync_parts, refresh_session, NULL);
    if (resync_part < resync_parts)
        return;
    timer_free(resync_timer);
    resync_timer = NULL;
}

static void begin_resync(void)
{
    resync_part = 0;
    resync_parts = (unsigned)(session_count() / RESYNC_SOCKETS) + 1;
    if (!resync_timer)
        resync_timer = timer_every(RESYNC_MS, on_resync, NULL);
}

static void on_settled(void *arg)
{
    (void)arg;
    settled_timer = NULL;
    begin_resync();
}

/* And once more: while Redis had lost the lease with all else, the leader may have begun to clean up after this worker,
   or what was sent on a connection that was given up may have come late. */
void ownership_resync(void)
{
    begin_resync();
    timer_free(settled_timer);
    settled_timer = timer_once(SETTLED_MS, on_settled, NULL);
}

void ownership_reaped(void)
{
    reaped_ms = loop_ms();
}

void ownership_on_redis_up(void)
{
    retry();
    ownership_resync();
}

void ownership_init(void)
{
    inbox_on_heard_again(ownership_resync);
    timer_every(1000, on_refresh, NULL);
    undone = metric_counter("signalbox_entries_undone_total", "Registered entries removed for sockets that left");
}

void ownership_fini(void)
{
    while (!TAILQ_EMPTY(&closed)) {
        struct closed *c = TAILQ_FIRST(&closed);
        TAILQ_REMOVE(&closed, c, next);
        free(c);
    }
    while (!TAILQ_EMPTY(&unrefreshed)) {
        struct refreshing *f = TAILQ_FIRST(&unrefreshed);
        TAILQ_REMOVE(&unrefreshed, f, next);
        refreshing_free(f);
    }
}
