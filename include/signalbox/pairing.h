/* SPDX-License-Identifier: MIT */
/* pairing: requests to pair that wait for an answer. They live in Redis, so that both sides hear of their end on
   whichever worker is alive. */
#pragma once

#include "signalbox/caller.h"
#include "signalbox/schedule.h"
#include "signalbox/turn.h"

/* Opens a request of s to the holder of target, who is sent `message`; at most `most` are open to one, of which three
   tenths are from one client address. failed runs if there is no such code or too many requests; NULL: the error of a
   target that is not found. */
void pairing_ask(struct session *s, const char *target, long long most, struct builder *message,
                 void (*failed)(const struct turn *t));

/* Ends the request of `requester` to s, and sends it `message`: the one does not happen without the other. done runs
   once, later; the public key is the requester's, JSON. */
enum pairing_result {
    PAIRING_ENDED,
    PAIRING_NONE,       /* there is no such request */
    PAIRING_UNHEARD,    /* the requester's worker is out of reach: the request is still open */
    PAIRING_UNAVAILABLE /* Redis is: it may still be open */
};
struct pairing_answer {
    enum pairing_result result;
    const char *requester, *public_key;
    long long tag; /* as given */
};
void pairing_answer(struct session *s, const char *requester, long long tag, struct builder *message,
                    void (*done)(const struct turn *t, const struct pairing_answer *a));

extern const struct entry_kind pairing_kind;
extern struct schedule pairing_schedule; /* of the requests that nobody has answered */
void pairing_init(void);
