/* SPDX-License-Identifier: MIT */
/* transport: the bytes of one client's connection, plain or TLS. Who holds one owns its descriptor. Until it is handed to
   libwebsockets the loop watches it; from then on websocket.c does. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct event;
struct ssl_st; /* OpenSSL's SSL */

struct transport {
    int fd;             /* -1: there is none */
    struct ssl_st *ssl; /* NULL: plain */
    struct event *event;
    short watched;           /* what the event waits for; 0: nothing */
    bool read_wants_write;   /* TLS has to write before it can read on */
    void (*on_ready)(void *arg);
    void *arg;
};

/* What reading and writing return below 1. */
enum {
    TRANSPORT_END = 0,          /* the client has said all; reading only */
    TRANSPORT_WAIT = -1,        /* not now: wait for it with transport_await() */
    TRANSPORT_BROKEN = -2,      /* it is good for nothing more */
    TRANSPORT_PLAIN_HTTP = -3,  /* the client speaks HTTP where TLS is spoken; from now on the transport is plain */
};

/* Takes the descriptor, which is non-blocking. on_ready(arg) is called from the loop, never before the call returns. */
void transport_open(struct transport *t, int fd, void (*on_ready)(void *arg), void *arg);
ssize_t transport_read(struct transport *t, void *buf, size_t len);        /* bytes, or as above */
ssize_t transport_write(struct transport *t, const void *data, size_t len); /* likewise; it may take a part of them */
bool transport_pending(const struct transport *t); /* bytes were taken off the socket that nobody has read yet */

/* Which of both on_ready() is to be called for, each time until another is said. Neither: it is left alone. */
enum transport_event { TRANSPORT_NOTHING, TRANSPORT_READABLE, TRANSPORT_WRITABLE };
void transport_await(struct transport *t, enum transport_event what);
void transport_again(struct transport *t); /* on_ready() is called once, when others have had their turn */

void transport_move(struct transport *from, struct transport *to); /* to is not watched; nothing is left in from */
void transport_say_end(struct transport *t); /* TLS says that nothing more is written, before the socket does */
void transport_goodbye(struct transport *t); /* both say so; reading goes on */
void transport_forget(struct transport *t);                        /* frees all but the descriptor, which is another's */
void transport_close(struct transport *t);
