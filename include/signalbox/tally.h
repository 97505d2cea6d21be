/* SPDX-License-Identifier: MIT */
/* tally: lists of the fleet's entries that end by themselves, kept for the statistics: how many entries there are, and
   of how many names. An entry is "name TAB peer". */
#pragma once

#include <stddef.h>

#include "signalbox/redis.h"

struct tally {
    const char *list_key, *counts_key;
};
void tally_add(const struct tally *t, long long ttl_ms, size_t count, const char *const *entries);
void tally_remove(const struct tally *t, size_t count, const char *const *entries);

/* The reply is {names, entries}; callback may be NULL, to let ended entries go. */
void tally_count(const struct tally *t, redis_callback callback, void *arg);
