/* SPDX-License-Identifier: MIT */
/* pairing: requests to pair that wait for an answer. They live in Redis, so that both sides hear of their end on
   whichever worker is alive. */
#pragma once

#include "signalbox/caller.h"

/* Opens a request of s to the holder of target, who is sent `message`; at most `most` are open to one. failed runs if
   there is no such code or too many requests, with the session held until it has returned; NULL: the error of a target
   that is not found. */
void pairing_ask(struct session *s, const char *target, long long most, struct builder *message,
                 void (*failed)(struct session *s));

/* Ends the request of `requester` to s. done runs with the session held until it has returned; its public key is JSON,
   the address is where to send it what came of it; open: false if there is no such request. */
struct pairing_answer {
    bool open;
    const char *requester, *public_key;
    struct address address;
    long long tag; /* as given */
};
void pairing_answer(struct session *s, const char *requester, long long tag,
                    void (*done)(struct session *s, const struct pairing_answer *a));

/* Sends to the other side of a request, which was found by pairing_answer(). */
void pairing_send(struct session *s, const struct pairing_answer *a, struct builder *message);

void pairing_init(void);
