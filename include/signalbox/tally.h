/* SPDX-License-Identifier: MIT */
/* tally: lists of the fleet's entries that end by themselves, kept for the statistics: how many entries there are, and
   of how many names. An entry is "name TAB address peer": a successor at another address has one of its own. */
#pragma once

#include <stddef.h>

#include "signalbox/address.h"
#include "signalbox/redis.h"

struct tally {
    const char *list_key, *counts_key;
};
/* The caller frees it. */
char *tally_entry_new(const char *name, struct span holder);
char *tally_entry_at(const char *name, const struct address *a, const char *peer);

void tally_add(const struct tally *t, long long ttl_ms, size_t count, const char *const *entries);
void tally_remove(const struct tally *t, size_t count, const char *const *entries);

/* The reply is {names, entries, entries that had ended}. */
void tally_count(const struct tally *t, redis_callback callback, void *arg);
void tally_tidy(const struct tally *t); /* takes all off that have ended; t is static */
