/* SPDX-License-Identifier: MIT */
/* entry: what a socket registered in Redis, as one text that begins with the word of its kind and a tab: "peer\tID",
   "hour\tTOKEN\tID". Its kind knows how to undo it, also for a socket of a worker that has died. */
#pragma once

#include <stdbool.h>

#include "signalbox/address.h"
#include "signalbox/keys.h"
#include "signalbox/session.h"

#define ENTRY_MAX (3 * 256 + 16) /* bytes of an entry */

struct entry_kind {
    const char *word;
    /* Removes what the entry names if it still carries that address; rest is the text behind the first tab. */
    void (*undo)(const char *rest, const struct address *holder);
    /* Of an identity: its hash in Redis. NULL: it is none. */
    void (*key)(char out[static KEY_MAX], const char *id);
    /* Redis has just said that the identity is its holder's. What else belongs to it is given back there, if Redis has
       lost it. May be NULL. */
    void (*on_restored)(const char *id, const struct address *holder);
    /* A message for the entry's socket could not be delivered. holder: where it is said to be, NULL: nowhere;
       from: the session that sent it. May be NULL. */
    void (*on_not_found)(const char *rest, const struct address *holder, session_id from);
    /* Redis was lost meanwhile. NULL: the sender gets ERR_UNAVAILABLE */
    void (*on_unavailable)(const char *rest, session_id from);
};

/* The kind of an entry, and what stands behind its first tab; NULL (logged): no domain has it. */
const struct entry_kind *entry_kind_of(const char *entry, const char **rest);

void entry_undo(const char *entry, const struct address *holder); /* its holder has been found gone */
void entry_remove_stale(const char *entry, const struct address *holder, session_id from); /* and tells the sender */
/* Only tells the sender: nobody holds it (NULL), or its holder cannot be reached at the moment, or Redis cannot. */
void entry_not_found(const char *entry, const struct address *holder, session_id from);
void entry_unavailable(const char *entry, session_id from);
