/* SPDX-License-Identifier: MIT */
/* client: one WebSocket connection to a worker, non-blocking. It answers pings by itself. Its callbacks may send, close
   it and open it again. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st; /* OpenSSL's SSL */

enum client_state { CLIENT_CLOSED, CLIENT_CONNECTING, CLIENT_SHAKING_HANDS, CLIENT_UPGRADING, CLIENT_OPEN };

struct client {
    enum client_state state;
    int fd, port;
    struct ssl_st *ssl; /* NULL: plain */
    char *in, *out;     /* what has come of a frame that is not whole yet; what the socket did not take yet */
    size_t in_len, out_len;
    uint64_t opened_ns;

    /* The scenario's. */
    size_t index;
    bool ready, returned;
    unsigned welcomes;
    char id[32];
    uint64_t sent, arrived, refused, sent_ns;
    size_t heard;  /* how many have heard of its latest message */
    uint64_t last; /* number of its latest message that arrived; they count from 1 */
};

struct client_events {
    void (*opened)(struct client *c); /* upgraded */
    void (*text)(struct client *c, const char *text, size_t len);
    void (*closed)(struct client *c, const char *why); /* not after client_close() */
};

void client_init(int epoll, bool tls, const struct client_events *events);
void client_open(struct client *c, int port, const char *path);
void client_send(struct client *c, const char *text, size_t len); /* does nothing unless it is open */
void client_close(struct client *c);
void client_ready(struct client *c, uint32_t events); /* for the loop: what epoll says of its socket */

uint64_t clock_ns(void);
