/* SPDX-License-Identifier: MIT */
/* check: looks at a Redis before any worker uses it, and says what of its settings would hurt (--check-redis). */
#pragma once

#include <stdio.h>

enum check_result {
    CHECK_FINE,  /* or warnings only */
    CHECK_LOSES, /* data would be lost, or messages refused */
    CHECK_FAILED /* Redis was not reached, or was lost meanwhile: problem is one sentence without a password */
};

/* Blocks for some seconds at most. Prints a line for each check and one at the end. */
enum check_result check_redis(const char *url, FILE *out, char problem[static 256]);
