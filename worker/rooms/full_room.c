/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/lease.h"
#include "signalbox/loop.h"
#include "signalbox/probe.h"
#include "signalbox/room.h"

/* However many come to it, a worker asks no more than that of a room's members, and then none for a moment: so a room
   of 64 is asked as a whole, and one of 1,000 little by little. Whose worker is dead is not asked, and lets go at once.
 */
#define ASKED_MOST 64
#define REST_MS 1000

struct newcomer {
    full_room_told told;
    void *arg;
    STAILQ_ENTRY(newcomer) next;
};
STAILQ_HEAD(newcomers, newcomer);

/* A room whose members are being asked, or were a moment ago. */
struct full_room {
    char *room;
    struct newcomers newcomers;
    size_t open; /* answers still to come: the list, and those in it that are asked */
    bool freed, lost;
    struct timer *rest; /* once all have come */
    UT_hash_handle hh;
};

struct member {
    struct full_room *of;
    struct address at;
    char *entry;
};

static struct full_room *rooms;

static void room_free(struct full_room *f)
{
    timer_free(f->rest);
    HASH_DEL(rooms, f);
    free(f->room);
    free(f);
}

static void on_rested(void *arg)
{
    struct full_room *f = arg;

    f->rest = NULL;
    room_free(f);
}

/* Who is told may come back to this room at once. */
static void tell(struct newcomers *newcomers, enum room_places places)
{
    struct newcomer *n;

    while ((n = STAILQ_FIRST(newcomers))) {
        STAILQ_REMOVE_HEAD(newcomers, next);
        n->told(places, n->arg);
        free(n);
    }
}

static void answered(struct full_room *f)
{
    enum room_places places = f->freed ? PLACES_FREED : f->lost ? PLACES_UNKNOWN : PLACES_TAKEN;
    struct newcomers newcomers = STAILQ_HEAD_INITIALIZER(newcomers);

    if (--f->open > 0)
        return;
    STAILQ_CONCAT(&newcomers, &f->newcomers);
    if (places == PLACES_UNKNOWN)
        room_free(f);
    else
        f->rest = timer_once(REST_MS, on_rested, f);
    tell(&newcomers, places);
}

static void let_go(const struct member *m)
{
    entry_undo(m->entry, &m->at);
    m->of->freed = true;
}

static void member_free(struct member *m)
{
    free(m->entry);
    free(m);
}

static void on_probed(enum probe_result result, void *arg)
{
    struct member *m = arg;
    struct full_room *f = m->of;

    if (result == PROBE_ABSENT || result == PROBE_MUTE) {
        let_go(m);
        probe_hang_up(&m->at);
    }
    f->lost |= result == PROBE_LOST;
    member_free(m);
    answered(f);
}

static struct member *member_new(struct full_room *f, const struct address *at, struct span peer)
{
    struct member *m = mem_alloc(sizeof(*m));
    char entry[ENTRY_MAX], *id = span_dup(peer);

    room_entry(entry, f->room, id);
    free(id);
    *m = (struct member){f, *at, mem_dup(entry)};
    return m;
}

static void look_at(struct full_room *f, struct span peer, struct span record)
{
    struct member *m;
    struct address at;
    struct span info;

    if (!room_record_read(record, &at, &info))
        return;
    m = member_new(f, &at, peer);
    if (worker_alive(at.wid)) {
        f->open++;
        probe_socket(&at, true, on_probed, m);
    } else {
        let_go(m);
        member_free(m);
    }
}

static void on_listed(const struct reply *r, void *arg)
{
    struct full_room *f = arg;
    const struct reply *records;
    size_t count, start;

    if (r && reply_read(r, "--r", &records)) {
        count = reply_count(records) / 2;
        start = count ? randombytes_uniform((uint32_t)count) : 0;
        for (size_t i = 0; i < count && f->open <= ASKED_MOST; i++) {
            size_t at = (start + i) % count;
            look_at(f, reply_span(reply_at(records, 2 * at)), reply_span(reply_at(records, 2 * at + 1)));
        }
    } else {
        f->lost = true;
    }
    answered(f);
}

static struct full_room *ask(const char *room)
{
    struct full_room *f = mem_alloc(sizeof(*f));
    struct call c = room_call(&script_room_list, room);

    f->room = mem_dup(room);
    STAILQ_INIT(&f->newcomers);
    HASH_ADD_KEYPTR(hh, rooms, f->room, strlen(f->room), f);
    f->open = 1;
    call_send(&c, on_listed, f);
    return f;
}

bool full_room_ask(const char *room, full_room_told told, void *arg)
{
    struct full_room *f;
    struct newcomer *n;

    HASH_FIND_STR(rooms, room, f);
    if (f && f->rest)
        return false;
    if (!f)
        f = ask(room);
    n = mem_alloc(sizeof(*n));
    n->told = told;
    n->arg = arg;
    STAILQ_INSERT_TAIL(&f->newcomers, n, next);
    return true;
}

void full_rooms_fini(void)
{
    while (rooms)
        room_free(rooms);
}
