/* SPDX-License-Identifier: MIT */
/* redis_greeting: what is said first on a connection to Redis or to a Sentinel: who we are, and what it is. */
#pragma once

#include "signalbox/wire.h"

struct greeting;
struct redis_connection;
struct redis_place;

struct greeted {
    const char *problem;              /* why it does not do, in one sentence without a password; NULL: it does */
    const char *run_id;               /* of its process; "" where it does not say */
    const struct redis_place *master; /* where it says that its master is; NULL: it does not, or it is one */
};

/* Runs once; what it gets is borrowed. */
typedef void (*greeting_callback)(const struct greeted *g, void *arg);

struct greeting *greeting_begin(const struct redis_connection *c, greeting_callback callback, void *arg);
const char *greeting_error(const struct greeting *g); /* the last answer up to now, if it was one; else "" */
void greeting_end(struct greeting **g); /* callback does not run any more; *g is NULL then, and may be before */
