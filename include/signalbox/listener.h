/* SPDX-License-Identifier: MIT */
/* listener: the listening socket. */
#pragma once

#include <stdbool.h>

struct sockaddr;

/* share: several processes may listen on the port (SO_REUSEPORT). on_accept gets a non-blocking socket and owns it;
   false: no other is accepted before listener_resume(). Returns the port, or -1 with errno. */
int listener_open(const char *host, int port, bool share, bool (*on_accept)(int fd, const struct sockaddr *from));
void listener_resume(void);
void listener_close(void);
