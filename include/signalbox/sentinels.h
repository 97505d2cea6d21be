/* SPDX-License-Identifier: MIT */
/* sentinels: which server is the master, as the Sentinels of the list know. For redis/client.c. */
#pragma once

#include <stdbool.h>

struct redis_place;
struct redis_target;

/* Asks all of them, again and again, and hears of what they change. on_master runs each time that it is another; the
   place is borrowed. It may still be on its way to become one: only its own word counts (ROLE). sure: most of them have
   answered, or they know nothing older than what was followed last. false: it is not followed now, and comes again.
 */
void sentinels_init(const struct redis_target *t, const char *client_name,
                    bool (*on_master)(const struct redis_place *place, bool sure));
void sentinels_ask(void);            /* now, all that can be reached; nothing where there are none */
const char *sentinels_problem(void); /* why no master is known */
void sentinels_fini(void);
