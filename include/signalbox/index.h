/* SPDX-License-Identifier: MIT */
/* index: the reverse index in Redis of what each socket registered (entries), so that all of it can be undone when the
   socket closes, or by another worker when its own has died. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signalbox/address.h"
#include "signalbox/entry.h"
#include "signalbox/session.h"

/* An entry, and how long what it names lives by itself; 0: until it is undone. */
struct note {
    const char *entry;
    long long ttl_ms;
};

/* Writes entries into the index; call it before they are registered. They are undone with the session even if
   registering them fails. */
void index_note(struct session *s, size_t count, const struct note *notes);
/* Takes entries out of it: they have been removed, or were not registered after all. */
void index_forget(struct session *s, size_t count, const struct note *notes);
size_t index_bytes(size_t entry_len); /* that Redis needs for an entry of that length */

/* Undoes all that the socket at that address registered. done runs once, later: with true when Redis has done it, with
   false if Redis was not reached, or if may() was false before one of the steps. may: NULL for always. */
void index_undo(const struct address *a, bool (*may)(void), void (*done)(bool ok, void *arg), void *arg);
size_t index_pending(void);            /* closed sockets of this worker that are still to be undone */
bool index_is_undoing(session_id sid); /* it is one of them */

/* What s stored, beside its identities, has been stored now, and ends by itself after ttl_ms: nobody but its client can
   store that again. Of what was noted in the moment in which it is stored the note says so. */
void index_stored(struct session *s, long long ttl_ms);
/* Others may have taken this worker for dead, and removed what its sockets had stored and noted. */
void index_reaped(void);
/* Redis may have forgotten what was stored from then on (loop_ms()). Returns of how many sockets. */
size_t index_lost(int64_t since_ms);
/* Closes s 1001, and returns true, if something that it had stored was lost in one of these ways. */
bool index_close_if_lost(struct session *s);

void index_init(void);
void index_fini(void);
void index_on_redis_up(void);
void index_on_session_end(struct session *s);
