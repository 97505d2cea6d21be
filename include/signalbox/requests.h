/* SPDX-License-Identifier: MIT */
/* requests: what a caller has asked of others, to pair or to link, ends with its code. A request is an entry of the
   index, and its kind undoes it. */
#pragma once

#include <sys/queue.h>

#include "signalbox/session.h"

struct request;
TAILQ_HEAD(requests, request); /* that a caller has made under the code it has, the oldest first */

/* Notes a request that ends by itself after PAIR_TIMEOUT_MS. */
void requests_note(struct session *s, struct requests *all, const char *entry);
void requests_end(struct session *s, struct requests *all); /* undoes them */
void requests_forget(struct requests *all);                 /* they are undone with the session */
