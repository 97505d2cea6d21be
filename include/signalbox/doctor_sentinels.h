/* SPDX-License-Identifier: MIT */
/* doctor_sentinels: what the Sentinels of REDIS_URL say of the master. Used by doctor/ alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "signalbox/redis_target.h"

struct diagnosis;
struct doctor_client;

struct doctor_sentinels {
    size_t listed, answered, agreed; /* agreed: on the master below */
    struct redis_place master;       /* as the newest configuration has it; the host is owned */
    long long epoch, replicas, quorum;
    char silent[256]; /* why one did not answer, the last of them; "": all did */
};

/* Asks all. false: none knows the master, and problem says why. */
bool doctor_sentinels_ask(struct doctor_sentinels *all, const struct redis_target *t, char problem[static 256])
    __attribute__((warn_unused_result));
void doctor_sentinels_free(struct doctor_sentinels *all);

void check_sentinels(struct doctor_client *c, struct diagnosis *d);
