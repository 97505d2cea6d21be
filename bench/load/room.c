/* SPDX-License-Identifier: MIT */
/* room: the last client of each group leaves the room that all of the group have joined, and joins it again; the next
   time when all others have heard of it. Each of them must hear of each change, once and in order. */
#include <stdio.h>

#include "load.h"

static struct client *mover_of(const struct client *c)
{
    return &clients[c->index / options.group * options.group + options.group - 1];
}

static bool sends(struct client *c)
{
    return mover_of(c) == c;
}

static bool leaves(const struct client *mover)
{
    return mover->sent % 2 == 1;
}

static void send_change(struct client *c)
{
    char text[512];

    if (leaves(c))
        client_send(c, text, (size_t)snprintf(text, sizeof(text), "{\"type\":\"LEAVE\"}"));
    else
        client_send(c, text, load_fill(text, sizeof(text), options.hello, c));
}

/* heard counts the others that have heard, and the mover's own ACK. */
static void heard(struct client *mover)
{
    if (++mover->heard < options.group)
        return;
    mover->heard = 0;
    load_arrived(mover, mover->sent);
    load_next(mover);
}

static bool take(struct client *c, const char *text, size_t len)
{
    struct client *mover = mover_of(c);
    char mark[64];

    if (c == mover) {
        if (!text_begins(text, len, "{\"type\":\"ACK\""))
            return false;
        heard(mover);
        return true;
    }
    snprintf(mark, sizeof(mark), "\"peer_id\":\"%s\"", mover->id);
    if (!text_begins(text, len, leaves(mover) ? "{\"type\":\"PEER_LEFT\"" : "{\"type\":\"PEER_JOINED\"") ||
        !text_after(text, len, mark) || c->last + 1 != mover->sent)
        return false;
    c->last = mover->sent;
    load_delivered();
    load_time(mover, mover->sent);
    heard(mover);
    return true;
}

const struct scenario scenario_room = {"room", NULL, sends, send_change, take};
