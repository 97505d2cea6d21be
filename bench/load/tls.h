/* SPDX-License-Identifier: MIT */
/* tls: TLS on a client's socket, for workers that speak it. What its calls return, and errno, is as of those of a plain
   non-blocking socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_st; /* OpenSSL's SSL */

void tls_init(void);                   /* once, before the first tls_new() */
struct ssl_st *tls_new(int fd);        /* of a socket that is connected; the descriptor stays the caller's */
int tls_shake_hands(struct ssl_st *s); /* 1: it is done; 0: the server has gone; -1: errno, EAGAIN while under way */
ssize_t tls_recv(struct ssl_st *s, char *buffer, size_t room);
ssize_t tls_send(struct ssl_st *s, const char *data, size_t len); /* after EAGAIN no less, and the same first */
bool tls_pending(const struct ssl_st *s);     /* bytes were taken off the socket that tls_recv() has yet to return */
bool tls_wants_write(const struct ssl_st *s); /* what EAGAIN waits for */
void tls_free(struct ssl_st *s);
