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
    bool with_text; /* each call carries its source, so that Redis always knows it */
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
   callback as in redis_send(); NULL when nobody waits for the reply (errors are logged and counted).
   A call that finds its script forgotten (SCRIPT FLUSH, fail-over) is made again once all that is under way has been
   answered, and before anything that is sent later. But another worker may have taught Redis the script meanwhile, and
   calls under way that were behind it are then made before it. Where that does harm, the script's header says
   `-- TEXT`: its calls are made, and answered, where they stand. Redis hashes that text each time: 3 µs a kilobyte. */
void call_send(struct call *c, redis_callback callback, void *arg);

/* The same on a connection of its own (redis_send_urgent()). */
void call_send_urgent(struct call *c, redis_callback callback, void *arg);

/* The same for the guard of redis_init(): scripts are loaded later, so the text goes along. */
void call_send_first(struct call *c, redis_callback callback, void *arg);

void scripts_init(void); /* before redis_init() */
void scripts_load(void); /* into Redis; before anything else is sent after a connect */
