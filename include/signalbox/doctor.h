/* SPDX-License-Identifier: MIT */
/* doctor: looks at a Redis before any worker uses it, and says what of its settings would hurt (--check-redis). */
#pragma once

#include <stdio.h>

enum doctor_verdict {
    DOCTOR_FINE,  /* or warnings only */
    DOCTOR_LOSES, /* data would be lost, or messages refused */
    DOCTOR_FAILED /* Redis was not reached, or was lost meanwhile: problem is one sentence without a password */
};

/* Blocks for some seconds at most. Calls keys_init(). Prints a line for each check and one at the end. */
enum doctor_verdict doctor_run(const char *url, FILE *out, char problem[static 256]);
