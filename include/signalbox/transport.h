/* SPDX-License-Identifier: MIT */
/* transport: the bytes of one client's connection, plain or TLS. Who holds one owns its descriptor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct event;
struct ssl_st; /* OpenSSL's SSL */

struct transport {
    int fd;                /* -1: there is none */
    bool read_wants_write; /* TLS has to write before it can read on */
    bool dry;              /* nothing more can be read before the socket is readable again */
    struct ssl_st *ssl;    /* NULL: plain */
};

/* What reading and writing return below 1. */
enum {
    TRANSPORT_END = 0,         /* the client has said all; reading only */
    TRANSPORT_WAIT = -1,       /* not now */
    TRANSPORT_BROKEN = -2,     /* it is good for nothing more */
    TRANSPORT_PLAIN_HTTP = -3, /* the client speaks HTTP where TLS is spoken; from now on the transport is plain */
};

void transport_open(struct transport *t, int fd);                           /* takes it; it is non-blocking */
ssize_t transport_read(struct transport *t, void *buf, size_t len);         /* bytes, or as above */
ssize_t transport_write(struct transport *t, const void *data, size_t len); /* likewise; it may take a part of them */
bool transport_pending(const struct transport *t);    /* bytes to read of which the socket does not tell */
struct transport transport_take(struct transport *t); /* the caller's from now on; nothing is left in t */
void transport_say_end(struct transport *t); /* TLS says that nothing more is written, before the socket does */
void transport_goodbye(struct transport *t); /* both say so; reading goes on */
void transport_forget(struct transport *t);  /* frees all but the descriptor, which is another's */
void transport_close(struct transport *t);

/* Waiting for a transport. The loop calls on_ready(arg), never before transport_await() returns, each time that it is
   readable or writable, until something else is awaited. */
struct transport_watch {
    struct event *event;
    short events; /* that it waits for */
    void (*on_ready)(void *arg);
    void *arg;
};
enum transport_event { TRANSPORT_NOTHING, TRANSPORT_READABLE, TRANSPORT_WRITABLE };
void transport_watch_init(struct transport_watch *w, void (*on_ready)(void *arg), void *arg); /* w stays there */
void transport_await(struct transport_watch *w, const struct transport *t, enum transport_event what);
void transport_again(struct transport_watch *w); /* on_ready() is called once, when others have had their turn */
void transport_watch_free(struct transport_watch *w);
