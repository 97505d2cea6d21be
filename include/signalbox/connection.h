/* SPDX-License-Identifier: MIT */
/* connection: a client's connection as long as HTTP is spoken on it (RFC 9112): requests one after the other, each
   within its time, until one is an upgrade. Then what is left of it belongs to net/websocket.c. */
#pragma once

#include <stdbool.h>

struct connection;
struct sockaddr;

void connection_new(int fd, const struct sockaddr *from); /* takes the descriptor */

void connections_init(void);
void connections_drain(void); /* those between two requests are closed, the others behind their answer */
bool connections_draining(void);
bool connections_busy(void); /* a request is under way on one of them, or its answer */
void connections_fini(void);
