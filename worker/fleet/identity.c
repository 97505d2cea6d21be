/* SPDX-License-Identifier: MIT */
#include "signalbox/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/loop.h"
#include "signalbox/storage.h"

#define ID_BYTES 290 /* what Redis needs for an id beside its text, which is in the name of its hash, and the index */

struct identities {
    struct identity **all;
    size_t count, room;
};

static struct identity *by_entry;
static int64_t note_again_until_ms;
static size_t slot; /* of a session: struct identities */

/* --- what a session holds --- */

static size_t place_of(const struct identities *h, const struct entry_kind *kind, const char *id)
{
    size_t i = 0;

    while (i < h->count && (h->all[i]->kind != kind || strcmp(h->all[i]->id, id) != 0))
        i++;
    return i;
}

static struct identity *find(struct session *s, const struct entry_kind *kind, const char *id)
{
    const struct identities *h = *session_slot(s, slot);
    size_t i = h ? place_of(h, kind, id) : 0;

    return h && i < h->count ? h->all[i] : NULL;
}

bool identity_held(struct session *s, const struct entry_kind *kind, const char *id)
{
    return find(s, kind, id) != NULL;
}

long long identity_since(struct session *s, const struct entry_kind *kind, const char *id)
{
    const struct identity *found = find(s, kind, id);

    return found ? found->since_ms : 0;
}

size_t identity_count(struct session *s, const struct entry_kind *kind)
{
    const struct identities *h = *session_slot(s, slot);
    size_t n = 0;

    for (size_t i = 0; h && i < h->count; i++)
        n += h->all[i]->kind == kind;
    return n;
}

struct session *identity_holder(const char *entry)
{
    const struct identity *i;

    HASH_FIND_STR(by_entry, entry, i);
    return i ? session_find(i->session) : NULL;
}

struct identity *identity_of(session_id session, const char *entry)
{
    struct session *s = session_find(session);
    const char *id;
    const struct entry_kind *kind = entry_kind_of(entry, &id);

    return s ? find(s, kind, id) : NULL;
}

size_t identities_of(struct session *s, struct identity *const **all)
{
    const struct identities *h = *session_slot(s, slot);

    *all = h ? h->all : NULL;
    return h ? h->count : 0;
}

/* --- holding one, and letting go of it --- */

static void format_entry(char out[static ENTRY_MAX], const struct entry_kind *kind, const char *id)
{
    snprintf(out, ENTRY_MAX, "%s\t%s", kind->word, id);
}

static size_t bytes_of(const struct entry_kind *kind, const char *id, size_t more)
{
    return ID_BYTES + strlen(id) + index_bytes(strlen(kind->word) + 1 + strlen(id)) + more;
}

static struct storing storing(size_t bytes)
{
    return (struct storing){.bytes = bytes, .small = true};
}

static struct identity *identity_new(const struct entry_kind *kind, const char *id, session_id session)
{
    struct identity *i = mem_alloc(sizeof(*i)), *former;
    char entry[ENTRY_MAX];

    format_entry(entry, kind, id);
    i->kind = kind;
    i->entry = mem_dup(entry);
    i->id = i->entry + strlen(kind->word) + 1;
    i->session = session;
    HASH_FIND_STR(by_entry, i->entry, former);
    if (former)
        HASH_DEL(by_entry, former);
    HASH_ADD_KEYPTR(hh, by_entry, i->entry, strlen(i->entry), i);
    return i;
}

/* A successor on this worker may have taken the place in by_entry of one that is just being closed. */
static void identity_free(struct identity *i)
{
    struct identity *indexed;

    HASH_FIND_STR(by_entry, i->entry, indexed);
    if (indexed == i)
        HASH_DEL(by_entry, i);
    free(i->entry);
    free(i);
}

static struct identity *add(struct session *s, const struct entry_kind *kind, const char *id)
{
    void **held = session_slot(s, slot);
    struct identities *h;

    if (!*held)
        *held = mem_alloc(sizeof(*h));
    h = *held;
    if (h->count == h->room) {
        h->room = h->room ? h->room * 2 : 1;
        h->all = mem_grow(h->all, h->room * sizeof(struct identity *));
    }
    return h->all[h->count++] = identity_new(kind, id, session_id_of(s));
}

static void hold(struct session *s, const struct entry_kind *kind, const char *id, long long since_ms, size_t bytes)
{
    struct identity *i = find(s, kind, id);

    if (!i)
        i = add(s, kind, id);
    i->since_ms = since_ms;
    i->bytes += bytes;
    if (loop_ms() < note_again_until_ms)
        index_note(s, 1, &(struct note){.entry = i->entry});
}

static void drop(struct session *s, const struct entry_kind *kind, const char *id)
{
    struct identities *h = *session_slot(s, slot);
    size_t i = h ? place_of(h, kind, id) : 0;

    if (!h || i == h->count)
        return;
    storage_give_back_of(s, &(struct storing){.bytes = h->all[i]->bytes, .small = true});
    identity_free(h->all[i]);
    h->all[i] = h->all[--h->count];
}

void identities_note_again(int64_t until_ms)
{
    note_again_until_ms = until_ms;
}

void identity_undo(const struct entry_kind *kind, const char *id, const struct address *holder)
{
    char key[KEY_MAX];

    kind->key(key, id);
    claim_release(key, holder);
}

void identity_release(struct session *s, const struct entry_kind *kind, const char *id)
{
    struct address self = self_address(session_id_of(s));
    char entry[ENTRY_MAX];

    format_entry(entry, kind, id);
    entry_undo(entry, &self);
    index_forget(s, 1, &(struct note){.entry = entry});
    drop(s, kind, id);
}

void identity_lost(struct session *s, const struct entry_kind *kind, const char *id)
{
    char entry[ENTRY_MAX];

    if (!identity_held(s, kind, id))
        return;
    format_entry(entry, kind, id);
    index_forget(s, 1, &(struct note){.entry = entry});
    drop(s, kind, id);
}

/* Before it has ended: a probe of it finds it gone already. */
static void keep_all(struct session *s)
{
    const struct identities *h = *session_slot(s, slot);
    char key[KEY_MAX];

    for (size_t i = 0; h && i < h->count; i++) {
        h->all[i]->kind->key(key, h->all[i]->id);
        claim_keep(key, s);
    }
}

void identity_init(void)
{
    slot = session_slot_new();
    session_on_too_slow(keep_all);
}

void identity_on_session_end(struct session *s)
{
    struct identities *h = *session_slot(s, slot);

    if (!h)
        return;
    for (size_t i = 0; i < h->count; i++)
        identity_free(h->all[i]);
    free(h->all);
    free(h);
    *session_slot(s, slot) = NULL;
}

/* --- claiming --- */

struct claiming {
    LIST_ENTRY(claiming) next;
    struct turn *turn;
    session_id session;
    const struct entry_kind *kind;
    char *id;
    bool is_new;
    struct storing storing; /* what the id needs more than before */
    identity_done done;
    void *arg;
    size_t note_count;
    struct note notes[]; /* with entries of their own; the last is the id's */
};

static LIST_HEAD(, claiming) claims = LIST_HEAD_INITIALIZER(claims);

bool identity_wanted(struct session *s, const struct entry_kind *kind, const char *id)
{
    const struct claiming *c;

    if (identity_held(s, kind, id))
        return true;
    LIST_FOREACH (c, &claims, next)
        if (c->session == session_id_of(s) && c->kind == kind && strcmp(c->id, id) == 0)
            return true;
    return false;
}

static void claiming_free(struct claiming *c)
{
    LIST_REMOVE(c, next);
    for (size_t i = 0; i < c->note_count; i++)
        free((char *)c->notes[i].entry);
    free(c->id);
    free(c);
}

static void on_claimed(struct session *s, enum claim_result result, long long since_ms, void *arg)
{
    struct claiming *c = arg;

    if (c->is_new)
        result = CLAIM_GRANTED;
    if (s && result == CLAIM_GRANTED) {
        hold(s, c->kind, c->id, since_ms, c->storing.bytes);
    } else if (s) {
        storage_give_back_of(s, &c->storing);
        if (result == CLAIM_HELD && !identity_held(s, c->kind, c->id))
            index_forget(s, c->note_count, c->notes);
    }
    c->done(s, result, c->arg);
    claiming_free(c);
}

static struct claiming *claiming_of(const struct turn *t)
{
    struct claiming *c = LIST_FIRST(&claims);

    while (c->turn != t)
        c = LIST_NEXT(c, next);
    return c;
}

static void on_counted(struct turn *t, enum err e)
{
    struct claiming *c = claiming_of(t);
    struct session *s = turn_session(t);
    char key[KEY_MAX];

    if (!s || e != ERR_NONE) {
        c->done(s, e == ERR_STORAGE_LIMIT ? CLAIM_REFUSED : CLAIM_UNAVAILABLE, c->arg);
        claiming_free(c);
        return;
    }
    index_note(s, c->note_count, c->notes);
    c->kind->key(key, c->id);
    claim_start(s, key, on_claimed, c);
}

/* An id that s holds already is counted, too, but for what it needs more now. */
static void claim(struct claiming *c, size_t more)
{
    struct session *s = session_find(c->session);
    const struct identity *held = s ? find(s, c->kind, c->id) : NULL;
    size_t bytes = bytes_of(c->kind, c->id, more), before = held ? held->bytes : 0;

    LIST_INSERT_HEAD(&claims, c, next);
    c->storing = storing(bytes > before ? bytes - before : 0);
    if (c->storing.bytes > 0)
        storage_take(c->turn, &c->storing, on_counted);
    else
        on_counted(c->turn, ERR_NONE);
}

static struct claiming *claiming_new(struct turn *t, const struct entry_kind *kind, const char *id, size_t note_count,
                                     const struct note *notes, identity_done done, void *arg)
{
    struct claiming *c = mem_alloc(sizeof(*c) + (note_count + 1) * sizeof(c->notes[0]));
    char entry[ENTRY_MAX];

    *c = (struct claiming){.turn = t, .session = t->session, .kind = kind, .id = mem_dup(id), .done = done, .arg = arg};
    format_entry(entry, kind, id);
    for (size_t i = 0; i < note_count; i++)
        c->notes[i] = (struct note){mem_dup(notes[i].entry), notes[i].ttl_ms};
    c->notes[note_count] = (struct note){mem_dup(entry), 0};
    c->note_count = note_count + 1;
    return c;
}

void identity_claim(struct turn *t, const struct entry_kind *kind, const char *id, size_t more, size_t note_count,
                    const struct note *notes, identity_done done, void *arg)
{
    claim(claiming_new(t, kind, id, note_count, notes, done, arg), more);
}

void identity_claim_new(struct turn *t, const struct entry_kind *kind, const char *id, identity_done done, void *arg)
{
    struct claiming *c = claiming_new(t, kind, id, 0, NULL, done, arg);

    c->is_new = true;
    claim(c, 0);
}

enum err claim_error(enum claim_result result)
{
    return result == CLAIM_HELD ? ERR_PEER_IN_USE : result == CLAIM_REFUSED ? ERR_STORAGE_LIMIT : ERR_UNAVAILABLE;
}
