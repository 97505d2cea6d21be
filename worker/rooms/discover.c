/* SPDX-License-Identifier: MIT */
/* DISCOVER: who is in a room. */
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/guess.h"
#include "signalbox/room.h"

struct looking {
    struct turn turn;
    struct guess guess;
    char *room;
};

static void looking_clear(void *arg)
{
    struct looking *l = arg;

    guess_end(&l->guess, false);
    free(l->room);
}

static void on_listed(const struct reply *r, void *arg)
{
    struct looking *l = arg;
    const struct reply *records;
    struct builder w = {0};
    char entry[ENTRY_MAX];
    long long created;
    bool read = r && reply_read(r, "i-r", &created, &records);

    guess_end(&l->guess, read && created == 0);
    if (!read) {
        turn_fail(&l->turn, ERR_UNAVAILABLE, NULL);
    } else if (created == 0) {
        turn_fail(&l->turn, ERR_ROOM_NOT_FOUND, NULL);
    } else {
        room_entry(entry, l->room, "");
        guess_found(l->turn.session, entry);
        wire_envelope(&w, "PEER_LIST", NULL, l->room);
        wire_room(&w, l->room, records);
        turn_send(&l->turn, wire_envelope_end(&w, l->turn.request_id));
    }
    turn_end(&l->turn);
}

static void list(void *arg)
{
    struct looking *l = arg;
    struct call c = room_call(&script_room_list, l->room);

    call_send(&c, on_listed, l);
}

enum err handle_discover(struct session *s, const struct message *m)
{
    const struct room_peer *p = room_peer_of(s);
    const char *room = m->values[0].present ? m->values[0].text : p->room;
    struct guess guess = {0};
    char entry[ENTRY_MAX];
    struct looking *l;

    if (!room)
        return ERR_NOT_IN_ROOM;
    room_entry(entry, room, "");
    if (!(p->room && strcmp(p->room, room) == 0) && !guess_begin(&guess, s, entry))
        return ERR_NONE;
    l = turn_begin(s, sizeof(*l), looking_clear);
    l->room = mem_dup(room);
    l->guess = guess;
    turn_gather(&l->turn, list);
    return ERR_NONE;
}
