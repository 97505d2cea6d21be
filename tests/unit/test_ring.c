/* SPDX-License-Identifier: MIT */
#include "signalbox/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ring_members.h"

static void name_address(size_t i, char out[static ID_MAX + 1])
{
    snprintf(out, ID_MAX + 1, "10.0.0.%zu:8443", i + 1);
}

static void name_longest(size_t i, char out[static ID_MAX + 1])
{
    snprintf(out, ID_MAX + 1, "%0256zu", i);
}

/* "a", "a:1", "a:1:1" and so on: what looks like a point of another member is none. */
static void name_colons(size_t i, char out[static ID_MAX + 1])
{
    size_t len = (size_t)snprintf(out, ID_MAX + 1, "a");

    while (i--)
        len += (size_t)snprintf(out + len, ID_MAX + 1 - len, ":1");
}

/* Who has each of the ranges. */
static void assign(const struct ring *r, const struct pool_member **who)
{
    for (size_t i = 0; i < RANGES; i++)
        who[i] = first(r, range_at(i));
}

static const struct {
    const char *label;
    void (*name)(size_t i, char out[static ID_MAX + 1]);
} styles[] = {
    {"worker-1", name_numbered},       {"uuid", name_uuid},    {"10.0.0.1:8443", name_address},
    {"id of 256 bytes", name_longest}, {"a:1:1", name_colons},
};

/* --- shares --- */

static void shares_are_even(const char *label, void (*name)(size_t i, char out[static ID_MAX + 1]))
{
    struct group g = group_new(MEMBERS, name);
    struct ring *r = ring_of(&g);
    size_t had[MEMBERS] = {0}, most = 0, least = RANGES;
    double mean = (double)RANGES / MEMBERS;

    for (size_t i = 0; i < RANGES; i++)
        had[index_of(&g, first(r, range_at(i)))]++;
    for (size_t i = 0; i < MEMBERS; i++) {
        most = had[i] > most ? had[i] : most;
        least = had[i] < least ? had[i] : least;
    }
    print_message("%s: the busiest of %d members has %.3f times the mean, the idlest %.3f\n", label, MEMBERS,
                  (double)most / mean, (double)least / mean);
    assert_true((double)most <= 1.25 * mean);
    assert_true((double)least >= 0.7 * mean);
    ring_free(r);
    group_free(&g);
}

static void members_have_even_shares_whatever_their_ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(styles); i++)
        shares_are_even(styles[i].label, styles[i].name);
}

/* --- changes --- */

static void one_leaves(void (*name)(size_t i, char out[static ID_MAX + 1]))
{
    static const struct pool_member *before[RANGES], *after[RANGES];
    struct group g = group_new(MEMBERS, name);
    struct ring *r = ring_of(&g);

    assign(r, before);
    ring_free(r);
    for (size_t gone = 0; gone < MEMBERS; gone++) {
        struct pool_member *rest[MEMBERS - 1];

        for (size_t i = 0; i < MEMBERS - 1; i++)
            rest[i] = g.members[i + (i >= gone)];
        r = ring_new(rest, COUNT(rest), REPLICAS);
        assign(r, after);
        ring_free(r);
        for (size_t i = 0; i < RANGES; i++) {
            if (before[i] == g.members[gone] ? after[i] == before[i] : after[i] != before[i])
                fail_msg("range %zu was %s's and is %s's when %s has left", i, before[i]->id, after[i]->id,
                         g.members[gone]->id);
        }
    }
    group_free(&g);
}

static void whose_member_leaves_moves_and_nobody_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(styles); i++)
        one_leaves(styles[i].name);
}

static void a_member_that_joins_takes_its_share_and_nothing_else_moves(void **state)
{
    static const struct pool_member *before[RANGES], *after[RANGES];

    (void)state;
    for (size_t s = 0; s < COUNT(styles); s++) {
        struct group g = group_new(MEMBERS + 1, styles[s].name);
        struct ring *few = ring_new(g.members, MEMBERS, REPLICAS), *all = ring_of(&g);
        double share, fair = 1.0 / (MEMBERS + 1);
        size_t moved = 0;

        assign(few, before);
        assign(all, after);
        for (size_t i = 0; i < RANGES; i++) {
            moved += after[i] != before[i];
            if (after[i] != before[i] && after[i] != g.members[MEMBERS])
                fail_msg("range %zu went from %s to %s", i, before[i]->id, after[i]->id);
        }
        share = (double)moved / RANGES;
        print_message("%s: the member that joins %d takes %.4f of the ranges, fair is %.4f\n", styles[s].label, MEMBERS,
                      share, fair);
        assert_true(share > 0.7 * fair && share < 1.3 * fair);
        ring_free(few);
        ring_free(all);
        group_free(&g);
    }
}

/* A client that tries the first alternate asks for the member it will be assigned when its own is gone. */
static void the_first_alternate_is_who_takes_over(void **state)
{
    struct group g = group_new(MEMBERS, name_uuid);
    struct ring *r = ring_of(&g), *without[MEMBERS];
    const struct pool_member *chosen[2];

    (void)state;
    for (size_t gone = 0; gone < MEMBERS; gone++) {
        struct pool_member *rest[MEMBERS - 1];

        for (size_t i = 0; i < MEMBERS - 1; i++)
            rest[i] = g.members[i + (i >= gone)];
        without[gone] = ring_new(rest, COUNT(rest), REPLICAS);
    }
    for (size_t i = 0; i < RANGES; i++) {
        assert_int_equal(ring_choose(r, range_at(i), NULL, 2, chosen), 2);
        assert_ptr_equal(first(without[index_of(&g, chosen[0])], range_at(i)), chosen[1]);
    }
    for (size_t i = 0; i < MEMBERS; i++)
        ring_free(without[i]);
    ring_free(r);
    group_free(&g);
}

/* --- the same answers everywhere --- */

static void swap(struct pool_member **a, struct pool_member **b)
{
    struct pool_member *kept = *a;

    *a = *b;
    *b = kept;
}

static void the_order_of_the_members_does_not_matter(void **state)
{
    struct group g = group_new(MEMBERS, name_uuid);
    struct pool_member *order[MEMBERS];
    struct ring *r;

    (void)state;
    for (size_t i = 0; i < MEMBERS; i++)
        g.members[i]->region = mem_dup(i % 3 ? "eu" : "us");
    r = ring_of(&g);
    memcpy(order, g.members, sizeof(order));
    for (uint64_t round = 0; round < 8; round++) {
        struct ring *other;

        for (size_t i = MEMBERS; i > 1; i--)
            swap(&order[i - 1], round ? &order[scramble(round * 100 + i) % i] : &order[MEMBERS - i]);
        other = ring_new(order, MEMBERS, REPLICAS);
        for (size_t i = 0; i < RANGES; i += 7) {
            const struct pool_member *one[MEMBERS], *two[MEMBERS];
            const char *region = i % 2 ? "eu" : NULL;

            assert_int_equal(ring_choose(r, range_at(i), region, MEMBERS, one), MEMBERS);
            assert_int_equal(ring_choose(other, range_at(i), region, MEMBERS, two), MEMBERS);
            assert_memory_equal(one, two, sizeof(one));
        }
        ring_free(other);
    }
    ring_free(r);
    group_free(&g);
}

/* Workers of two versions share a pool while one replaces the other: these answers are never to change. Computed
   apart from this program, with SipHash-2-4 as its authors describe it. */
static void answers_are_those_of_earlier_versions(void **state)
{
    static const struct {
        const char *ip, *chosen[3];
    } rows[] = {
        {"10.0.0.1", {"worker-9", "worker-4", "worker-1"}},
        {"127.0.0.1", {"worker-4", "worker-2", "worker-3"}},
        {"192.168.1.77", {"worker-10", "worker-6", "worker-5"}},
        {"203.0.113.9", {"worker-9", "worker-1", "worker-8"}},
        {"255.255.255.255", {"worker-10", "worker-8", "worker-6"}},
        {"0.0.0.0", {"worker-5", "worker-1", "worker-9"}},
        {"::1", {"worker-4", "worker-2", "worker-1"}},
        {"2001:db8::1", {"worker-1", "worker-2", "worker-6"}},
        {"2001:db8:ffff::", {"worker-1", "worker-6", "worker-7"}},
        {"fe80::1", {"worker-8", "worker-6", "worker-4"}},
    };
    struct group g = group_new(MEMBERS, name_numbered);
    struct ring *r = ring_of(&g);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char bytes[ADDRESS_RANGE_MAX];
        struct span range = {(const char *)bytes, address_range(rows[i].ip, bytes)};
        const struct pool_member *chosen[3];

        assert_int_equal(ring_choose(r, range, NULL, 3, chosen), 3);
        for (size_t c = 0; c < 3; c++)
            assert_string_equal(chosen[c]->id, rows[i].chosen[c]);
    }
    ring_free(r);
    group_free(&g);
}

static void what_is_known_of_a_member_beside_its_id_does_not_matter(void **state)
{
    struct group g = group_new(MEMBERS, name_numbered), other = group_new(MEMBERS, name_numbered);
    struct ring *r = ring_of(&g), *same;

    (void)state;
    for (size_t i = 0; i < MEMBERS; i++) {
        struct pool_member *m = other.members[i];

        m->capacity = m->load = m->seen_ms = (long long)i;
        m->draining = i % 2;
        m->region = mem_dup("eu");
    }
    same = ring_of(&other);
    for (size_t i = 0; i < RANGES; i += 5)
        assert_string_equal(first(r, range_at(i))->id, first(same, range_at(i))->id);
    ring_free(r);
    ring_free(same);
    group_free(&g);
    group_free(&other);
}

static bool same_choice(const struct ring *r, const char *a, const char *b)
{
    unsigned char x[ADDRESS_RANGE_MAX], y[ADDRESS_RANGE_MAX];
    const struct pool_member *one[MOST], *two[MOST];
    size_t n = ring_choose(r, (struct span){(const char *)x, address_range(a, x)}, NULL, MOST, one);

    assert_int_equal(ring_choose(r, (struct span){(const char *)y, address_range(b, y)}, NULL, MOST, two), n);
    return memcmp(one, two, n * sizeof(const struct pool_member *)) == 0;
}

static void addresses_of_one_range_have_the_same_members(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"203.0.113.1", "203.0.113.254", true},    {"203.0.113.1", "::ffff:203.0.113.77", true},
        {"203.0.113.1", "203.0.114.1", false},     {"2001:db8:1::1", "2001:db8:1:ffff:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1::1", "2001:db8:2::1", false}, {"::ffff:10.0.0.1", "::10.0.0.1", false},
    };
    struct group g = group_new(MOST, name_uuid);
    struct ring *r = ring_of(&g);

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (same_choice(r, rows[i].a, rows[i].b) != rows[i].same)
            fail_msg("%s and %s", rows[i].a, rows[i].b);
    }
    ring_free(r);
    group_free(&g);
}

static void ranges_of_ipv6_are_shared_evenly_too(void **state)
{
    struct group g = group_new(MEMBERS, name_uuid);
    struct ring *r = ring_of(&g);
    size_t had[MEMBERS] = {0};
    double mean = (double)RANGES / MEMBERS;

    (void)state;
    for (unsigned i = 0; i < RANGES; i++) {
        unsigned char bytes[ADDRESS_RANGE_MAX];
        char ip[48];

        snprintf(ip, sizeof(ip), "2001:db8:%x::1", i);
        had[index_of(&g, first(r, (struct span){(const char *)bytes, address_range(ip, bytes)}))]++;
    }
    for (size_t i = 0; i < MEMBERS; i++)
        assert_true((double)had[i] <= 1.25 * mean && (double)had[i] >= 0.7 * mean);
    ring_free(r);
    group_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_have_even_shares_whatever_their_ids),
        cmocka_unit_test(whose_member_leaves_moves_and_nobody_else),
        cmocka_unit_test(a_member_that_joins_takes_its_share_and_nothing_else_moves),
        cmocka_unit_test(the_first_alternate_is_who_takes_over),
        cmocka_unit_test(the_order_of_the_members_does_not_matter),
        cmocka_unit_test(answers_are_those_of_earlier_versions),
        cmocka_unit_test(what_is_known_of_a_member_beside_its_id_does_not_matter),
        cmocka_unit_test(addresses_of_one_range_have_the_same_members),
        cmocka_unit_test(ranges_of_ipv6_are_shared_evenly_too),
    };

    return cmocka_run_group_tests(tests, make_ranges, NULL);
}
