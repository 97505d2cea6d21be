/* SPDX-License-Identifier: MIT */
/* signalbox-ring-lookup: the time of one lookup in the ring of the pool, for rings of 10 to 1,000 members with 150
   points each: the member of an address range and two alternates, as /bootstrap asks. The ranges are many and mixed, so
   that a lookup finds little in the caches. Prints a line of JSON for each ring: CPU time, the best of several rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signalbox/cidr.h"
#include "signalbox/keys.h"
#include "signalbox/pool.h"
#include "signalbox/ring.h"

#define REPLICAS 150
#define CHOSEN 3
#define LOOKUPS 100000
#define ROUNDS 10
#define STRIDE 40503 /* odd: visits all ranges, far from one another */

static unsigned char ranges[65536][ADDRESS_RANGE_MAX];
static size_t range_len;
static size_t found; /* keeps the compiler from leaving the lookups out */

static void make_ranges(void)
{
    char ip[32];

    for (unsigned i = 0; i < 65536; i++) {
        snprintf(ip, sizeof(ip), "10.%u.%u.0", i >> 8, i & 255);
        range_len = address_range(ip, ranges[i]);
    }
}

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double lookup_ns(const struct ring *r)
{
    const struct pool_member *chosen[CHOSEN];
    double best = 0;

    for (int round = 0; round < ROUNDS; round++) {
        double begun = cpu_ns(), each;

        for (unsigned i = 0; i < LOOKUPS; i++) {
            struct span range = {(const char *)ranges[i * STRIDE & 0xffff], range_len};

            found += ring_choose(r, range, NULL, CHOSEN, chosen);
        }
        each = (cpu_ns() - begun) / LOOKUPS;
        best = round == 0 || each < best ? each : best;
    }
    return best;
}

static void measure(size_t count)
{
    struct pool_member *members = mem_alloc(count * sizeof(*members));
    struct pool_member **list = mem_alloc(count * sizeof(struct pool_member *));
    char id[ID_MAX + 1];
    struct ring *r;

    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "worker-%zu", i + 1);
        members[i].id = mem_dup(id);
        list[i] = &members[i];
    }
    r = ring_new(list, count, REPLICAS);
    printf("{\"bench\":\"ring_lookup\",\"members\":%zu,\"replicas\":%d,\"cpu_per_lookup_ns\":%.0f}\n", count, REPLICAS,
           lookup_ns(r));
    ring_free(r);
    for (size_t i = 0; i < count; i++)
        free(members[i].id);
    free(members);
    free(list);
}

int main(void)
{
    static const size_t counts[] = {10, 100, 1000};

    make_ranges();
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        measure(counts[i]);
    return found > 0 ? 0 : 1;
}
