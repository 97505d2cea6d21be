/* SPDX-License-Identifier: MIT */
/* script: the Lua scripts of redis-lua/, baked into the program, and the calls of them.
   struct call collects the keys and arguments of one call; all keys come before the first argument. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signalbox/redis.h"

struct script {
    size_t number;      /* in scripts_all */
    const char *name;   /* "relay/register" */
    const char *source; /* without the comment that opens it */
    size_t source_len;
    const char *sha1;
    int keys, args;
    bool more_args; /* any number after the required ones */
};

struct call {
    const struct script *script;
    int keys, args;
    struct builder tail; /* keys and arguments in RESP */
};
struct call call_new(const struct script *script);
void call_key(struct call *c, const char *key);
void call_span(struct call *c, struct span arg);
void call_text(struct call *c, const char *arg);
void call_int(struct call *c, long long arg);

/* Sends the call and empties it. A wrong number of keys or arguments is a bug of ours and aborts.
   callback as in redis_send(); NULL when nobody waits for the reply (errors are logged and counted). */
void call_send(struct call *c, redis_callback callback, void *arg);
/* The same, but none overtakes another, also while Redis has forgotten its scripts: the code itself goes along, which
   is for short scripts. */
void call_send_in_order(struct call *c, redis_callback callback, void *arg);

/* The same for the guard of redis_init(). */
void call_send_first(struct call *c, redis_callback callback, void *arg);

void scripts_init(void); /* before redis_init() */
void scripts_load(void); /* into Redis; before anything else is sent after a connect */
