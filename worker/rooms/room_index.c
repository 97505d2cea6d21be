/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/room.h"
#include "signalbox/schedule.h"

#define LOOK_AGAIN_MS 1000

/* The list of all rooms is elsewhere in Redis than a room: it is put right when a room is joined, and looked through
   by the schedule when rooms may have ended. */

void room_index_add(const char *room)
{
    struct call c = call_new(&script_room_index);

    call_key(&c, KEY_ROOMS);
    call_key(&c, KEY_ROOM_LOOKS);
    call_text(&c, room);
    call_int(&c, config->room_ttl_ms);
    call_send(&c, NULL, NULL);
}

void room_index_look(const char *room, long long at_ms)
{
    schedule_set(KEY_ROOM_LOOKS, room, at_ms);
}

static void look(const char *room, redis_callback callback)
{
    struct call c = room_call(&script_room_census, room);

    call_send(&c, callback, mem_dup(room));
}

/* It was taken off the list: whoever made it anew in the same moment may have put it on before that. */
static void on_looked_again(const struct reply *r, void *arg)
{
    long long created;

    if (r && reply_read(r, "i----", &created) && created)
        room_index_add(arg);
    free(arg);
}

static void on_looked(const struct reply *r, void *arg)
{
    char *room = arg;
    long long created, ends, now;

    if (r && reply_read(r, "i--ii", &created, &ends, &now)) {
        if (created) {
            room_index_look(room, now + (ends >= 0 ? ends + 1 : config->room_ttl_ms));
        } else {
            redis_command(NULL, NULL, "ZREM", KEY_ROOMS, room, NULL);
            redis_command(NULL, NULL, "ZREM", KEY_ROOM_LOOKS, room, NULL);
            look(room, on_looked_again);
        }
    }
    free(room);
}

static void on_due(const char *room)
{
    look(room, on_looked);
}

const struct schedule room_index_schedule = {KEY_ROOM_LOOKS, .leader_alone = true, .due = on_due, LOOK_AGAIN_MS};
