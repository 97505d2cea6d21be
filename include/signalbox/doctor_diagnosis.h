/* SPDX-License-Identifier: MIT */
/* doctor_diagnosis: what one check of Redis says: what it found, why that matters, and what mends it (a command,
   advice, or both). All zero: it has said nothing yet. Used by doctor/ alone. */
#pragma once

#include <stdio.h>

#include "signalbox/bytes.h"

struct doctor_client;

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_BAD, LEVELS };

struct diagnosis {
    enum level level;
    struct builder text, command, advice;
};

/* What was found; instead of what was said before, unless that was worse: then it is said too. */
void diagnosis_say(struct diagnosis *d, enum level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void diagnosis_advise(struct diagnosis *d, const char *what);
/* A redis-cli command for the Redis that is looked at, as a shell takes it: these words, separated by spaces. */
void diagnosis_mend(struct diagnosis *d, const struct doctor_client *c, const char *words);
void diagnosis_set(struct diagnosis *d, const struct doctor_client *c, const char *setting, const char *value);
void diagnosis_grant(struct diagnosis *d, const struct doctor_client *c, const char *user, struct span rights);
/* The same for the user of the connection. */
void diagnosis_grant_us(struct diagnosis *d, struct doctor_client *c, const char *rights);
/* Warns that what cannot be read, and says what lets us read it. */
void diagnosis_unread(struct diagnosis *d, struct doctor_client *c, const char *what);

void diagnosis_print(const struct diagnosis *d, const char *name, FILE *out); /* one line */
void diagnosis_fini(struct diagnosis *d);
