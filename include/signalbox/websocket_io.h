/* SPDX-License-Identifier: MIT */
/* websocket_io: what libwebsockets reads of a client's socket and writes to it. For net/websocket.c alone.
   It has no hook there, so its calls of recv(), send() and shutdown() come here: the program defines these three, and the
   dynamic linker takes the program's definition before that of libc. So TLS is ours, without a second socket between,
   and frames are looked at before they are parsed. For any other descriptor the three do what they always do. */
#pragma once

#include "signalbox/frame_watch.h"
#include "signalbox/transport.h"

struct websocket_io {
    struct transport transport;
    struct bytes *first;    /* is read before anything of the socket: the head that we wrote */
    size_t first_read;
    struct bytes *early;    /* behind that: what came behind the client's head */
    size_t early_read;
    struct frame_watch watch;
    void (*on_ping)(struct span payload, void *arg);
    void (*on_unread)(void *arg); /* there is more than the socket tells of, or the frames are no client's */
    void *arg;
};

bool websocket_io_works(void);                  /* the three are ours */
void websocket_io_attach(struct websocket_io *io); /* by its transport's descriptor; io stays where it is */
void websocket_io_detach(struct websocket_io *io); /* frees what it holds but the descriptor. Twice is fine */
bool websocket_io_unread(const struct websocket_io *io);
