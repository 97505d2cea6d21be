/* SPDX-License-Identifier: MIT */
/* What a registration needs of the storage that its client may have. */
#include <string.h>

#include "signalbox/rendezvous.h"
#include "signalbox/storage.h"

/* Measured: two keys, an entry and its mark, its end, its places in the index of its socket and on the list for
   statistics. A point's name is in six of these, the peer's in as many; a longer one takes a field or key of another
   make. */
#define ENTRY_BYTES 900
#define BYTES_OF_POINT 6
#define BYTES_OF_PEER 8
#define SHARED_BYTES 400 /* of a drop that is kept once: its key, and its place in the index */

size_t meeting_cost(const struct meeting *m, size_t len)
{
    return ENTRY_BYTES + BYTES_OF_POINT * strlen(m->point) + BYTES_OF_PEER * strlen(m->owner->peer) + len + len / 4;
}

static struct storing storing(const struct meeting_kind *kind, size_t bytes)
{
    return (struct storing){.bytes = bytes, .ttl_ms = meeting_ttl(kind), .outlives = meeting_outlives(kind)};
}

void registering_give_back(struct registering *r)
{
    for (int i = 0; i < MEETING_KINDS; i++) {
        struct storing unstored = storing(meeting_kinds[i], r->parts[i].unstored);

        if (unstored.bytes)
            storage_give_back(&r->turn, &unstored);
    }
}

size_t shared_cost(size_t len)
{
    return SHARED_BYTES + len + len / 4;
}

static size_t cost_of(const struct registering *r, int kind)
{
    size_t cost = kind == DAYS && r->shared ? shared_cost(bytes_len(r->shared)) : 0;

    for (size_t i = 0; i < r->count; i++) {
        const struct meeting *m = &r->meetings[i];

        if (m->kind == meeting_kinds[kind])
            cost += meeting_cost(m, m->text ? bytes_len(m->text) : 0);
    }
    return cost;
}

static void count_on(struct registering *r);

static void on_counted(struct turn *t, enum err e)
{
    struct registering *r = (struct registering *)t;

    if (e == ERR_NONE) {
        r->parts[r->counting].unstored = cost_of(r, r->counting);
        r->counting++;
        count_on(r);
    } else {
        turn_fail(t, e, NULL);
        turn_end(t);
    }
}

/* Each kind by itself: they end at different times. */
static void count_on(struct registering *r)
{
    struct storing what;
    size_t cost = 0;

    while (r->counting < MEETING_KINDS && (cost = cost_of(r, r->counting)) == 0)
        r->counting++;
    if (cost) {
        what = storing(meeting_kinds[r->counting], cost);
        storage_take(&r->turn, &what, on_counted);
    } else if (turn_session(&r->turn)) {
        r->next(r);
    } else {
        turn_end(&r->turn);
    }
}

void registering_count(struct registering *r, void (*next)(struct registering *r))
{
    r->next = next;
    count_on(r);
}
