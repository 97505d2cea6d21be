/* SPDX-License-Identifier: MIT */
/* requests: what a caller has asked of others ends with its code, and what it was asked, too. A request is an entry of
   the index, and its kind undoes it. */
#pragma once

#include <sys/queue.h>

#include "signalbox/address.h"
#include "signalbox/session.h"

struct request;
TAILQ_HEAD(requests, request); /* that a caller has made under the code it has, the oldest first */

/* Notes a request that ends by itself after PAIR_TIMEOUT_MS. */
void requests_note(struct session *s, struct requests *all, const char *entry);
void requests_end(struct session *s, struct requests *all); /* undoes them */
void requests_forget(struct requests *all);                 /* they are undone with the session */

/* Ends those to pair that were made to this code while that socket had it, and tells the requesters. */
void requests_abandon(const char *room, const char *code, const struct address *holder);
