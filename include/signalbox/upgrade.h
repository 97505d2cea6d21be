/* SPDX-License-Identifier: MIT */
/* upgrade: decides whether a request becomes a WebSocket (RFC 6455 section 4.2), before libwebsockets hears of it. */
#pragma once

#include "signalbox/http_head.h"

struct transport;

struct upgrade {
    const struct http_head *head;
    const char *ip;              /* of the client, counted with ip_open() */
    const char *limit;           /* a word for the one that its address is over; NULL: none */
    bool draining;               /* no WebSocket is opened any more */
    struct transport *transport; /* moved, if it becomes one */
    struct span early;           /* what came behind the head */
    const char *refused;         /* set where it is: a word, for metrics */
};

bool upgrade_is_wanted(const struct http_head *h); /* to a WebSocket; others are ignored (RFC 9110 section 7.8) */
/* NULL: the transport is a WebSocket's, or gone; ip is given back with it. Else the answer that refuses it, one
   reference. */
struct bytes *upgrade_open(struct upgrade *u);
