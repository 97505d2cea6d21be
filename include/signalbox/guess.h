/* SPDX-License-Identifier: MIT */
/* guess: who asks for codes, ids and rooms that are not there may be looking for those that are. Each miss counts to
   the client's address (MISS_RATE). While that has no misses left nothing is looked up for its clients but what the
   socket at hand has found before: what is there and what is not get the same error, as fast (docs/design.md,
   "Limits"). */
#pragma once

#include <stdbool.h>

#include "signalbox/limits.h"
#include "signalbox/session.h"

/* A look-up under way. Zero: none, and all but guess_begin() do nothing. */
struct guess {
    struct ip *ip; /* held */
};

/* what: an identity's entry, or the like. false: s was told ERR_RATE_LIMIT, in the form of the message at hand. */
bool guess_begin(struct guess *g, struct session *s, const char *what) __attribute__((warn_unused_result));
bool guess_begin_for(struct guess *g, struct ip *ip) __attribute__((warn_unused_result)); /* of a request over HTTP */
void guess_end(struct guess *g, bool missed);                                             /* twice does no harm */
void guess_found(session_id session, const char *what); /* its socket may ask for it again and again */

void guess_init(void);
void guess_on_session_end(struct session *s);
