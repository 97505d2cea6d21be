/* SPDX-License-Identifier: MIT */
/* delivery: bytes to sockets anywhere in the fleet. At most once, in order per sender and target.
   A target that is not there any more is undone (its entry, see ownership) and its sender is told. */
#pragma once

#include <stddef.h>

#include "signalbox/address.h"
#include "signalbox/bytes.h"
#include "signalbox/session.h"

struct call;

struct target {
    struct address address;
    const char *entry; /* the entry that named this address, or NULL */
};

/* Sends b to every target: at once to those here, and with one publish to each other worker that has some.
   from: the session to tell, or 0. Borrows b. */
void delivery_send(struct bytes *b, size_t count, const struct target *targets, session_id from);

/* Sends b to whoever holds the identity `key`, "kind TAB id": at once if it is here, else with one script call. In
   order with all that goes to the same identity. If nobody holds it, or Redis is away, the kind of entry is told, which
   may say more than the identity it begins with (gone and lost, see ownership). Borrows b. */
void delivery_forward(const char *key, const char *identity, const char *entry, struct bytes *b, session_id from);

/* For a script that publishes to an address itself, in the same breath as what it changes: adds as its next arguments
   this worker's wid, what a channel begins with, and the head of the frame. */
void delivery_arguments(struct call *c, session_id from);
void delivery_count_remote(size_t count); /* sent to other workers by a script */

void delivery_init(void);
