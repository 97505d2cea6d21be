/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/group.h"
#include "signalbox/index.h"
#include "signalbox/room.h"

/* A request of a peer about a room. */
struct asking {
    struct turn turn;
    char *room;
    char *info; /* of one that joins */
};

/* A peer and a room, where nobody waits for an answer. */
struct place {
    session_id session;
    char *room;
};

static long long peers_here, peers_in_rooms;

static void asking_clear(void *arg)
{
    struct asking *a = arg;

    free(a->room);
    free(a->info);
}

static struct asking *asking_new(struct session *s, const char *room)
{
    struct asking *a = turn_begin(s, sizeof(*a), asking_clear);

    a->room = mem_dup(room);
    return a;
}

static struct place *place_new(struct session *s, const char *room)
{
    struct place *place = mem_alloc(sizeof(*place));

    *place = (struct place){session_id_of(s), mem_dup(room)};
    return place;
}

static void place_free(struct place *place)
{
    free(place->room);
    free(place);
}

static void stop_listening(session_id id, const char *room)
{
    char channel[KEY_MAX];

    key_room_channel(channel, room);
    group_leave(channel, id);
}

static void give_back_place(struct session *s, const char *room, const char *info)
{
    struct storing what = room_storing(room, info);

    storage_give_back_of(s, &what);
}

static void set_room(struct session *s, const char *room, const char *info)
{
    struct room_peer *p = room_peer_of(s);

    if (p->room)
        give_back_place(s, p->room, p->info);
    peers_in_rooms += (room != NULL) - (p->room != NULL);
    free(p->room);
    free(p->info);
    p->room = room ? mem_dup(room) : NULL;
    p->info = info ? mem_dup(info) : NULL;
}

/* --- leaving --- */

/* false: Redis was not reached. */
static bool note_leaving(const struct reply *r, const char *room)
{
    long long left, now;

    if (!r || !reply_read(r, "ii", &left, &now))
        return false;
    if (left == 0)
        room_index_look(room, now + config->room_ttl_ms);
    return true;
}

static void on_undone(const struct reply *r, void *arg)
{
    note_leaving(r, arg);
    free(arg);
}

static void undo(const char *rest, const struct address *holder)
{
    const char *tab = strchr(rest, '\t');
    char *room = tab ? span_dup((struct span){rest, (size_t)(tab - rest)}) : NULL;

    if (room)
        room_call_leave(room, tab + 1, holder, on_undone, mem_dup(room));
    free(room);
}

static bool is_its_room(const struct room_peer *p, const char *room)
{
    return (p->room && strcmp(p->room, room) == 0) || (p->joining && strcmp(p->joining, room) == 0);
}

static void owe(struct room_peer *p, const char *room)
{
    p->owed = mem_grow(p->owed, (p->owed_count + 1) * sizeof(*p->owed));
    p->owed[p->owed_count++] = mem_dup(room);
}

static bool holds(struct session *s, const char *rest)
{
    const struct room_peer *p = room_peer_of(s);
    char *room = span_dup((struct span){rest, strcspn(rest, "\t")});
    bool its = p && is_its_room(p, room);

    free(room);
    return its;
}

/* If Redis was not reached, it is tried again with the next refresh. */
static void on_given_up(const struct reply *r, void *arg)
{
    struct place *place = arg;
    struct session *s = session_find(place->session);
    struct room_peer *p = s ? room_peer_of(s) : NULL;
    bool left = note_leaving(r, place->room);
    char entry[ENTRY_MAX];

    if (p && !is_its_room(p, place->room)) {
        room_entry(entry, place->room, p->id);
        if (left)
            index_forget(s, 1, &(struct note){.entry = entry});
        else
            owe(p, place->room);
    }
    place_free(place);
}

/* The peer is not, or not any more, in the room whose entry it noted. */
static void give_up(struct session *s, const char *room)
{
    struct address self = self_address(session_id_of(s));

    stop_listening(session_id_of(s), room);
    room_call_leave(room, room_peer_of(s)->id, &self, on_given_up, place_new(s, room));
}

static void give_up_owed(struct session *s)
{
    struct room_peer *p = room_peer_of(s);
    char **owed = p->owed;
    size_t count = p->owed_count;

    p->owed = NULL;
    p->owed_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_its_room(p, owed[i]))
            give_up(s, owed[i]);
        free(owed[i]);
    }
    free(owed);
}

static void on_left(const struct reply *r, void *arg)
{
    struct asking *a = arg;
    struct session *s = turn_session(&a->turn);
    struct builder w = {0};
    char entry[ENTRY_MAX];
    bool left = note_leaving(r, a->room);

    if (s)
        room_peer_of(s)->leaving = false;
    if (!left) {
        turn_fail(&a->turn, ERR_UNAVAILABLE, NULL);
    } else if (s) {
        struct room_peer *p = room_peer_of(s);

        room_entry(entry, a->room, p->id);
        index_forget(s, 1, &(struct note){.entry = entry});
        stop_listening(session_id_of(s), a->room);
        set_room(s, NULL, NULL);
        wire_envelope(&w, "ACK", NULL, NULL);
        builder_text(&w, ",\"payload\":{\"message\":\"left room\"}");
        turn_send(&a->turn, wire_envelope_end(&w, a->turn.request_id));
    }
    turn_end(&a->turn);
}

enum err handle_leave(struct session *s, const struct message *m)
{
    struct room_peer *p = room_peer_of(s);
    struct address self = self_address(session_id_of(s));

    (void)m;
    if (!p->room)
        return ERR_NOT_IN_ROOM;
    p->leaving = true;
    room_call_leave(p->room, p->id, &self, on_left, asking_new(s, p->room));
    return ERR_NONE;
}

/* --- joining --- */

static void joined(struct session *s, const struct asking *a, const struct reply *records, long long number)
{
    struct room_peer *p = room_peer_of(s);
    struct builder w = {0};
    char channel[KEY_MAX];

    if (p->room)
        give_up(s, p->room);
    set_room(s, a->room, a->info);
    wire_envelope(&w, "ACK", p->id, a->room);
    wire_room(&w, a->room, records);
    turn_send(&a->turn, wire_envelope_end(&w, a->turn.request_id));
    turn_charge(&a->turn, cost_of_told(a->turn.cost, reply_count(records) / 2, 0));
    key_room_channel(channel, a->room);
    group_admit(channel, session_id_of(s), (uint64_t)number);
}

static void not_joined(struct session *s)
{
    free(room_peer_of(s)->joining);
    room_peer_of(s)->joining = NULL;
}

static void join_failed(struct asking *a, enum err e)
{
    struct session *s = turn_session(&a->turn);

    if (s) {
        not_joined(s);
        give_back_place(s, a->room, a->info);
        give_up(s, a->room);
    }
    turn_fail(&a->turn, e, NULL);
    turn_end(&a->turn);
}

static void on_joined(const struct reply *r, void *arg);

static void on_places(enum room_places places, void *arg)
{
    struct asking *a = arg;
    struct session *s = turn_session(&a->turn);

    if (s && places == PLACES_FREED)
        room_call_join(a->room, room_peer_of(s), a->info, "new", a->turn.session, on_joined, a);
    else
        join_failed(a, places == PLACES_UNKNOWN ? ERR_UNAVAILABLE : ERR_ROOM_FULL);
}

static void on_joined(const struct reply *r, void *arg)
{
    struct asking *a = arg;
    struct session *s = turn_session(&a->turn);
    struct span result;
    const struct reply *records;
    long long number;
    bool ok = r && reply_read(r, "sir", &result, &number, &records), full = ok && span_is(result, "full");

    if (full && s && full_room_ask(a->room, on_places, a))
        return;
    if (!ok || full) {
        join_failed(a, full ? ERR_ROOM_FULL : ERR_UNAVAILABLE);
        return;
    }
    room_index_add(a->room);
    if (s) {
        joined(s, a, records, number);
        not_joined(s);
    }
    turn_end(&a->turn);
}

/* From here on the worker hears the room: what comes is held until its members are listed. */
static void on_listening(bool ok, void *arg)
{
    struct asking *a = arg;
    struct session *s = turn_session(&a->turn);

    if (s && ok)
        room_call_join(a->room, room_peer_of(s), a->info, "new", a->turn.session, on_joined, a);
    else
        join_failed(a, ERR_UNAVAILABLE);
}

static void on_counted(struct turn *t, enum err e)
{
    struct session *s = turn_session(t);
    struct asking *a = (struct asking *)t;
    char channel[KEY_MAX], entry[ENTRY_MAX];

    if (!s || e != ERR_NONE) {
        if (s)
            not_joined(s);
        turn_fail(t, e, NULL);
        turn_end(t);
        return;
    }
    room_entry(entry, a->room, room_peer_of(s)->id);
    index_note(s, 1, &(struct note){.entry = entry});
    key_room_channel(channel, a->room);
    group_join(channel, t->session, on_listening, a);
}

enum err handle_join(struct session *s, const struct message *m)
{
    struct room_peer *p = room_peer_of(s);
    const char *room = m->values[0].text, *field = NULL;
    struct builder info = {0};
    struct storing what;
    struct asking *a;

    if (p->room && strcmp(p->room, room) == 0)
        return ERR_ALREADY_IN_ROOM;
    if (!wire_peer_info(&info, p->id, &m->values[1], &field)) {
        builder_free(&info);
        session_fail(s, ERR_INVALID_FIELD, field);
        return ERR_NONE;
    }
    a = asking_new(s, room);
    a->info = span_dup(bytes_span(info.bytes));
    builder_free(&info);
    p->joining = mem_dup(room);
    what = room_storing(room, a->info);
    storage_take(&a->turn, &what, on_counted);
    return ERR_NONE;
}

/* --- the socket --- */

static bool is_in(const struct room_peer *p, const char *room)
{
    return p->room && strcmp(p->room, room) == 0 && !p->leaving;
}

/* Its place was given to another while Redis, or this worker, was away. */
static void lost_place(struct session *s, const char *room)
{
    set_room(s, NULL, NULL);
    give_up(s, room);
    room_fail(s, ERR_ROOM_FULL, "");
}

static void on_back(const struct reply *r, void *arg);

/* If Redis was not reached, it is tried again with the next refresh. */
static void on_places_again(enum room_places places, void *arg)
{
    struct place *place = arg;
    struct session *s = session_find(place->session);
    struct room_peer *p = s ? room_peer_of(s) : NULL;

    if (p && is_in(p, place->room) && places == PLACES_FREED) {
        room_call_join(place->room, p, p->info, "again", place->session, on_back, place);
        return;
    }
    if (p && is_in(p, place->room) && places == PLACES_TAKEN)
        lost_place(s, place->room);
    place_free(place);
}

static void on_back(const struct reply *r, void *arg)
{
    struct place *place = arg;
    struct session *s = session_find(place->session);
    struct span result = {"", 0};
    long long number = 0;
    char channel[KEY_MAX];

    if (r && reply_read(r, "si-", &result, &number) && !span_is(result, "full"))
        room_index_add(place->room);
    if (span_is(result, "joined")) {
        key_room_channel(channel, place->room);
        group_admit(channel, place->session, (uint64_t)number);
    }
    if (s && span_is(result, "full") && is_in(room_peer_of(s), place->room)) {
        if (full_room_ask(place->room, on_places_again, place))
            return;
        lost_place(s, place->room);
    }
    place_free(place);
}

void membership_refresh(session_id id)
{
    struct session *s = session_find(id);
    const struct room_peer *p = s ? room_peer_of(s) : NULL;
    char entry[ENTRY_MAX];

    if (!p)
        return;
    give_up_owed(s);
    if (!p->room || p->leaving)
        return;
    room_entry(entry, p->room, p->id);
    index_note(s, 1, &(struct note){.entry = entry});
    room_call_join(p->room, p, p->info, "again", id, on_back, place_new(s, p->room));
}

void membership_close(struct session *s)
{
    struct room_peer *p = room_peer_of(s);

    if (p->room)
        stop_listening(session_id_of(s), p->room);
    if (p->joining)
        stop_listening(session_id_of(s), p->joining);
    set_room(s, NULL, NULL);
    peers_here--;
    for (size_t i = 0; i < p->owed_count; i++)
        free(p->owed[i]);
    free(p->owed);
    free(p->joining);
    free(p);
}

void membership_open(void)
{
    peers_here++;
}

static long long read_peers(void)
{
    return peers_here;
}

static long long read_peers_in_rooms(void)
{
    return peers_in_rooms;
}

const struct entry_kind membership_kind = {ROOM_MEMBER, undo, .holds = holds};
const struct domain_metric membership_metrics[] = {
    {"room_peers", read_peers}, {"room_members", read_peers_in_rooms}, {0}};
