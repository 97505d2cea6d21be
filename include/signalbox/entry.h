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
    /* Writes the name of the hash in Redis that is the identity. NULL: entries of this kind are no identities. */
    void (*key)(char out[static KEY_MAX], const char *id);
    /* Whether s, which is open, has what the entry names. NULL: fleet/identity knows that of an identity, and of an
       entry that ends by itself only its client does. */
    bool (*holds)(struct session *s, const char *rest);
    /* Redis has confirmed that holder has the identity. Writes whatever else belongs to it again, since Redis may have
       lost that. May be NULL. */
    void (*on_restored)(const char *id, const struct address *holder);
    /* Tells the session `from` that its message for the entry's socket could not be delivered. holder: where the socket
       was to be; NULL: nobody had the entry. May be NULL. */
    void (*on_not_found)(const char *rest, const struct address *holder, session_id from);
    /* Tells it that the message may be lost, because Redis was not reached. NULL: it is told ERR_UNAVAILABLE. */
    void (*on_unavailable)(const char *rest, session_id from);
    /* Tells it that so much waits for that socket that the message was refused (session_is_busy()). NULL: messages of
       this kind are not refused for that. */
    void (*on_busy)(const char *rest, const struct address *holder, session_id from);
};

/* Finds the kind of an entry, and points rest behind its first tab. NULL: no domain has such a kind (logged). */
const struct entry_kind *entry_kind_of(const char *entry, const char **rest);

/* Each calls the kind's function of that name; entry_remove_stale() undoes the entry and tells the sender. */
void entry_undo(const char *entry, const struct address *holder);
void entry_remove_stale(const char *entry, const struct address *holder, session_id from);
void entry_not_found(const char *entry, const struct address *holder, session_id from);
void entry_unavailable(const char *entry, session_id from);
void entry_busy(const char *entry, const struct address *holder, session_id from);
bool entry_may_be_busy(const char *entry); /* its kind has on_busy() */
