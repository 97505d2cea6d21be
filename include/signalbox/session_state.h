/* SPDX-License-Identifier: MIT */
/* session_state: what a session is made of. For net/session.c and net/session_input.c alone. */
#pragma once

#include "signalbox/frames.h"
#include "signalbox/limits.h"
#include "signalbox/session.h"

struct timer;

enum session_state { SESSION_OPEN, SESSION_CLOSING, SESSION_ENDED };

struct session {
    session_id id;
    struct lws *wsi;
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
    struct builder part;                 /* of a message whose end has not come */
    struct bytes *pong;                  /* to be written: it answers the last ping */
    size_t unsent;                       /* of the frame that lws could write only in part, and keeps */
    unsigned holds;
    struct timer *timer; /* ends a pause of reading; of one that is closing, its patience */
    unsigned refused;    /* for its rate, since reading paused for that */
    bool reading_stopped, over_bound, read_in_portions, write_wanted, flush_wanted, ping_wanted, watched, trusted;

    struct bucket rate;
    int64_t excess_since_ms, excess_last_ms;
    int64_t heard_ms, ping_due_ms, attested_until_ms;
    TAILQ_ENTRY(session) by_ping;
    void *slots[SESSION_SLOTS];
};

void session_heard(struct session *s); /* something has come from it */
void session_want_write(struct session *s);
void session_shed(void);                      /* closes who makes this worker keep most, if it keeps too much */
void session_drop_waiting(struct session *s); /* messages whose turn has not come, and all that is counted of them */
void session_drop_part(struct session *s);    /* what has come of a message whose end has not */
void session_input_init(void);
void session_input_fini(void);
