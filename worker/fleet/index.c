/* SPDX-License-Identifier: MIT */
#include "signalbox/index.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/script.h"

#define UNDO_BATCH_LAST "127" /* rank of the last entry that is undone in one go */
#define UNDOING_MAX 256       /* closed sockets that are undone at once */
#define RETRY_MS 1000
#define SHORT_ENTRY 64 /* bytes; a socket's list with a longer one takes LONG_LIST_BYTES more */
#define LONG_LIST_BYTES 900
#define ENTRY_BYTES 50

/* What a session has in the index. */
struct indexed {
    bool noted, lost;
    /* loop_ms(): when it last stored something that its client alone could write again, till when all of that has
       ended, and what of it is undone with the session */
    int64_t stored_ms, stored_until_ms, noted_until_ms;
};

/* A socket that has closed and still has entries in Redis. */
struct closed {
    struct address address;
    TAILQ_ENTRY(closed) next;
    UT_hash_handle hh;
};

TAILQ_HEAD(closed_list, closed);

static struct closed_list waiting = TAILQ_HEAD_INITIALIZER(waiting), undoing = TAILQ_HEAD_INITIALIZER(undoing),
                          failed = TAILQ_HEAD_INITIALIZER(failed);
static struct closed *pending; /* in all three, by sid */
static size_t undoing_count;
static size_t slot; /* of a session: struct indexed */
static struct metric *undone;

static struct indexed *indexed_of(struct session *s)
{
    void **indexed = session_slot(s, slot);

    if (!*indexed)
        *indexed = mem_alloc(sizeof(struct indexed));
    return *indexed;
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

/* --- notes --- */

/* Tells the client to begin anew, because nobody else remembers what it has stored. */
static void close_lost(struct session *s)
{
    LOG_INFO("registrations_lost", LOG_INT("sid", session_id_of(s)));
    session_close(s, CLOSE_GOING_AWAY, "registrations lost");
}

struct noting {
    struct address address; /* under which it is noted */
    int64_t until_ms;
};

static void remember_stored(struct indexed *i, int64_t until_ms)
{
    i->stored_ms = loop_ms();
    if (until_ms > i->stored_until_ms)
        i->stored_until_ms = until_ms;
}

static void remember_noted(struct indexed *i, int64_t until_ms)
{
    if (until_ms == 0)
        return;
    remember_stored(i, until_ms);
    if (until_ms > i->noted_until_ms)
        i->noted_until_ms = until_ms;
}

/* If this is the worker's first owner, Redis may not list the worker, because it is new, or because Redis was emptied.
   It beats at once: if it died before its next beat, nobody would clean up after it. If the worker has another wid by
   now, what was stored under the former one is being removed, and the client has to store it again. */
static void on_noted(const struct reply *r, void *arg)
{
    struct noting *n = arg;
    struct session *s = session_find(n->address.sid);
    long long new, first;

    if (r && reply_read(r, "ii", &new, &first) && first)
        lease_beat_now();
    if (s && n->until_ms > 0 && strcmp(n->address.wid, self_wid()) != 0)
        close_lost(s);
    else if (r && s)
        remember_noted(indexed_of(s), n->until_ms);
    free(n);
}

void index_note(struct session *s, size_t count, const struct note *notes)
{
    struct address self = self_address(session_id_of(s));
    struct noting *n;
    struct call c;

    if (count == 0)
        return;
    n = mem_alloc(sizeof(*n));
    n->address = self;
    indexed_of(s)->noted |= redis_up(); /* else it will not arrive, and there is nothing to undo */
    c = index_call(&script_own_note, &self);
    for (size_t i = 0; i < count; i++) {
        call_int(&c, notes[i].ttl_ms);
        call_text(&c, notes[i].entry);
        if (notes[i].ttl_ms > 0 && loop_ms() + notes[i].ttl_ms > n->until_ms)
            n->until_ms = loop_ms() + notes[i].ttl_ms;
    }
    call_send(&c, on_noted, n);
}

void index_forget(struct session *s, size_t count, const struct note *notes)
{
    struct address self = self_address(session_id_of(s));
    struct call c = index_call(&script_own_forget, &self);

    for (size_t i = 0; i < count; i++)
        call_text(&c, notes[i].entry);
    call_send(&c, NULL, NULL);
}

size_t index_bytes(size_t entry_len)
{
    return ENTRY_BYTES + entry_len + (entry_len > SHORT_ENTRY ? LONG_LIST_BYTES : 0);
}

/* --- what is lost --- */

void index_stored(struct session *s, long long ttl_ms)
{
    remember_stored(indexed_of(s), loop_ms() + ttl_ms);
}

static void lose_noted(struct session *s, void *arg)
{
    struct indexed *i = *session_slot(s, slot);

    (void)arg;
    if (i && i->noted_until_ms > loop_ms())
        i->lost = true;
}

void index_reaped(void)
{
    session_each_part(0, 1, lose_noted, NULL);
}

struct losing {
    int64_t since_ms;
    size_t sockets;
};

static void lose_stored(struct session *s, void *arg)
{
    struct indexed *i = *session_slot(s, slot);
    struct losing *l = arg;

    if (!i || i->stored_until_ms <= loop_ms() || i->stored_ms < l->since_ms)
        return;
    i->lost = true;
    l->sockets++;
}

size_t index_lost(int64_t since_ms)
{
    struct losing l = {.since_ms = since_ms};

    session_each_part(0, 1, lose_stored, &l);
    return l.sockets;
}

bool index_close_if_lost(struct session *s)
{
    bool lost = indexed_of(s)->lost;

    if (lost)
        close_lost(s);
    return lost;
}

/* --- undoing --- */

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

/* Redis runs commands in the order in which they are sent, so an entry leaves the index only after it was undone. */
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
        entry_undo(entry.at, &u->address);
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

void index_undo(const struct address *a, bool (*may)(void), void (*done)(bool ok, void *arg), void *arg)
{
    struct undoing *u = mem_alloc(sizeof(*u));

    *u = (struct undoing){*a, may, done, arg};
    next_batch(u);
}

/* --- sockets of this worker that have closed --- */

static void undo_waiting(void);

/* An undo that failed is left alone for RETRY_MS: Redis is away, or refuses to write. */
static void on_undone(bool ok, void *arg)
{
    struct closed *c = arg;

    TAILQ_REMOVE(&undoing, c, next);
    undoing_count--;
    if (!ok) {
        TAILQ_INSERT_TAIL(&failed, c, next);
        return;
    }
    HASH_DEL(pending, c);
    free(c);
    undo_waiting();
}

/* Undoes no more than UNDOING_MAX at once: after an outage thousands may wait, and Redis is busy with the living. */
static void undo_waiting(void)
{
    struct closed *c;

    while (redis_up() && undoing_count < UNDOING_MAX && (c = TAILQ_FIRST(&waiting))) {
        TAILQ_REMOVE(&waiting, c, next);
        TAILQ_INSERT_TAIL(&undoing, c, next);
        undoing_count++;
        index_undo(&c->address, NULL, on_undone, c);
    }
}

size_t index_pending(void)
{
    return HASH_COUNT(pending);
}

bool index_is_undoing(session_id sid)
{
    struct closed *c;

    HASH_FIND(hh, pending, &sid, sizeof(sid), c);
    return c != NULL;
}

void index_on_session_end(struct session *s)
{
    struct indexed *i = *session_slot(s, slot);
    struct closed *c;

    if (!i)
        return;
    if (i->noted) {
        c = mem_alloc(sizeof(*c));
        c->address = self_address(session_id_of(s));
        TAILQ_INSERT_TAIL(&waiting, c, next);
        HASH_ADD(hh, pending, address.sid, sizeof(c->address.sid), c);
        undo_waiting();
    }
    free(i);
    *session_slot(s, slot) = NULL;
}

void index_on_redis_up(void)
{
    TAILQ_CONCAT(&waiting, &failed, next);
    undo_waiting();
}

static void on_retry(void *arg)
{
    (void)arg;
    index_on_redis_up();
}

void index_init(void)
{
    slot = session_slot_new();
    undone = metric_counter("signalbox_entries_undone_total", "Registered entries removed for sockets that left");
    timer_every(RETRY_MS, on_retry, NULL);
}

static void free_list(struct closed_list *list)
{
    for (struct closed *c; (c = TAILQ_FIRST(list));) {
        TAILQ_REMOVE(list, c, next);
        free(c);
    }
}

void index_fini(void)
{
    HASH_CLEAR(hh, pending);
    free_list(&waiting);
    free_list(&undoing);
    free_list(&failed);
}
