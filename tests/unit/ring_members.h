/* SPDX-License-Identifier: MIT */
/* What the tests of the ring share: groups of members, and 65,536 ranges. Included behind cmocka.h. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/cidr.h"
#include "signalbox/keys.h"
#include "signalbox/pool.h"
#include "signalbox/ring.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define RANGES 65536
#define REPLICAS 150
#define MEMBERS 10
#define MOST 32

/* The range of 10.x.y.0, at x * 256 + y. */
static unsigned char ranges[RANGES][ADDRESS_RANGE_MAX];
static size_t range_len;

static inline int make_ranges(void **state)
{
    char ip[32];

    (void)state;
    for (int i = 0; i < RANGES; i++) {
        snprintf(ip, sizeof(ip), "10.%d.%d.0", i >> 8, i & 255);
        range_len = address_range(ip, ranges[i]);
    }
    return range_len ? 0 : -1;
}

static inline struct span range_at(size_t i)
{
    return (struct span){(const char *)ranges[i], range_len};
}

struct group {
    size_t count;
    struct pool_member **members;
};

static inline void add(struct group *g, const char *id, const char *region)
{
    struct pool_member *m = mem_alloc(sizeof(*m));

    m->id = mem_dup(id);
    m->region = region ? mem_dup(region) : NULL;
    g->members = mem_grow(g->members, (g->count + 1) * sizeof(struct pool_member *));
    g->members[g->count++] = m;
}

static inline void name_numbered(size_t i, char out[static ID_MAX + 1])
{
    snprintf(out, ID_MAX + 1, "worker-%zu", i + 1);
}

/* splitmix64: looks random, and is the same in each run. */
static inline uint64_t scramble(uint64_t n)
{
    n += 0x9e3779b97f4a7c15;
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
    n = (n ^ n >> 27) * 0x94d049bb133111eb;
    return n ^ n >> 31;
}

static inline void name_uuid(size_t i, char out[static ID_MAX + 1])
{
    unsigned long long a = scramble(2 * i), b = scramble(2 * i + 1);

    snprintf(out, ID_MAX + 1, "%08llx-%04llx-4%03llx-a%03llx-%012llx", a >> 32, a >> 16 & 0xffff, a & 0xfff, b >> 52,
             b & 0xffffffffffff);
}

static inline struct group group_new(size_t count, void (*name)(size_t i, char out[static ID_MAX + 1]))
{
    struct group g = {0};
    char id[ID_MAX + 1];

    for (size_t i = 0; i < count; i++) {
        name(i, id);
        add(&g, id, NULL);
    }
    return g;
}

static inline void group_free(struct group *g)
{
    for (size_t i = 0; i < g->count; i++) {
        free(g->members[i]->id);
        free(g->members[i]->region);
        free(g->members[i]);
    }
    free(g->members);
}

static inline struct ring *ring_of(const struct group *g)
{
    return ring_new(g->members, g->count, REPLICAS);
}

static inline size_t index_of(const struct group *g, const struct pool_member *m)
{
    size_t i = 0;

    while (i < g->count && g->members[i] != m)
        i++;
    assert_true(i < g->count);
    return i;
}

static inline const struct pool_member *first(const struct ring *r, struct span range)
{
    const struct pool_member *m = NULL;

    assert_int_equal(ring_choose(r, range, NULL, 1, &m), 1);
    return m;
}
