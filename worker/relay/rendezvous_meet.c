/* SPDX-License-Identifier: MIT */
/* What a registration asks Redis, a few points or tokens at a time, and how much it may be answered. */
#include <stdio.h>
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/metrics.h"
#include "signalbox/relay.h"
#include "signalbox/rendezvous.h"
#include "signalbox/script.h"

#define ENTRIES_KEPT 64
#define ENTRIES_OF_SOCKET 8
#define POINTS_FEW 8           /* of a message that asks at all of them at once */
#define AT_ONCE 2              /* calls of one that gathers; with others' that do, Redis is busy for a few ms */
#define GATHERED_MAX (1 << 20) /* bytes of others' entries of one kind in one result */
#define SMALL_MAX (1 << 16)    /* the same of a result that was not gathered */
#define SHARE_LEAST (1 << 15)  /* bytes for one point, while there is room */
#define ROOM_LEAST 1024        /* bytes; where there is less, Redis need not look what would fit */

static struct metric *pushed_out;

/* Those whose entry had to go for a newer one, as "address peer". */
static void on_dropped(const struct meeting *m, const struct reply *dropped)
{
    metric_add(pushed_out, (double)reply_count(dropped));
    for (size_t i = 0; i < reply_count(dropped); i++) {
        char *entry = tally_entry_new(m->point, reply_span(reply_at(dropped, i)));

        tally_remove(&m->kind->tally, 1, (const char *const *)&entry);
        free(entry);
    }
}

static struct part *part_of(const struct meeting *m)
{
    return &m->owner->parts[m->kind->number];
}

/* What one point does not need is shared by those behind it. */
static void take_share(struct meeting *m)
{
    struct part *p = part_of(m);

    m->share = p->room / p->unsent--;
    if (m->owner->turn.gathers && m->share < SHARE_LEAST)
        m->share = p->room < SHARE_LEAST ? p->room : SHARE_LEAST;
    if (m->share < ROOM_LEAST)
        m->share = 0;
    p->room -= m->share;
}

static void read_others(struct meeting *m, const struct reply *others)
{
    size_t used = 0, elsewhere = 0;

    for (size_t i = 0; i + 1 < reply_count(others); i += 2) {
        struct span value = reply_span(reply_at(others, i + 1));

        used += value.len;
        elsewhere += registering_add(m, reply_span(reply_at(others, i)).at, value);
    }
    part_of(m)->room += used + elsewhere < m->share ? m->share - used - elsewhere : 0;
    turn_keeps(&m->owner->turn, used);
}

/* Nothing is counted as stored twice: not what this replaces, nor what was not stored. */
static void on_current(struct meeting *m, long long replaced)
{
    struct part *p = part_of(m);

    p->unstored -= meeting_cost(m, m->text ? bytes_len(m->text) : 0);
    if (replaced >= 0)
        p->unstored += meeting_cost(m, (size_t)replaced);
}

static void read_met(struct meeting *m, const struct reply *reply)
{
    enum { LATER_HOLDER, CURRENT, NO_ROOM };
    const struct reply *others, *dropped;
    long long done, left_out, replaced;
    struct span drop;

    if (!reply || !reply_read(reply, "irriis", &done, &others, &dropped, &left_out, &replaced, &drop)) {
        m->owner->failed = ERR_UNAVAILABLE;
        return;
    }
    m->met = done != NO_ROOM;
    if (done == LATER_HOLDER)
        m->owner->failed = ERR_PEER_IN_USE;
    if (done == CURRENT)
        on_current(m, replaced);
    registering_replaces(m->owner, drop.at);
    on_dropped(m, dropped);
    read_others(m, others);
    m->owner->left_out += (size_t)left_out;
}

static void meet_on(struct registering *r);

static void on_met(const struct reply *reply, void *arg)
{
    struct meeting *m = arg;

    read_met(m, reply);
    m->owner->under_way--;
    meet_on(m->owner);
}

/* Who does not gather yet wants all, or leaves it for later. */
static void meet(struct meeting *m)
{
    const struct registering *r = m->owner;
    struct call c = call_new(&script_rendezvous_meet);
    char key[KEY_MAX], address[ADDRESS_MAX], shared[DROP_ID_MAX + 16] = "";

    if (m->shares)
        snprintf(shared, sizeof(shared), "%s %zu", r->shared_id, bytes_len(r->shared));
    take_share(m);
    key_point(key, m->kind->word, m->point);
    call_key(&c, key);
    key_point_ends(key, m->kind->word, m->point);
    call_key(&c, key);
    self_address_text(r->turn.session, address);
    call_text(&c, r->peer);
    call_text(&c, address);
    call_int(&c, r->since_ms);
    call_span(&c, m->text ? bytes_span(m->text) : (struct span){"", 0});
    call_int(&c, meeting_ttl(m->kind));
    call_int(&c, ENTRIES_KEPT);
    call_int(&c, (long long)m->share);
    call_text(&c, ip_range(r->turn.ip));
    call_int(&c, ENTRIES_OF_SOCKET);
    call_text(&c, meeting_outlives(m->kind) ? "range" : "socket");
    call_text(&c, r->turn.gathers ? "some" : "all");
    call_text(&c, shared);
    call_send(&c, on_met, m);
}

static struct meeting *next_meeting(struct registering *r)
{
    while (r->next_meeting < r->count) {
        struct meeting *m = &r->meetings[r->next_meeting++];

        if (!m->met)
            return m;
    }
    return NULL;
}

static void share_out(struct registering *r, size_t room)
{
    r->next_meeting = 0;
    for (int i = 0; i < MEETING_KINDS; i++)
        r->parts[i] = (struct part){.room = room, .unstored = r->parts[i].unstored};
    for (size_t i = 0; i < r->count; i++)
        part_of(&r->meetings[i])->unsent += !r->meetings[i].met;
}

static void gather(void *arg)
{
    struct registering *r = arg;

    share_out(r, GATHERED_MAX);
    meet_on(r);
}

static bool is_all_met(const struct registering *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (!r->meetings[i].met)
            return false;
    return true;
}

/* Of a client that has left nothing more is stored: its clean-up may be over. */
static void meet_on(struct registering *r)
{
    bool goes_on = turn_session(&r->turn) && r->failed == ERR_NONE;
    size_t most = r->turn.gathers ? AT_ONCE : POINTS_FEW;
    struct meeting *m;

    while (goes_on && r->under_way < most && (m = next_meeting(r))) {
        r->under_way++;
        meet(m);
    }
    if (r->under_way > 0)
        return;
    if (goes_on && !r->turn.gathers && !is_all_met(r))
        turn_gather(&r->turn, gather);
    else
        r->next(r);
}

static void tally_meetings(const struct registering *r, const struct meeting_kind *kind)
{
    const char **entries = mem_alloc((r->count + 1) * sizeof(*entries));
    struct address self = self_address(r->turn.session);
    size_t n = 0;

    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == kind)
            entries[n++] = tally_entry_at(r->meetings[i].point, &self, r->peer);
    tally_add(&kind->tally, meeting_ttl(kind), n, entries);
    for (size_t i = 0; i < n; i++)
        free((char *)entries[i]);
    free(entries);
}

static void on_shared(const struct reply *reply, void *arg)
{
    struct registering *r = arg;
    long long kept;

    r->under_way--;
    if (!reply || !reply_read(reply, "i", &kept))
        r->failed = ERR_UNAVAILABLE;
    else if (!kept)
        r->parts[DAYS].unstored -= shared_cost(bytes_len(r->shared));
    meet_on(r);
}

static void begin(void *arg)
{
    struct registering *r = arg;

    if (r->shared) {
        r->under_way++;
        registering_keep_shared(r, on_shared);
    }
    for (int i = 0; i < MEETING_KINDS; i++)
        tally_meetings(r, meeting_kinds[i]);
    share_out(r, r->turn.gathers ? GATHERED_MAX : SMALL_MAX);
    meet_on(r);
}

/* A message with few points, at which there is little mostly, does not wait until it may gather. */
void registering_meet(struct registering *r, void (*next)(struct registering *r))
{
    r->next = next;
    if (r->count > POINTS_FEW)
        turn_gather(&r->turn, begin);
    else
        begin(r);
}

void meetings_init(void)
{
    pushed_out = metric_counter("signalbox_rendezvous_pushed_out_total", "Entries that had to go for newer ones");
}
