/* SPDX-License-Identifier: MIT */
/* subscriber: the connection of the subscriptions (redis.h). For redis/client.c. */
#pragma once

struct redis_connection;

struct redis_connection *subscriber_connection(void); /* to be filled in, and started */
void subscriber_init(void (*on_up)(struct redis_connection *c));
void subscriber_fini(void);
