/* SPDX-License-Identifier: MIT */
/* tcp_progress: how far the bytes of a socket have come, as TCP knows it. */
#pragma once

#include <stdint.h>

/* Counted from the socket's first byte; 0 where the system does not tell. */
uint64_t tcp_taken(int fd);   /* acknowledged by the other host */
uint64_t tcp_written(int fd); /* given to the kernel */
