/* SPDX-License-Identifier: MIT */
/* doctor_socket: a connection to Redis or to a Sentinel, plain or TLS, that blocks: an answer has 3 seconds. Once one
   is late or the connection is lost, every further command fails at once. Used by doctor/ alone. */
#pragma once

#include <stdbool.h>

#include "signalbox/bytes.h"

struct redis_place;
struct redisReply;

struct doctor_socket;

/* Tries all addresses of the place. tls_name: as for wire_open(). NULL: problem says why not. */
struct doctor_socket *doctor_socket_open(const struct redis_place *place, const char *tls_name,
                                         char problem[static 128]) __attribute__((warn_unused_result));
/* Sends one command, as it goes over the wire (resp.h), and waits. The caller frees the reply; NULL: it is lost. */
struct redisReply *doctor_socket_ask(struct doctor_socket *s, struct span resp) __attribute__((warn_unused_result));
const char *doctor_socket_problem(const struct doctor_socket *s); /* why it is lost; NULL: it is not */
void doctor_socket_close(struct doctor_socket *s);                /* NULL is fine */
