/* SPDX-License-Identifier: MIT */
/* wire: one connection to a server that speaks RESP: a socket, TLS if it is wanted, and the commands that are
   unanswered, in their order. It ends with the first thing that goes wrong. Used by redis/ alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "signalbox/bytes.h"

struct redisReply;
struct wire;

/* A command under way; the sender's, part of what it keeps for the answer. */
struct wire_request {
    /* Runs exactly once, from the loop. r is borrowed; NULL: the connection was lost, and the command may have run. */
    void (*answered)(struct wire_request *q, const struct redisReply *r);
    STAILQ_ENTRY(wire_request) next;
};

struct wire_owner {
    void (*on_open)(void *arg);                                /* connected, and TLS is agreed on */
    void (*on_message)(const struct redisReply *r, void *arg); /* of a channel; NULL: there will be none */
    void (*on_lost)(const char *why, void *arg);               /* the wire is no more when it returns */
};

/* Begins to connect. tls_name: the name that the server's certificate has to be for; NULL: without TLS. NULL: that
   failed at once, errno says why. arg goes to the owner's callbacks, which never run before wire_open() returns. */
struct wire *wire_open(const struct sockaddr *at, socklen_t len, const char *tls_name, const struct wire_owner *owner,
                       void *arg) __attribute__((warn_unused_result));
/* on_lost does not run. What is unanswered is told so, later. */
void wire_close(struct wire *w);

/* One command as it goes over the wire (resp.h). What is sent in one iteration of the loop is written at its end. */
void wire_send(struct wire *w, struct span resp, struct wire_request *q);

/* For how long, in ms, the server has said nothing at all while an answer is awaited; 0: none is. */
int64_t wire_silent_ms(const struct wire *w);

void wires_fini(void); /* after all were closed: tells what is still to be told */
