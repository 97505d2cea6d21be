/* SPDX-License-Identifier: MIT */
/* report: what a run has counted, and the line of JSON that says it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

struct report {
    uint64_t messages, deliveries;                   /* in the time that is measured */
    uint64_t sent, arrived, refused, wrong, strange; /* in all; wrong: twice or out of order */
    uint64_t returned;
    double seconds, connect_seconds, return_seconds;
    struct histogram times, connects; /* µs */
};
extern struct report report;

void report_error(const char *text, size_t len); /* counted by its text */
bool report_print(const char *scenario, size_t clients);
