/* SPDX-License-Identifier: MIT */
/* ring: consistent hashing of address ranges to members of the pool (docs/design.md, "The front server"). A pure
   function of the members' ids: every worker that knows the same members gives the same answers. */
#pragma once

#include <stddef.h>

#include "signalbox/bytes.h"

struct pool_member;
struct ring;

/* Of members that take new clients, each with that many points; they outlive the ring. */
struct ring *ring_new(struct pool_member *const *members, size_t count, int replicas);
void ring_free(struct ring *r); /* NULL is fine */

/* The members for a range, best first: those of the region (NULL: of any), then the others, in the order in which their
   points follow the range's own. At most `most`, each once; how many. */
size_t ring_choose(const struct ring *r, struct span range, const char *region, size_t most,
                   const struct pool_member **chosen);
