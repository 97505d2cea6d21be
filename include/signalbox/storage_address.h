/* SPDX-License-Identifier: MIT */
/* storage_address: what the sockets of this worker store for each client address, told to Redis, which sums up what all
   workers tell. For fleet/storage.c alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signalbox/err.h"

struct ip;

/* Counts bytes to an address. kept_ms: they end by themselves after that, whoever is gone; 0: they count until they are
   given back. true: they may be stored at once, and told never runs. false: told runs once, later, with ERR_NONE,
   ERR_STORAGE_LIMIT or ERR_UNAVAILABLE; unless it is ERR_NONE the caller gives them back. */
typedef void (*storage_told)(enum err e, void *arg);
bool storage_address_take(struct ip *ip, size_t bytes, long long kept_ms, storage_told told, void *arg)
    __attribute__((warn_unused_result));
void storage_address_give_back(struct ip *ip, size_t bytes, long long kept_ms);

/* Tells Redis of some of the addresses again; each_ms: so often it is called, and each address' turn comes before what
   Redis was told has ended. */
void storage_address_refresh(long long each_ms);
void storage_address_tell_again(void); /* of all of them, paced by storage_address_refresh() */
void storage_address_fini(void);
