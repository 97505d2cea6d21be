/* SPDX-License-Identifier: MIT */
/* redis: three connections to one Redis: for commands (pipelined, answered in order), for the few that must not wait
   behind those, and for subscriptions. They come back by themselves, 50 ms to 2 s apart, and only to a master. Nothing
   waits for a Redis that is away: it fails at once. */
#pragma once

#include <stdbool.h>

#include "signalbox/bytes.h"

/* A reply, borrowed until the callback returns. */
struct reply;

/* Runs exactly once, from the loop, never before the call returned. r is NULL if Redis was not reached, did not
   answer in time, or answered with an error: the command may or may not have run. Commands run and answer in the order
   they were sent, but for scripts that Redis had forgotten (script.h), and refusals, which come at once: a context
   shared by two commands counts their answers. */
typedef void (*redis_callback)(const struct reply *r, void *arg);

/* The database that url names; -1: it is none that redis_init() takes, and problem says why. Reads the certificates,
   too, if the url wants TLS. */
int redis_url_db(const char *url, char problem[static 256]) __attribute__((warn_unused_result));

/* Reads url (redis_target.h); false: problem says what is wrong without showing a password. redis_url_db() was asked
   before. Connecting begins at once. guard runs after each connect of the command
   connection: until it has said redis_open(), only what is sent with redis_send_first() goes out; on_up runs each time
   it has. */
bool redis_init(const char *url, const char *client_name, void (*guard)(void), void (*on_up)(void),
                char problem[static 256]) __attribute__((warn_unused_result));
void redis_fini(void); /* pending callbacks run with NULL */

bool redis_up(void);             /* commands are answered */
bool redis_connected(void);      /* those of the guard are, at least */
const char *redis_problem(void); /* why they, or else the subscriptions, are not connected; "": nothing is known */
void redis_open(void);
void redis_shut(void); /* until redis_open(), which the guard may say after the next connect */
/* The server that was opened last is another process than the one before, or does not say what it is: it may have
   forgotten what was written before. */
bool redis_is_another(void);
void redis_leave(const char *why); /* drops all connections, and looks for the master anew */

/* One command, its words given by count spans. callback may be NULL: errors are logged and counted. */
void redis_send(redis_callback callback, void *arg, size_t count, const struct span *words);
/* The same for words that end with a zero, up to NULL: redis_command(cb, arg, "GET", key, NULL). */
void redis_command(redis_callback callback, void *arg, ...) __attribute__((sentinel));
/* One command as it goes over the wire (resp.h); the callback gets Redis' error text too (NULL: not reached). */
typedef void (*redis_raw_callback)(const struct reply *r, const char *error, void *arg);
void redis_send_raw(redis_raw_callback callback, void *arg, struct span resp);
void redis_send_first(redis_raw_callback callback, void *arg, struct span resp); /* also while it is not open */
/* On a connection of its own, which nothing that takes long holds up, while there is one: it may overtake what was sent
   before, and be overtaken. */
void redis_send_urgent(redis_raw_callback callback, void *arg, struct span resp);
/* Within a callback of a reply: holds back what is sent from now on until all that is under way has been answered; then
   idle() runs, and what was held goes out behind what idle() sends. */
void redis_hold(void (*idle)(void));

/* Messages of a channel, also after a reconnect, until Redis has answered a redis_unsubscribe(): whoever published one
   before was told that it is heard. on_live runs each time the subscription has been confirmed (live), and when it is
   lost before that or after, until redis_unsubscribe(); it may be NULL. Subscribing again replaces both. */
typedef void (*redis_message)(const char *channel, struct span message);
typedef void (*redis_live)(const char *channel, bool live);
void redis_subscribe(const char *channel, redis_message on_message, redis_live on_live);
void redis_unsubscribe(const char *channel);
bool redis_channel_live(const char *channel);
bool redis_subscriber_up(void);
void redis_subscribe_anew(const char *why); /* drops the connection of the subscriptions; all come back on another */

/* Reads an array reply by a letter for each of its elements: s span, i long long, r nested reply, - skip.
   A nil string reads as an empty span. false (logged as script_reply_malformed): other shape. */
bool reply_read(const struct reply *r, const char *shape, ...) __attribute__((warn_unused_result));
size_t reply_count(const struct reply *r); /* elements of an array; 0 for anything else */
const struct reply *reply_at(const struct reply *r, size_t i);
struct span reply_span(const struct reply *r); /* a string or status; else empty */
long long reply_int(const struct reply *r);    /* an integer, or a string that is one; else 0 */
