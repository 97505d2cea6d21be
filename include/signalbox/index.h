/* SPDX-License-Identifier: MIT */
/* index: the reverse index in Redis of what each socket registered (entries), so that all of it can be undone when the
   socket closes, or by another worker when its own has died. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signalbox/address.h"
#include "signalbox/entry.h"
#include "signalbox/session.h"

/* An entry, and after how long what it names ends by itself; 0: never. */
struct note {
    const char *entry;
    long long ttl_ms;
};

/* Writes entries into the index before they are registered. They are undone even if that fails later. */
void index_note(struct session *s, size_t count, const struct note *notes);
void index_forget(struct session *s, size_t count, const struct note *notes); /* not registered after all */

/* Undoes all that the socket at that address registered; done(ok) when Redis has it, false if it was not reached, or
   may() was false before one of its steps. may: NULL for always. */
void index_undo(const struct address *a, bool (*may)(void), void (*done)(bool ok, void *arg), void *arg);
size_t index_pending(void); /* closed sockets of this worker that are still to be undone */

/* This worker was taken for dead and cleaned up after: what its sockets had stored besides their ids is lost. */
void index_reaped(void);
/* true: s had stored something by then that has not ended since. It is closed 1001, because only its client can store
   that again. */
bool index_close_if_reaped(struct session *s);

void index_init(void);
void index_fini(void);
void index_on_redis_up(void);
void index_on_session_end(struct session *s);
