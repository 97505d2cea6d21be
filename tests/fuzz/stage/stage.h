/* SPDX-License-Identifier: MIT */
/* stage: a whole worker without a socket, a Redis or a clock. Everything from the sessions and the bytes of HTTP up is
   the program's own; the fake_*.c files stand in for core/loop.c, redis/, net/transport.c and libwebsockets. An input
   is a play of one line for each step, see stage.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signalbox/bytes.h"

#define STAGE_CLIENTS 4
#define POOL_KEY "the key of the pool"

struct session;
struct signing_key;

/* Runs the play; steps: the letters that it may use. 0, as LLVMFuzzerTestOneInput returns. */
int stage_play(const uint8_t *data, size_t size, const char *steps);

/* words.c: words of a line, with a bar between them. */
struct words {
    struct span rest;
};
char *words_take(struct words *w);        /* "" once none is left; @ is put in as stage.c says. The caller frees it */
char *words_take_stored(struct words *w); /* likewise, no longer than what the program stores */
bool words_take_if(struct words *w, const char *word);
unsigned long words_take_number(struct words *w);
char *stage_put_in(struct span text); /* the caller frees it */
extern struct signing_key *stage_key; /* of session tokens */
extern bool stage_trusted;            /* so far nothing came from Redis but numbers */

/* fake_loop.c: a clock that stands still until it is told to go on. */
void fake_loop_jump(int64_t ms); /* what is due by then runs once, as after a pause of the process */
bool fake_loop_turn(void);       /* runs what was deferred, and what a turn ends with; false: nothing was asked for */
size_t fake_loop_timers(void);

/* fake_redis.c: keeps what is sent, until it is answered. */
void fake_redis_answer(struct words *w);   /* to the oldest command: whatever shape it is read by, from these words */
void fake_redis_refuse(const char *error); /* likewise; NULL: Redis is out of reach */
size_t fake_redis_waiting(void);           /* commands without an answer */
bool fake_redis_confirm(void);             /* the subscriptions that were asked for; false: there was none */
void fake_redis_publish(size_t channel, struct span message); /* channel: counted from the oldest */
size_t fake_redis_channels(void);
void fake_redis_go(bool up);

/* fake_transport.c: a client's connection as long as it speaks HTTP; fd is the number of the client. */
bool fake_wire_open(int fd); /* false: it is open */
bool fake_wire_is_open(int fd);
void fake_wire_send(int fd, struct span bytes);
void fake_wire_end(int fd); /* it says nothing more */
void fake_wire_block(int fd, bool blocked);
void fake_wire_drop(int fd); /* it became a WebSocket's */
bool fake_wire_turn(int fd); /* does what the loop would; false: there is nothing to do */

/* fake_lws.c: a client's WebSocket. */
struct lws {
    struct session *session;
    bool wants_write, blocked, paused;
    char nonce[65]; /* of the last challenge */
};
extern struct lws stage_clients[STAGE_CLIENTS];
bool fake_lws_write(struct lws *wsi); /* gives it its turn to write; false: it wants none */
void fake_lws_close(struct lws *wsi);
