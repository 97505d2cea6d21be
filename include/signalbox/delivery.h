/* SPDX-License-Identifier: MIT */
/* delivery: bytes to sockets anywhere in the fleet. At most once, in order per sender and target. If a target is not
   there any more, the entry that named it is undone, and the sender is told (see entry). */
#pragma once

#include <stddef.h>

#include "signalbox/address.h"
#include "signalbox/bytes.h"
#include "signalbox/session.h"

struct call;
struct inbox_frame;
struct inbox_target;

struct target {
    struct address address;
    const char *entry; /* the entry that named this address, or NULL */
};

/* Sends b to every target: at once to those here, and with one publish to each other worker that has some.
   from: the session to tell, or 0. Borrows b. */
void delivery_send(struct bytes *b, size_t count, const struct target *targets, session_id from);

/* Counts a message that did not arrive, and tells the kind of its entry, if it has one. holder: where its target was
   to be; NULL: nobody had the entry. said: that worker itself said that the target is gone. Without that, the entry is
   undone only if the worker has no lease: one that has its lease may be about to listen again. */
void delivery_gone(const char *entry, const struct address *holder, session_id from, bool said);

/* Whether a message of the session `from` is to be refused, as too much waits for s already. A message of the server,
   or of a kind of entry that has no on_busy(), is not. entry may be "". */
bool delivery_refuses(struct session *s, size_t len, struct span entry, session_id from);
/* Counts a message that was refused, and tells the kind of its entry; of a frame: has its sender's worker do so. */
void delivery_busy(const char *entry, const struct address *holder, session_id from);
void delivery_answer_busy(const struct inbox_frame *frame, struct inbox_target target);

/* For a script that publishes to an address itself, in one step with what it changes. Adds its next arguments: this
   worker's wid, what a channel begins with, and the head of the frame. */
void delivery_arguments(struct call *c, session_id from);
/* Count messages that went another way than delivery_send(): to sockets here, to workers that got them, back from one,
   or nowhere because Redis was away. */
void delivery_count_local(void);
void delivery_count_remote(size_t count);
void delivery_count_returned(void); /* it counts as remote no more, but by what becomes of it from here */
void delivery_count_dropped(void);

void delivery_init(void);
