/* SPDX-License-Identifier: MIT */
/* index: the reverse index in Redis of what each socket registered (entries), so that all of it can be undone when the
   socket closes, or by another worker when its own has died. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

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

/* Undoes all that the socket at that address registered. done runs once, later: with true when Redis has done it, with
   false if Redis was not reached, or if may() was false before one of the steps. may: NULL for always. */
void index_undo(const struct address *a, bool (*may)(void), void (*done)(bool ok, void *arg), void *arg);
size_t index_pending(void);            /* closed sockets of this worker that are still to be undone */
bool index_is_undoing(session_id sid); /* it is one of them */

/* Others may have taken this worker for dead, and removed what its sockets had stored up to now. */
void index_reaped(void);
/* Closes s 1001, and returns true, if it had stored something before the last index_reaped() that would still be there:
   nobody but its client can store that again. */
bool index_close_if_reaped(struct session *s);

void index_init(void);
void index_fini(void);
void index_on_redis_up(void);
void index_on_session_end(struct session *s);
