/* SPDX-License-Identifier: MIT */
/* resolver: the addresses of a host, without holding up the loop. Used by redis/ alone. */
#pragma once

struct addrinfo;

/* found: all its addresses, IPv6 and IPv4, with the port, in the order in which they are to be tried; the caller frees
   them with evutil_freeaddrinfo(). NULL: problem says why there is none. */
typedef void (*resolver_callback)(struct addrinfo *found, const char *problem, void *arg);

struct lookup;
/* callback runs exactly once, perhaps before the call returns; then the look-up is no more. */
void resolver_ask(struct lookup **lookup, const char *host, int port, resolver_callback callback, void *arg);
void resolver_cancel(struct lookup **lookup); /* callback does not run; *lookup may be NULL */
void resolver_fini(void);
