/* SPDX-License-Identifier: MIT */
/* identity: an id belongs to one live socket of the whole fleet. A session notes an id in the index, claims it, and
   holds it until it lets go of it or ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uthash.h>

#include "signalbox/claim.h"
#include "signalbox/entry.h"
#include "signalbox/index.h"
#include "signalbox/session.h"
#include "signalbox/turn.h"

#define IDENTITIES_MAX 256 /* ids of one kind that one socket may hold */

/* done runs once, and only with CLAIM_REFUSED maybe before the call returns; s is NULL if the session has left
   meanwhile. CLAIM_UNAVAILABLE: Redis may have given s the id all the same, so the id stays noted until
   identity_release(), or the session's end. CLAIM_REFUSED: a limit of what may be stored is reached (storage.h). */
typedef void (*identity_done)(struct session *s, enum claim_result result, void *arg);

/* Notes the id, and the notes given, in the index, then claims the id for the session of the turn, which does not end
   before done runs. If another live socket holds it, all these notes are forgotten again. They are copied. kind must
   have a key. more: bytes that Redis is to keep with the id, beside those that every id needs: they count as stored as
   long as s holds it, the most of all its claims. A session that claims what it held already, and finds it another's,
   is closed 4000 with its next refresh, unless identity_lost() is called. */
void identity_claim(struct turn *t, const struct entry_kind *kind, const char *id, size_t more, size_t note_count,
                    const struct note *notes, identity_done done, void *arg);
/* The same for an id that was made at random, which nobody else can hold: it is granted, unless it is refused. If Redis
   is away, the next refresh writes it there. */
void identity_claim_new(struct turn *t, const struct entry_kind *kind, const char *id, identity_done done, void *arg);
enum err claim_error(enum claim_result result); /* what a client is told that does not get its id */
/* s holds the id no more, since another live socket does. Nothing, if it did not hold it. */
void identity_lost(struct session *s, const struct entry_kind *kind, const char *id);
/* Takes the id from s, here and in Redis. */
void identity_release(struct session *s, const struct entry_kind *kind, const char *id);
/* Deletes the id's hash if it still carries that address. */
void identity_undo(const struct entry_kind *kind, const char *id, const struct address *holder);

/* What a session holds, without asking Redis. */
bool identity_held(struct session *s, const struct entry_kind *kind, const char *id);
size_t identity_count(struct session *s, const struct entry_kind *kind);
bool identity_wanted(struct session *s, const struct entry_kind *kind, const char *id); /* held, or being claimed */
/* When it was granted, by Redis' clock, ms: a later holder has a later one. 0: not held. */
long long identity_since(struct session *s, const struct entry_kind *kind, const char *id);
struct session *identity_holder(const char *entry); /* the session of this worker that holds "kind TAB id"; or NULL */

/* For fleet/resync.c, and for whoever goes through what a session holds. */
struct identity {
    const struct entry_kind *kind;
    const char *id; /* within entry */
    char *entry;    /* word of its kind TAB id */
    long long since_ms;
    session_id session;
    size_t bytes; /* that count as stored for it */
    bool waits;   /* for a refresh, since the last one failed */
    UT_hash_handle hh;
};
struct identity *identity_of(session_id session, const char *entry); /* NULL: it does not hold it, or has left */
size_t identities_of(struct session *s, struct identity *const **all);
/* Until then (loop_ms()) an id that is granted is noted once more: Redis was emptied, perhaps after its first note. */
void identities_note_again(int64_t until_ms);

void identity_init(void);
void identity_on_session_end(struct session *s);
