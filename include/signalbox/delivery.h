/* SPDX-License-Identifier: MIT */
/* delivery: bytes to sockets anywhere in the fleet. At most once, in order per sender and target.
   A target that is not there any more is undone (its entry, see entry) and its sender is told. */
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

/* Counts a message that did not arrive, and tells the kind of its entry, if it has one. holder: where its target was
   to be; NULL: nobody had it. said: by that worker itself. One that does not listen but has its lease may come back to
   its subscription: its sockets keep what they registered until the lease ends. */
void delivery_gone(const char *entry, const struct address *holder, session_id from, bool said);

/* For a script that publishes to an address itself, in the same breath as what it changes: adds as its next arguments
   this worker's wid, what a channel begins with, and the head of the frame. */
void delivery_arguments(struct call *c, session_id from);
/* Of messages that went another way: to sockets here, to workers that got them, or nowhere since Redis was away. */
void delivery_count_local(void);
void delivery_count_remote(size_t count);
void delivery_count_returned(void); /* that worker has no such socket: it counts by what becomes of it from here */
void delivery_count_dropped(void);

void delivery_init(void);
