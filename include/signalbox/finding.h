/* SPDX-License-Identifier: MIT */
/* finding: what a check of Redis has found, why it matters, and what mends it: a command, advice, or both. All zero is
   one about which nothing is said yet. Used by redis/ alone. */
#pragma once

#include <stdio.h>

#include "signalbox/bytes.h"

struct probe;

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_BAD, LEVELS };

struct finding {
    enum level level;
    struct builder text, command, advice;
};

/* What was found; instead of what was said before, unless that was worse: then it is said too. */
void finding_say(struct finding *f, enum level level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void finding_advise(struct finding *f, const char *what);
/* A redis-cli command for the Redis of the probe, as a shell takes it: these words, separated by spaces. */
void finding_mend(struct finding *f, const struct probe *p, const char *words);
void finding_set(struct finding *f, const struct probe *p, const char *setting, const char *value);
void finding_grant(struct finding *f, const struct probe *p, const char *user, struct span rights);
void finding_grant_us(struct finding *f, struct probe *p, const char *rights); /* to the user of the connection */
void finding_unread(struct finding *f, struct probe *p, const char *what);     /* a warning, and what lets us read it */

void finding_print(const struct finding *f, const char *name, FILE *out); /* one line */
void finding_fini(struct finding *f);
