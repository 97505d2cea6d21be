/* SPDX-License-Identifier: MIT */
/* schema: the number of the key layout in Redis (sb:schema), and the migrations up to that of this version. A worker
   does nothing else in Redis before it knows that the layout is its own. */
#pragma once

#include <stddef.h>

struct script;

#define MIGRATION_KEYS_MAX 4

/* From one layout to the next, in steps: see CONTRIBUTING.md, "Changing the layout of keys". */
struct migration {
    const struct script *script;
    const char *keys[MIGRATION_KEYS_MAX];
};
extern const struct migration migrations[]; /* the first makes layout 1 */
extern const size_t migrations_count;       /* the layout of this version */

/* on_refused runs, with one sentence, each time the layout turns out to be one that this version does not know: nothing
   is sent to Redis from then on. */
void schema_init(void (*on_refused)(const char *problem));

/* Asks for the layout, migrates if it is older, and then lets the commands of all others through (redis_open()). For
   redis_init(), and for whoever finds that Redis was emptied. */
void schema_look(void);

#define SCHEMA_PROBLEM_MAX 256

/* NULL: a worker of this version can do with that layout (0: none yet; -1: what is there is not a number). Else problem
   says why it cannot, and what is returned, what mends it. */
const char *schema_wrong(long long layout, char problem[static SCHEMA_PROBLEM_MAX]) __attribute__((warn_unused_result));
