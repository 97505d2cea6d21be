/* SPDX-License-Identifier: MIT */
/* server: the one port for HTTP and WebSocket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

bool server_init(bool share_port); /* listens on HOST and PORT; false (logged): it cannot */
void server_drain(void);           /* upgrades are answered 503 from now on, and idle connections are closed */
bool server_draining(void);
bool server_busy(void); /* an HTTP request is under way, or its answer */
void server_fini(void);
