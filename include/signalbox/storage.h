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

/* Counts it before it is stored. done runs once, maybe before this returns: with ERR_NONE; with ERR_STORAGE_LIMIT,
   where a limit is reached, or ERR_UNAVAILABLE: then nothing is counted, and nothing may be stored. */
void storage_take(struct turn *t, const struct storing *what, void (*done)(struct turn *t, enum err e));
/* Counts it no more: it was not stored after all, or it was removed or replaced before its end. What does not outlive
   its socket is given back by itself when that ends. */
void storage_give_back(struct turn *t, const struct storing *what);

void storage_on_session_end(struct session *s);
void storage_init(void);
