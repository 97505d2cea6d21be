/* SPDX-License-Identifier: MIT */
/* server: the one port for HTTP and WebSocket, and the table of WebSocket paths. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct dialect;
struct http_head;

struct socket_path {
    const char *path; /* "/relay"; also matches what begins with "/relay/" */
    const char *name; /* in the list of endpoints */
    const struct dialect *dialect;
};
void server_add_paths(const struct socket_path *paths, size_t count);   /* kept, not copied */
const struct socket_path *server_path(size_t i);                        /* NULL after the last */
const struct socket_path *server_path_of(const struct http_head *head); /* NULL: it is none of them */

bool server_init(bool share_port); /* listens on HOST and PORT; false (logged): it cannot */
void server_drain(void);           /* upgrades are answered 503 from now on, and idle connections are closed */
bool server_draining(void);
bool server_busy(void); /* an HTTP request is under way, or its answer */
void server_fini(void);
