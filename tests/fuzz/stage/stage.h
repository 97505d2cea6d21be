/* SPDX-License-Identifier: MIT */
/* stage: a whole worker without a socket, a Redis or a clock. Everything from the sessions and the exchanges up is the
   program's own; the fake_*.c files stand in for core/loop.c, redis/ and libwebsockets. An input is a play of one line
   for each step, see stage.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "signalbox/bytes.h"

struct exchange;
struct session;

/* Runs the play; steps: the letters that it may use. 0, as LLVMFuzzerTestOneInput returns. */
int stage_play(const uint8_t *data, size_t size, const char *steps);

/* Words of a line, with a bar between them. */
struct words {
    struct span rest;
};
char *words_take(struct words *w);        /* "" once none is left; @ is put in as stage.c says. The caller frees it */
char *words_take_stored(struct words *w); /* likewise, no longer than what the program stores */
bool words_take_if(struct words *w, const char *word);
char *stage_put_in(struct span text); /* the caller frees it */
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

/* fake_lws.c: one connection of a client. */
struct lws {
    struct session *session;
    struct exchange *exchange;
    bool wants_write, blocked, paused;
    int64_t kill_ms; /* 0: never */
    char *query;     /* of the request, as it came */
    bool json;       /* what is being answered */
    char nonce[65];  /* of the last challenge */
};
bool fake_lws_write(struct lws *wsi); /* gives it its turn to write; false: it wants none */
void fake_lws_close(struct lws *wsi);
char *percent_decode(struct span text); /* the caller frees it */
