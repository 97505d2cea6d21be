/* SPDX-License-Identifier: MIT */
#include "histogram.h"

#include <math.h>

/* 2 * STEPS values have a place of their own; above, a value is shifted until it is below 2 * STEPS. */
static unsigned place(uint64_t value)
{
    unsigned shift = 0;

    while (value >> shift >= 2 * HISTOGRAM_STEPS)
        shift++;
    return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

static uint64_t greatest_at(unsigned i)
{
    unsigned shift = i < 2 * HISTOGRAM_STEPS ? 0 : i / HISTOGRAM_STEPS - 1;

    return ((uint64_t)(i - shift * HISTOGRAM_STEPS) + 1) * (1ULL << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->at[place(value)]++;
    h->count++;
    if (value > h->most)
        h->most = value;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    uint64_t rank = (uint64_t)ceil(share * (double)h->count), seen = 0;

    if (h->count == 0)
        return 0;
    for (unsigned i = 0; i < HISTOGRAM_SIZE; i++) {
        seen += h->at[i];
        if (seen >= rank && seen > 0)
            return greatest_at(i) < h->most ? greatest_at(i) : h->most;
    }
    return h->most;
}
