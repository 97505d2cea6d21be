/* SPDX-License-Identifier: MIT */
/* pool: the members that serve an application's clients, as Redis has them (docs/design.md, "The front server"). Every
   worker keeps a copy with a ring of its own, and reads it anew when the version changes, and once a second. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "signalbox/script.h"

struct pool_member {
    char *id, *endpoint, *region; /* region: NULL where it has none */
    long long capacity, load, seen_ms;
    bool draining;
};

/* Borrowed until the callback returns. */
const struct pool_member *pool_find(const char *id);
/* The members for a client, best first (see ring_choose); those that drain or are full are left out. */
size_t pool_choose(const char *ip, const char *region, size_t most, const struct pool_member **chosen);
long long pool_version(void);

json_t *wire_pool_member(const struct pool_member *m); /* a new reference, as these: */
json_t *wire_pool(void);                               /* all of them, by id */

bool pool_known(void); /* it has been read */
/* done(ok) runs once, later, with the pool as it is now. Whoever asks while it is being read shares the next reading.
 */
void pool_read(void (*done)(bool ok, void *arg), void *arg);
struct call pool_call(const struct script *script); /* with the keys of the pool */

void pool_follow(void); /* reads it anew; also when Redis turns up: its channel may have been live before */
/* on_change: called when the version has changed, or a member is there or not there any more. */
void pool_init(void (*on_change)(void));
void pool_fini(void);
