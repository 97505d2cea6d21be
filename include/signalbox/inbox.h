/* SPDX-License-Identifier: MIT */
/* inbox: frames between workers. Every worker listens on one channel; a frame names sockets there and carries the
   bytes for them. The layout, all numbers little-endian:
     u8 version  u8 operation  u8 wid[8] of the sender  u64 sid of the sender, or 0
     u16 targets, each: u64 sid  u16 length  the entry that named it (fleet/entry), or nothing
     the rest: the bytes to write */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "signalbox/address.h"
#include "signalbox/bytes.h"
#include "signalbox/redis.h"

enum inbox_operation {
    INBOX_SEND = 1, /* write the bytes to the targets */
    INBOX_GONE,     /* the answer to it: these targets are not here (docs/design.md, "Delivery") */
    INBOX_PROBE,    /* does this socket still answer? */
    INBOX_ALIVE,    /* it does */
    INBOX_ABSENT,   /* it does not */
    INBOX_REPLACED, /* another socket has this one's id */
    INBOX_ECHO,     /* from this worker to itself: does it still hear? */
    INBOX_FORWARD,  /* write the bytes to the first target, if it holds the identity that the second names */
    INBOX_RETURN,   /* the answer to it: it does not, here is the message again */
    INBOX_FENCE,    /* to be answered with the same targets, behind whatever is answered to what came before it */
    INBOX_FENCED,   /* that answer */
    INBOX_SILENT,   /* this socket did not answer a probe, and is to be closed */
    INBOX_BUSY,     /* the answer to a message: too much waits for these targets, and it was refused */
    INBOX_OPERATIONS
};

struct inbox_target {
    uint64_t sid;
    struct span entry;
};

/* One frame that was received, or that reached nobody. Borrowed until the callback returns. */
struct inbox_frame {
    enum inbox_operation operation;
    struct address from;
    unsigned targets;
    struct span body;
    struct span rest; /* the targets not yet read */
};
bool inbox_frame_read(struct span message, struct inbox_frame *frame) __attribute__((warn_unused_result));
bool inbox_next_target(struct inbox_frame *frame, struct inbox_target *target); /* false: no more, or malformed */

/* Puts a frame together. Targets come before the body. */
void inbox_frame_begin(struct builder *w, enum inbox_operation operation, struct address from);
void inbox_frame_target(struct builder *w, struct inbox_target target);
struct span inbox_frame_head(const struct builder *w); /* what was begun, up to the number of targets */

/* Publishes the frame and empties w. unreached is called with it if no worker listens on that inbox
   (lost: false) or Redis was not reached (lost: true); NULL if nobody cares. */
typedef void (*inbox_unreached)(struct inbox_frame *frame, const char *wid, bool lost);
void inbox_publish(const char *wid, struct builder *w, unsigned targets, struct span body, inbox_unreached unreached);
/* The same; reached is called with the frame if it was got. */
typedef void (*inbox_reached)(const struct inbox_frame *frame);
void inbox_deliver(const char *wid, struct builder *w, unsigned targets, struct span body, inbox_reached reached,
                   inbox_unreached unreached);

/* The same, for who waits for Redis' answer itself: how many workers got the frame, NULL if Redis was not reached. */
void inbox_send(const char *wid, struct builder *w, unsigned targets, struct span body, redis_callback sent, void *arg);

void inbox_on(enum inbox_operation operation, void (*callback)(struct inbox_frame *frame));
bool inbox_live(void);                             /* frames for this worker arrive */
void inbox_on_heard_again(void (*callback)(void)); /* frames may have been lost, but now they arrive again */
void inbox_init(void);                             /* subscribes */
void inbox_move(void);                             /* to the channel of the new wid, after self_wid_renew() */
