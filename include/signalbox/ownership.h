/* SPDX-License-Identifier: MIT */
/* ownership: the reverse index in Redis of what each socket registered, so that all of it can be undone when the
   socket closes, or by another worker when its own has died.
   An entry is text that begins with the word of its kind and a tab: "peer\tID", "hour\tTOKEN\tID". */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signalbox/address.h"
#include "signalbox/keys.h"
#include "signalbox/session.h"

#define ENTRY_MAX (3 * 256 + 16) /* bytes of an entry */
#define IDENTITIES_MAX 256       /* ids that one socket may hold */
#define SETTLED_MS 3000          /* by then what was under way when a lease or Redis was lost has arrived */

struct entry_kind {
    const char *word;
    /* Removes what the entry names if it still carries that address; rest is the text behind the first tab. */
    void (*undo)(const char *rest, const struct address *holder);
    /* Of an identity: its hash in Redis. NULL: it is none. */
    void (*key)(char out[static KEY_MAX], const char *id);
    /* Redis has just said that the identity is its holder's. What else belongs to it is given back there, if Redis has
       lost it. May be NULL. */
    void (*kept)(const char *id, const struct address *holder);
    /* A message for the entry's socket could not be delivered. holder: where it is said to be, NULL: nowhere;
       from: the session that sent it. May be NULL. */
    void (*gone)(const char *rest, const struct address *holder, session_id from);
    /* Redis was lost meanwhile. NULL: the sender gets ERR_UNAVAILABLE */
    void (*lost)(const char *rest, session_id from);
};

/* An entry, and after how long what it names ends by itself; 0: never. */
struct note {
    const char *entry;
    long long ttl_ms;
};

/* Writes entries into the index before they are registered. They are undone even if that fails later. */
void ownership_note(struct session *s, size_t count, const struct note *notes);
void ownership_forget(struct session *s, size_t count, const struct note *notes); /* not registered after all */

/* The ids a session holds, as it knows them: kind and id, to ask without Redis. */
void identity_add(struct session *s, const char *kind, const char *id, long long since_ms); /* at most IDENTITIES_MAX */
bool identity_held(struct session *s, const char *kind, const char *id);
long long identity_since(struct session *s, const char *kind,
                         const char *id);           /* ms, as claim_done was told; 0: not held */
struct session *identity_holder(const char *entry); /* the session of this worker that holds "kind TAB id"; or NULL */
void identity_drop(struct session *s, const char *kind, const char *id);
size_t identity_count(struct session *s, const char *kind);
void identity_refresh(struct session *s, const char *kind, const char *id);
void identity_refresh_all(struct session *s, const char *kind);

/* Undoes the entry at once: its holder has been found gone. */
void ownership_undo_entry(const char *entry, const struct address *holder);
void ownership_gone(const char *entry, const struct address *holder, session_id from); /* and tells the sender */
/* Only tells the sender: nobody holds it (NULL), or its holder cannot be reached at the moment, or Redis cannot. */
void ownership_missing(const char *entry, const struct address *holder, session_id from);
void ownership_lost(const char *entry, session_id from);

/* Undoes all that the socket at that address owned; done(ok) when Redis has it, false if it was not reached, or
   may() was false before one of its steps. may: NULL for always. */
void ownership_undo(const struct address *a, bool (*may)(void), void (*done)(bool ok, void *arg), void *arg);
size_t ownership_pending(void); /* closed sockets of this worker that are still to be undone */

/* Writes every id of every socket again, a few sockets at a time: Redis may have lost them. */
void ownership_resync(void);
/* This worker was taken for dead and cleaned up after: a socket that had stored more than ids is closed 1001 when it is
   given its ids back, because only its client can store the rest again. */
void ownership_reaped(void);

void ownership_init(void);
void ownership_on_redis_up(void);
void ownership_on_session_end(struct session *s);
void ownership_fini(void);
