/* SPDX-License-Identifier: MIT */
#include "signalbox/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "ring_members.h"

#ifdef __SANITIZE_ADDRESS__
#define SLOW 20
#else
#define SLOW 1
#endif

/* --- whom it chooses --- */

static void each_member_is_chosen_once_and_no_more_than_were_asked_for(void **state)
{
    static const size_t asked[] = {0, 1, 2, 3, MEMBERS - 1, MEMBERS, MEMBERS + 1, MOST};
    struct group g = group_new(MEMBERS, name_numbered);
    struct ring *r = ring_of(&g);
    const struct pool_member *all[MOST], *some[MOST + 1];

    (void)state;
    for (size_t i = 0; i < RANGES; i += 13) {
        assert_int_equal(ring_choose(r, range_at(i), NULL, MOST, all), MEMBERS);
        for (size_t a = 0; a < MEMBERS; a++)
            for (size_t b = 0; b < a; b++)
                assert_ptr_not_equal(all[a], all[b]);
        for (size_t n = 0; n < COUNT(asked); n++) {
            size_t wanted = asked[n] < MEMBERS ? asked[n] : MEMBERS;

            memset(some, 0, sizeof(some));
            assert_int_equal(ring_choose(r, range_at(i), NULL, asked[n], some), wanted);
            assert_memory_equal(some, all, wanted * sizeof(const struct pool_member *));
            assert_null(some[wanted]);
        }
    }
    ring_free(r);
    group_free(&g);
}

/* What ring_choose() is to give for a region: the order of all of them, with those of the region in front. */
static void put_region_first(const struct pool_member **all, size_t count, const char *region,
                             const struct pool_member **out)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++)
        if (all[i]->region && strcmp(all[i]->region, region) == 0)
            out[n++] = all[i];
    for (size_t i = 0; i < count; i++)
        if (!all[i]->region || strcmp(all[i]->region, region) != 0)
            out[n++] = all[i];
}

static void members_of_the_region_come_first_each_group_in_the_order_of_the_ring(void **state)
{
    static const char *const of[] = {"eu", "us", NULL, "eu", "us-east", "us", "eu", NULL, "", "EU"};
    static const char *const asked[] = {"eu", "us", "us-east", "EU", "asia", "e", "eu ", ""};
    struct group g = {0};
    struct ring *r;

    (void)state;
    for (size_t i = 0; i < COUNT(of); i++) {
        char id[ID_MAX + 1];

        name_uuid(i, id);
        add(&g, id, of[i]);
    }
    r = ring_of(&g);
    for (size_t i = 0; i < RANGES; i += 307) {
        const struct pool_member *all[MOST], *wanted[MOST], *got[MOST];

        assert_int_equal(ring_choose(r, range_at(i), NULL, MOST, all), g.count);
        for (size_t a = 0; a < COUNT(asked); a++) {
            put_region_first(all, g.count, asked[a], wanted);
            for (size_t most = 0; most <= g.count; most++) {
                assert_int_equal(ring_choose(r, range_at(i), asked[a], most, got), most);
                assert_memory_equal(got, wanted, most * sizeof(const struct pool_member *));
            }
        }
    }
    ring_free(r);
    group_free(&g);
}

static void a_region_without_members_is_served_by_the_others(void **state)
{
    struct group g = group_new(3, name_numbered);
    struct ring *r = ring_of(&g);
    const struct pool_member *any[3], *asked[3];

    (void)state;
    for (size_t i = 0; i < RANGES; i += 31) {
        assert_int_equal(ring_choose(r, range_at(i), NULL, 3, any), 3);
        assert_int_equal(ring_choose(r, range_at(i), "nowhere", 3, asked), 3);
        assert_memory_equal(any, asked, sizeof(any));
    }
    ring_free(r);
    group_free(&g);
}

static void the_members_of_a_region_share_it_evenly(void **state)
{
    struct group g = {0};
    struct ring *r;
    size_t had[MEMBERS] = {0};
    double mean = (double)RANGES / 4;

    (void)state;
    for (size_t i = 0; i < MEMBERS; i++) {
        char id[ID_MAX + 1];

        name_uuid(i, id);
        add(&g, id, i < 4 ? "eu" : "us");
    }
    r = ring_of(&g);
    for (size_t i = 0; i < RANGES; i++) {
        const struct pool_member *m;

        assert_int_equal(ring_choose(r, range_at(i), "eu", 1, &m), 1);
        had[index_of(&g, m)]++;
    }
    for (size_t i = 0; i < 4; i++)
        assert_true((double)had[i] <= 1.25 * mean && (double)had[i] >= 0.7 * mean);
    ring_free(r);
    group_free(&g);
}

static void without_members_there_is_nobody(void **state)
{
    struct ring *r = ring_new(NULL, 0, REPLICAS);
    const struct pool_member *chosen[3] = {NULL};

    (void)state;
    assert_int_equal(ring_choose(r, range_at(0), NULL, 3, chosen), 0);
    assert_int_equal(ring_choose(r, range_at(0), "eu", 3, chosen), 0);
    assert_int_equal(ring_choose(r, (struct span){NULL, 0}, NULL, 3, chosen), 0);
    assert_null(chosen[0]);
    ring_free(r);
    ring_free(NULL);
}

static void one_member_has_everything(void **state)
{
    static const int replicas[] = {1, 2, REPLICAS, 10000};
    struct group g = {0};

    (void)state;
    add(&g, "only", "eu");
    for (size_t n = 0; n < COUNT(replicas); n++) {
        struct ring *r = ring_new(g.members, 1, replicas[n]);

        for (size_t i = 0; i < RANGES; i += 101) {
            const struct pool_member *chosen[3] = {NULL};

            assert_int_equal(ring_choose(r, range_at(i), i % 2 ? "us" : NULL, 3, chosen), 1);
            assert_ptr_equal(chosen[0], g.members[0]);
            assert_null(chosen[1]);
        }
        ring_free(r);
    }
    group_free(&g);
}

/* An address that is none has the empty range, and that is a range like any other. */
static void the_empty_range_has_its_members(void **state)
{
    struct group g = group_new(MEMBERS, name_numbered);
    struct ring *r = ring_of(&g);
    const struct pool_member *chosen[3];

    (void)state;
    assert_int_equal(ring_choose(r, (struct span){(const char *)ranges[0], 0}, NULL, 3, chosen), 3);
    assert_ptr_equal(first(r, (struct span){(const char *)ranges[1], 0}), chosen[0]);
    ring_free(r);
    group_free(&g);
}

/* --- time --- */

#define LOOKUPS 100000
#define BATCH 100

static int by_size(const void *a, const void *b)
{
    clock_t x = *(const clock_t *)a, y = *(const clock_t *)b;

    return (x > y) - (x < y);
}

/* The median over batches, in ns of CPU time, since others may share the machine: the clock counts in µs, and costs
   more than a lookup does. */
static double lookup_ns(const struct ring *r, const char *region, size_t most)
{
    static clock_t took[LOOKUPS / BATCH];
    const struct pool_member *chosen[MOST];
    uint64_t at = 0;
    size_t found = 0, middle = COUNT(took) / 2;

    for (size_t b = 0; b < COUNT(took); b++) {
        clock_t begun = clock();

        for (size_t i = 0; i < BATCH; i++, at += 40503)
            found += ring_choose(r, range_at(at % RANGES), region, most, chosen);
        took[b] = clock() - begun;
    }
    assert_int_equal(found, LOOKUPS * most);
    qsort(took, COUNT(took), sizeof(*took), by_size);
    return (double)took[middle] * 1e9 / CLOCKS_PER_SEC / BATCH;
}

static void a_lookup_takes_less_than_a_microsecond(void **state)
{
    static const size_t counts[] = {10, 100};

    (void)state;
    for (size_t n = 0; n < COUNT(counts); n++) {
        struct group g = {0};
        struct ring *r;
        double one;

        for (size_t i = 0; i < counts[n]; i++) {
            char id[ID_MAX + 1];

            name_uuid(i, id);
            add(&g, id, i % 2 ? "eu" : "us");
        }
        r = ring_of(&g);
        one = lookup_ns(r, NULL, 1);
        print_message("%zu members of %d points: a lookup takes %.0f ns, one of three in a region %.0f ns\n", g.count,
                      REPLICAS, one, lookup_ns(r, "eu", 3));
        assert_true(one <= 1000.0 * SLOW);
        ring_free(r);
        group_free(&g);
    }
}

static void a_ring_of_a_thousand_members_is_made_within_a_second(void **state)
{
    static const size_t counts[] = {100, 1000};

    (void)state;
    for (size_t n = 0; n < COUNT(counts); n++) {
        struct group g = group_new(counts[n], name_uuid);
        clock_t begun = clock(), took;
        struct ring *r = ring_of(&g);

        took = clock() - begun;
        print_message("a ring of %zu members of %d points is made in %.2f ms\n", g.count, REPLICAS,
                      (double)took * 1000 / CLOCKS_PER_SEC);
        assert_true(took <= CLOCKS_PER_SEC * SLOW);
        ring_free(r);
        group_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_member_is_chosen_once_and_no_more_than_were_asked_for),
        cmocka_unit_test(members_of_the_region_come_first_each_group_in_the_order_of_the_ring),
        cmocka_unit_test(a_region_without_members_is_served_by_the_others),
        cmocka_unit_test(the_members_of_a_region_share_it_evenly),
        cmocka_unit_test(without_members_there_is_nobody),
        cmocka_unit_test(one_member_has_everything),
        cmocka_unit_test(the_empty_range_has_its_members),
        cmocka_unit_test(a_lookup_takes_less_than_a_microsecond),
        cmocka_unit_test(a_ring_of_a_thousand_members_is_made_within_a_second),
    };

    return cmocka_run_group_tests(tests, make_ranges, NULL);
}
