/* SPDX-License-Identifier: MIT */
/* websocket: libwebsockets, which does the frames, pings and close of WebSockets and nothing else. It is given a
   connection with a head that is written here, so that no byte of a client's head reaches it. */
#pragma once

#include <stdbool.h>

#include "signalbox/bytes.h"

struct socket_path;
struct transport;

#define WEBSOCKET_KEY_LEN 24

struct websocket_opening {
    const struct socket_path *path;
    const char *rest, *argument; /* see struct opening */
    const char *tokens;          /* session tokens, each ended by a zero, and an empty one behind them */
    const char *ip;              /* of the client; given back with ip_close() when the connection ends */
    const char *key;             /* Sec-WebSocket-Key: of WEBSOCKET_KEY_LEN characters */
    struct span early;           /* what came behind the client's head */
};

/* Moves the transport. Answers the handshake, and opens a session, before it returns. */
void websocket_open(struct transport *t, const struct websocket_opening *o);

bool websockets_init(unsigned descriptors); /* so many may be open at once; false (logged): it cannot */
void websockets_fini(void);
