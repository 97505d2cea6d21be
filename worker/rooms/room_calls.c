/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/inbox.h"
#include "signalbox/index.h"
#include "signalbox/room.h"

/* What Redis needs for a place in a room of its own, beside its entry, its info, and the name of the room. */
#define PLACE_BYTES 850
#define PLACE_TIMES 5

/* In the index of the peer's socket: room TAB ROOM TAB PEER. */
void room_entry(char out[static ENTRY_MAX], const char *room, const char *peer)
{
    snprintf(out, ENTRY_MAX, ROOM_MEMBER "\t%s\t%s", room, peer);
}

struct storing room_storing(const char *room, const char *info)
{
    size_t entry = sizeof(ROOM_MEMBER "\t\t") + strlen(room) + PEER_ID_LEN;

    return (struct storing){PLACE_BYTES + PLACE_TIMES * strlen(room) + index_bytes(entry) + stored_text(info),
                            .small = true};
}

struct call room_call(const struct script *script, const char *room)
{
    struct call c = call_new(script);
    char key[KEY_MAX];

    key_room(key, room);
    call_key(&c, key);
    key_room_peers(key, room);
    call_key(&c, key);
    return c;
}

/* Where to publish an event of the room that all but the one at that address are to hear. */
static void call_channel(struct call *c, const char *room, const struct address *from)
{
    struct builder head = {0};
    char channel[KEY_MAX];

    key_room_channel(channel, room);
    call_text(c, channel);
    inbox_frame_begin(&head, INBOX_SEND, *from);
    call_span(c, inbox_frame_head(&head));
    builder_free(&head);
}

static void call_builder(struct call *c, struct builder *w)
{
    call_span(c, bytes_span(w->bytes));
    builder_free(w);
}

void room_call_leave(const char *room, const char *peer, const struct address *at, redis_callback callback, void *arg)
{
    struct call c = room_call(&script_room_leave, room);
    struct builder w = {0};
    char address[ADDRESS_MAX];

    address_format(at, address);
    call_text(&c, peer);
    call_text(&c, address);
    call_int(&c, config->room_ttl_ms);
    call_channel(&c, room, at);
    wire_envelope(&w, "PEER_LEFT", peer, room);
    builder_text(&w, ",\"timestamp\":");
    call_builder(&c, &w);
    call_send(&c, callback, arg);
}

void room_call_join(const char *room, const struct room_peer *p, const char *info, const char *how, session_id id,
                    redis_callback callback, void *arg)
{
    struct call c = room_call(&script_room_join, room);
    struct address self = self_address(id);
    struct builder w = {0};
    char address[ADDRESS_MAX];

    address_format(&self, address);
    call_text(&c, p->id);
    call_text(&c, address);
    call_text(&c, info);
    call_int(&c, config->room_max_peers);
    call_text(&c, how);
    call_channel(&c, room, &self);
    wire_envelope(&w, "PEER_JOINED", p->id, room);
    builder_text(&w, ",\"payload\":");
    call_builder(&c, &w);
    call_send(&c, callback, arg);
}
