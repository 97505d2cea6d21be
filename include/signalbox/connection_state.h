/* SPDX-License-Identifier: MIT */
/* connection_state: what a connection is made of. For net/connection.c and net/connection_input.c alone. */
#pragma once

#include "signalbox/connection.h"
#include "signalbox/http.h"
#include "signalbox/http_body.h"
#include "signalbox/limits.h"
#include "signalbox/transport.h"
#include "signalbox/unfinished.h"

enum connection_state {
    STATE_HEAD,   /* its next request is read, or awaited */
    STATE_BODY,   /* of that request */
    STATE_WORK,   /* its handler has not answered yet */
    STATE_ANSWER, /* the answer is written */
    STATE_PAUSE,  /* nothing is read for a while */
    STATE_LINGER, /* nothing more is answered */
};

/* What a step has come to. */
enum progress { GOES_ON, WAITS, GONE };

struct connection {
    struct transport transport;
    struct transport_watch watch;
    enum connection_state state;
    struct unfinished unfinished;
    struct timer *deadline;
    char *in; /* what has come, and was not taken yet */
    size_t in_len, in_room;
    struct http_head_scan scan;
    struct http_body body;
    bool too_long; /* the body is */
    bool unread;   /* there is a body of which not all was read */
    struct exchange *exchange;
    struct bytes *out;
    size_t written;
    char socket_ip[IP_TEXT_MAX], ip[IP_TEXT_MAX]; /* ip: "" until it is known who is behind a proxy */
    bool counted, over_rate, over_count;          /* of the address in ip */
    bool kept;                                    /* a request was answered */
    bool closes, pauses;                          /* behind the answer */
    bool running;
    bool is_answering; /* it is among those with an answer under way */
    TAILQ_ENTRY(connection) all, answering;
};

void connection_set_deadline(struct connection *c, int64_t ms);     /* from now; 0: none */
void connection_begin_request(struct connection *c);                /* its first byte has come */
void connection_answer(struct connection *c, struct bytes *answer); /* takes the reference; ends its exchange */
void connection_answered(void *connection);                         /* its exchange has an answer */
/* h: of the request, as far as it could be read; NULL: that of its exchange, or none. */
void connection_refuse(struct connection *c, struct http_fault fault, const struct http_head *h);
void connection_count_refused(const char *reason); /* a word, for metrics */

/* Whose request it is. Another client than before counts as a new connection. */
void connection_meet_client(struct connection *c, const char *ip);
enum progress connection_read_head(struct connection *c);
enum progress connection_read_body(struct connection *c);
void connection_input_init(void);
