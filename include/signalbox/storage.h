/* SPDX-License-Identifier: MIT */
/* storage: how many bytes clients have Redis keep. They count to their socket (STORE_SOCKET_MAX) and to the client's
   address, in the whole fleet (STORE_ADDRESS_MAX), until they end (docs/design.md, "Storage"). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signalbox/turn.h"

/* What a message or request is about to store. */
struct storing {
    size_t bytes;     /* that Redis needs for it, keys and all */
    long long ttl_ms; /* it ends by itself after that; 0: with its socket */
    bool outlives;    /* its socket: it ends by itself only */
    bool small;       /* an id, a code, a place in a room: taken until Redis is all but full */
};

/* What a text takes in Redis that is no part of a key: its sizes are a quarter apart. */
size_t stored_text(const char *text);

/* Counts it before it is stored. done runs once, maybe before this returns: with ERR_NONE; with ERR_STORAGE_LIMIT,
   where a limit is reached, or ERR_UNAVAILABLE: then nothing is counted, and nothing may be stored. The turn does not
   end before that. What a request stores has no socket: it outlives it, and has a ttl. */
void storage_take(struct turn *t, const struct storing *what, void (*done)(struct turn *t, enum err e));
/* Counts it no more: it was not stored after all, or it was removed or replaced before its end. What does not outlive
   its socket is given back by itself when that ends. */
void storage_give_back(struct turn *t, const struct storing *what);
void storage_give_back_of(struct session *s, const struct storing *what); /* the same where there is no turn */

void storage_on_session_end(struct session *s);
void storage_tell_again(void); /* Redis may have forgotten what it was told, or knows it by this worker's former wid */
void storage_init(void);
void storage_fini(void);
