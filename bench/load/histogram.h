/* SPDX-License-Identifier: MIT */
/* histogram: how often which time was taken, with an error of at most 1/32: linear up to 64, then 32 steps for each
   power of two. The unit is the caller's. */
#pragma once

#include <stdint.h>

#define HISTOGRAM_STEPS 32
#define HISTOGRAM_SIZE (HISTOGRAM_STEPS * 60)

struct histogram {
    uint64_t count, most;
    uint64_t at[HISTOGRAM_SIZE];
};

void histogram_add(struct histogram *h, uint64_t value);
/* The least value that so great a share of all do not exceed: never below the true one, and 1/32 above it at most.
   0 where there is none. */
uint64_t histogram_quantile(const struct histogram *h, double share);
