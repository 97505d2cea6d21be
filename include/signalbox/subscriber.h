/* SPDX-License-Identifier: MIT */
/* subscriber: the connection of the subscriptions (redis.h). For redis/client.c. */
#pragma once

struct redis_connection;
struct redis_place;

struct redis_connection *subscriber_connection(void);  /* to be filled in, and started */
void subscriber_move(const struct redis_place *place); /* starts it there, or leaves where it is for there */
/* Connects anew when Redis has said of all channels that they are unsubscribed, or was silent for too long. Until then
   their messages come: whoever published them was told that somebody hears. why lives as long as the process. */
void subscriber_leave(const char *why);
void subscriber_init(void (*on_up)(struct redis_connection *c));
void subscriber_fini(void);
