/* SPDX-License-Identifier: MIT */
/* handshakes: connections whose first request, its body too, has not come to its end, in the order in which they came.
   There are so many at most. Newcomers wait in the kernel until one ends; one that takes long is closed for them, so
   that those that never end keep nobody out. (libwebsockets would let them in and wait, and walk through all that wait
   for each that goes.) */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct lws;

#define HANDSHAKES_MAX 3072

struct handshake {
    struct lws *wsi; /* NULL: it has ended */
    int64_t begun_ms;
    TAILQ_ENTRY(handshake) next;
};

void handshakes_init(void (*on_room)(void)); /* called some time after handshake_begin() has returned false */
void handshakes_fini(void);
/* h stays where it is until it has ended. false: this was the last that there is room for. */
bool handshake_begin(struct handshake *h, struct lws *wsi);
void handshake_end(struct handshake *h); /* nothing, if it has ended before */
