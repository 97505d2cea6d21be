/* SPDX-License-Identifier: MIT */
#include "signalbox/ring.h"

#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/keys.h"
#include "signalbox/pool.h"

struct point {
    uint64_t place;
    const struct pool_member *member;
};

struct ring {
    struct point *points; /* by place */
    size_t count;
    const struct pool_member **members;
    size_t member_count;
};

/* SipHash-2-4 with a key that is no secret: every worker is to find the same places. */
static uint64_t place_of(struct span text)
{
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "signalbox ring 1";
    uint64_t place;

    crypto_shorthash((unsigned char *)&place, (const unsigned char *)text.at, text.len, key);
    return place;
}

static bool before(const struct point *a, const struct point *b)
{
    return a->place != b->place ? a->place < b->place : strcmp(a->member->id, b->member->id) < 0;
}

/* Writes the number in front of end; returns where it begins. */
static char *digits(char *end, unsigned number)
{
    do
        *--end = (char)('0' + number % 10);
    while (number /= 10);
    return end;
}

/* A point's place is that of the text "ID:NUMBER". */
static void add_points(struct ring *r, const struct pool_member *m, int replicas)
{
    char text[ID_MAX + 1 + 10], number[10];
    size_t len = strlen(m->id);

    memcpy(text, m->id, len);
    text[len++] = ':';
    for (unsigned i = 0; i < (unsigned)replicas; i++) {
        const char *at = digits(number + sizeof(number), i);
        size_t count = (size_t)(number + sizeof(number) - at);

        memcpy(text + len, at, count);
        r->points[r->count++] = (struct point){place_of((struct span){text, len + count}), m};
    }
}

/* Which of as many equal parts of the ring as it has points. */
static size_t part_of(const struct ring *r, const struct point *p)
{
    return (size_t)((p->place >> 32) * r->count >> 32);
}

/* Places are spread evenly: each point goes to about where it belongs at once, and then past the few in its way. So a
   large pool takes a time in proportion to its points, in which the worker does nothing else. */
static void sort_points(struct ring *r)
{
    struct point *sorted = mem_alloc(r->count * sizeof(*sorted));
    size_t *at = mem_alloc((r->count + 1) * sizeof(*at));

    for (size_t i = 0; i < r->count; i++)
        at[part_of(r, &r->points[i]) + 1]++;
    for (size_t i = 1; i <= r->count; i++)
        at[i] += at[i - 1];
    for (size_t i = 0; i < r->count; i++)
        sorted[at[part_of(r, &r->points[i])]++] = r->points[i];
    for (size_t i = 1; i < r->count; i++) {
        struct point p = sorted[i];
        size_t to = i;

        for (; to > 0 && before(&p, &sorted[to - 1]); to--)
            sorted[to] = sorted[to - 1];
        sorted[to] = p;
    }
    free(at);
    free(r->points);
    r->points = sorted;
}

struct ring *ring_new(struct pool_member *const *members, size_t count, int replicas)
{
    struct ring *r = mem_alloc(sizeof(*r));

    r->points = mem_alloc(count * (size_t)replicas * sizeof(*r->points));
    r->members = mem_alloc(count * sizeof(struct pool_member *));
    for (; r->member_count < count; r->member_count++) {
        r->members[r->member_count] = members[r->member_count];
        add_points(r, members[r->member_count], replicas);
    }
    sort_points(r);
    return r;
}

void ring_free(struct ring *r)
{
    if (!r)
        return;
    free(r->points);
    free(r->members);
    free(r);
}

/* The first point at that place or behind it. */
static size_t point_after(const struct ring *r, uint64_t place)
{
    size_t from = 0, to = r->count;

    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (r->points[middle].place < place)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool is_of(const struct pool_member *m, const char *region)
{
    return !region || (m->region && strcmp(m->region, region) == 0);
}

static bool among(const struct pool_member *m, const struct pool_member *const *chosen, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (chosen[i] == m)
            return true;
    return false;
}

/* How many members are of the region, and at most. */
static size_t count_of(const struct ring *r, const char *region, size_t most)
{
    size_t count = 0;

    for (size_t i = 0; i < r->member_count && count < most; i++)
        count += is_of(r->members[i], region);
    return count;
}

static size_t choose_of(const struct ring *r, size_t first, const char *region, size_t count, size_t enough,
                        const struct pool_member **chosen)
{
    for (size_t i = 0; count < enough; i++) {
        const struct pool_member *m = r->points[(first + i) % r->count].member;

        if (is_of(m, region) && !among(m, chosen, count))
            chosen[count++] = m;
    }
    return count;
}

size_t ring_choose(const struct ring *r, struct span range, const char *region, size_t most,
                   const struct pool_member **chosen)
{
    size_t first = point_after(r, place_of(range)), count = 0;

    if (region)
        count = choose_of(r, first, region, 0, count_of(r, region, most), chosen);
    return choose_of(r, first, NULL, count, r->member_count < most ? r->member_count : most, chosen);
}
