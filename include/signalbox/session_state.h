/* SPDX-License-Identifier: MIT */
/* session_state: what a session is made of. For net/session.c, net/session_input.c and net/session_output.c alone. */
#pragma once

#include <sys/queue.h>

#include "signalbox/limits.h"
#include "signalbox/session.h"

#define SESSION_KILL_MS 5000 /* for a close frame that cannot be written, or is not answered */

struct timer;

/* A message in a queue. */
struct frame {
    struct bytes *bytes;
    bool binary;
    STAILQ_ENTRY(frame) next;
};
STAILQ_HEAD(frames, frame);

enum session_state { SESSION_OPEN, SESSION_CLOSING, SESSION_ENDED };

struct session {
    session_id id;
    struct lws *wsi;
    struct ip *ip; /* held */
    const struct session_ops *ops;
    const struct dialect *dialect;
    const struct message_type *row;
    size_t most; /* bytes of a message; 0: MAX_MESSAGE_BYTES */
    enum session_state state;
    enum close_code close_code;
    const char *close_reason;

    struct frames out, waiting; /* to the client; from it, while held */
    size_t out_bytes;
    size_t pending_bytes, pending_count; /* from it: waiting, or on their way through Redis */
    size_t turn_bytes;                   /* that its turns keep */
    struct builder part;                 /* of a message whose end has not come */
    struct bytes *pong;                  /* to be written: it answers the last ping */
    size_t unsent;                       /* of the frame that lws could write only in part, and keeps */
    unsigned holds;
    bool slowed; /* held until the queue to that one is shorter, but no longer than that (loop_ms()) */
    session_id slowed_by;
    int64_t slowed_until_ms;
    struct timer *timer; /* ends a pause of reading; of one that is closing, its patience */
    unsigned refused;    /* for its rate, since reading paused */
    bool reading_stopped, over_bound, read_in_portions, write_wanted, flush_wanted, ping_wanted, watched, trusted;

    struct bucket rate, cost;
    int64_t excess_since_ms, excess_last_ms;
    int64_t heard_ms, ping_due_ms, attested_until_ms;
    uint64_t ping_end; /* of the last ping, in bytes written before it and with it */
    TAILQ_ENTRY(session) by_ping;
    void *slots[]; /* as many as session_slot_new() has made */
};

/* A queue of messages, to a client or from it. */
size_t frames_push(struct frames *f, struct bytes *b, bool binary); /* takes one reference; returns its length */
struct frame *frames_pop(struct frames *f);                         /* there is one; the caller frees it */
void frame_free(struct frame *f);
void frames_clear(struct frames *f);

/* What this worker keeps for all clients: those queues, in which bytes that wait in several count once, and what is
   added here. */
void session_kept_add(size_t bytes);
void session_kept_sub(size_t bytes);
void session_shed(void); /* closes who makes this worker keep most, if it keeps too much */

void session_heard(struct session *s);               /* something has come from it */
void session_end(struct session *s);                 /* tells all domains, once */
void session_kill_in(struct session *s, int64_t ms); /* it is hung up on by then, and freed */

void session_drop_waiting(struct session *s); /* messages that wait to be handled, and all that is counted of them */
void session_drop_part(struct session *s);    /* what has come of a message whose end has not */
void session_input_init(void);
void session_input_fini(void);

void session_want_write(struct session *s);
void session_drop_output(struct session *s);            /* messages that were not given to lws yet */
void session_set_unsent(struct session *s, size_t len); /* what lws keeps of a frame, from now on */
void session_output_init(void);
void session_output_fini(void);
