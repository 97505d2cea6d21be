/* SPDX-License-Identifier: MIT */
/* websocket_io: what libwebsockets reads of a client's socket and writes to it. For net/websocket.c alone, but for
   websocket_io_resume().
   It has no hook there, so its calls of recv(), send() and shutdown() come here: the program defines these three, and
   the dynamic linker takes the program's definition before that of libc. So TLS is ours, without a second socket
   between, and frames are looked at before they are parsed. For any other descriptor the three do what they always do.
 */
#pragma once

#include "signalbox/frame_watch.h"
#include "signalbox/transport.h"

struct websocket_io {
    struct transport transport;
    struct bytes
        *kept; /* is read before anything of the socket: a head that we wrote, then what came behind the client's */
    unsigned kept_head, kept_read; /* bytes of that head, and of all of it that were read */
    struct frame_watch watch;
};

/* on_ping: a ping was taken out. on_unread: there is more than the socket tells of, or what came is no frame of a
   client. false: the three functions are not ours. */
bool websocket_io_init(void (*on_ping)(struct websocket_io *io, struct span payload),
                       void (*on_unread)(struct websocket_io *io));
void websocket_io_fini(void);

/* Takes the transport; head is read first and early behind it. io stays where it is. */
void websocket_io_attach(struct websocket_io *io, struct transport transport, struct span head, struct span early);
void websocket_io_detach(struct websocket_io *io); /* frees what it holds but the descriptor. Twice is fine */
bool websocket_io_unread(const struct websocket_io *io);
/* For net/session_input.c: it reads again, so what was taken off this descriptor's socket before is not waited for. */
void websocket_io_resume(int fd);
