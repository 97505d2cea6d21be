/* SPDX-License-Identifier: MIT */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scripts_data.h"
#include "signalbox/guess.h"
#include "signalbox/http.h"
#include "signalbox/lease.h"
#include "signalbox/loop.h"
#include "signalbox/room.h"

#define LIMIT_DEFAULT 100
#define LIMIT_MOST 1000
#define ROOMS_AT_ONCE 16 /* that are asked for */
#define CURSOR_MAX (ID_MAX * 4 / 3 + 8)
#define CURSOR_VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* --- /api/stats --- */

/* Every worker shows its own numbers in its hash. */
struct counting {
    struct turn turn;
    size_t left;
    bool failed;
    long long peers, members, rooms;
};

static void count_one(struct counting *c, bool ok)
{
    c->failed |= !ok;
    if (--c->left > 0)
        return;
    if (c->failed)
        turn_fail(&c->turn, ERR_UNAVAILABLE, NULL);
    else
        turn_reply_json(&c->turn, 200,
                        json_pack("{s{sI sI} s{sI sI} sI}", "peers", "total", (json_int_t)c->peers, "without_room",
                                  (json_int_t)(c->peers - c->members), "rooms", "total", (json_int_t)c->rooms,
                                  "total_peers", (json_int_t)c->members, "timestamp", (json_int_t)clock_ms()));
    turn_end(&c->turn);
}

static void on_rooms_counted(const struct reply *r, void *arg)
{
    struct counting *c = arg;

    c->rooms = reply_int(r);
    count_one(c, r != NULL);
}

static void on_peers_counted(const struct reply *r, void *arg)
{
    struct counting *c = arg;

    c->peers += reply_int(reply_at(r, 0));
    c->members += reply_int(reply_at(r, 1));
    count_one(c, r != NULL);
}

static void handle_stats(struct exchange *x)
{
    struct counting *c = turn_begin_http(x, sizeof(*c), NULL);
    char key[KEY_MAX];

    c->left = 1;
    redis_command(on_rooms_counted, c, "ZCARD", KEY_ROOMS, NULL);
    for (size_t i = 0; i < workers_count(); i++) {
        if (!workers_alive(i))
            continue;
        c->left++;
        key_worker(key, workers_wid(i));
        redis_command(on_peers_counted, c, "HMGET", key, "room_peers", "room_members", NULL);
    }
}

/* --- /api/rooms --- */

struct listing {
    struct turn turn;
    char cursor[ID_MAX + 2]; /* as ZRANGEBYLEX wants it */
    size_t limit;
    bool failed, more;
    struct listed {
        char *room;
        long long created_ms, most, peers;
    } * rooms;
    size_t count, asked, under_way; /* rooms */
};

/* One room of the page that is being read. */
struct reading {
    struct listing *listing;
    size_t at;
};

static void iso_8601(long long ms, char out[static 24])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(out, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static json_t *wire_listing(const struct listing *l)
{
    json_t *rooms = json_array(), *body = json_pack("{so}", "rooms", rooms);
    char text[CURSOR_MAX];

    for (size_t i = 0; i < l->count; i++) {
        const struct listed *room = &l->rooms[i];

        if (room->created_ms == 0)
            continue;
        iso_8601(room->created_ms, text);
        json_array_append_new(rooms, json_pack("{ss sI sI ss}", "id", room->room, "peer_count", (json_int_t)room->peers,
                                               "max_peers", (json_int_t)room->most, "created_at", text));
    }
    if (l->more) {
        const char *last = l->rooms[l->count - 1].room;

        sodium_bin2base64(text, sizeof(text), (const unsigned char *)last, strlen(last), CURSOR_VARIANT);
        json_object_set_new(body, "next_cursor", json_string(text));
    }
    return body;
}

static void listing_clear(void *arg)
{
    struct listing *l = arg;

    for (size_t i = 0; i < l->count; i++)
        free(l->rooms[i].room);
    free(l->rooms);
}

static void on_room_read(const struct reply *r, void *arg);

static void ask_room(struct listing *l, size_t at)
{
    struct reading *reading = mem_alloc(sizeof(*reading));
    struct call c = room_call(&script_room_census, l->rooms[at].room);

    *reading = (struct reading){l, at};
    call_send(&c, on_room_read, reading);
}

static void read_on(struct listing *l)
{
    while (!l->failed && l->asked < l->count && l->under_way < ROOMS_AT_ONCE) {
        l->under_way++;
        ask_room(l, l->asked++);
    }
    if (l->under_way > 0)
        return;
    if (l->failed)
        turn_fail(&l->turn, ERR_UNAVAILABLE, NULL);
    else
        turn_reply_json(&l->turn, 200, wire_listing(l));
    turn_end(&l->turn);
}

static void on_room_read(const struct reply *r, void *arg)
{
    struct reading *reading = arg;
    struct listing *l = reading->listing;
    struct listed *room = &l->rooms[reading->at];

    free(reading);
    l->failed |= !r || !reply_read(r, "iii--", &room->created_ms, &room->most, &room->peers);
    l->under_way--;
    read_on(l);
}

/* One more than asked for says whether there is more. */
static void on_page(const struct reply *r, void *arg)
{
    struct listing *l = arg;

    l->more = reply_count(r) > l->limit;
    l->count = l->more ? l->limit : reply_count(r);
    l->rooms = mem_alloc((l->count + 1) * sizeof(*l->rooms));
    for (size_t i = 0; i < l->count; i++)
        l->rooms[i].room = span_dup(reply_span(reply_at(r, i)));
    l->failed = !r;
    read_on(l);
}

static void ask_page(void *arg)
{
    struct listing *l = arg;
    char count[16];

    snprintf(count, sizeof(count), "%zu", l->limit + 1);
    redis_command(on_page, l, "ZRANGEBYLEX", KEY_ROOMS, l->cursor, "+", "LIMIT", "0", count, NULL);
}

static bool read_limit(struct exchange *x, size_t *limit)
{
    char *text = exchange_argument(x, "limit"), *end = text;
    long long n = LIMIT_DEFAULT;
    bool ok = true;

    if (text) {
        n = strtoll(text, &end, 10);
        ok = *text >= '0' && *text <= '9' && !*end && n > 0;
    }
    *limit = n > LIMIT_MOST ? LIMIT_MOST : (size_t)n;
    free(text);
    return ok;
}

/* As ZRANGEBYLEX wants it: what lies behind that room. */
static bool read_cursor(struct exchange *x, char out[static ID_MAX + 2])
{
    char *text = exchange_argument(x, "cursor");
    size_t len;
    bool ok;

    memcpy(out, "-", 2);
    if (!text)
        return true;
    *out = '(';
    ok = sodium_base642bin((unsigned char *)out + 1, ID_MAX, text, strlen(text), NULL, &len, NULL, CURSOR_VARIANT) == 0;
    free(text);
    if (!ok)
        return false;
    out[1 + len] = '\0';
    return len > 0 && !has_control((struct span){out + 1, len});
}

static void handle_rooms(struct exchange *x)
{
    struct listing *l;
    char cursor[ID_MAX + 2];
    size_t limit;

    if (!read_limit(x, &limit)) {
        exchange_fail(x, 400, "Invalid limit");
    } else if (!read_cursor(x, cursor)) {
        exchange_fail(x, 400, "Invalid cursor");
    } else {
        l = turn_begin_http(x, sizeof(*l), listing_clear);
        l->limit = limit;
        memcpy(l->cursor, cursor, sizeof(cursor));
        turn_gather(&l->turn, ask_page);
    }
}

/* --- /api/rooms/{id} --- */

struct showing {
    struct turn turn;
    struct guess guess;
    char *room;
};

static void showing_clear(void *arg)
{
    struct showing *w = arg;

    guess_end(&w->guess, false);
    free(w->room);
}

static struct bytes *wire_details(const char *room, long long created, long long most, const struct reply *records)
{
    struct builder w = {0};
    size_t count;

    builder_text(&w, "{\"id\":");
    builder_json(&w, span_of(room));
    builder_text(&w, ",\"peers\":");
    count = wire_peers(&w, records);
    builder_printf(&w, ",\"peer_count\":%zu,\"max_peers\":%lld,\"created_at\":%lld}", count, most, created);
    return builder_take(&w);
}

static void on_shown(const struct reply *r, void *arg)
{
    struct showing *w = arg;
    const struct reply *records;
    long long created, most;
    bool read = r && reply_read(r, "iir", &created, &most, &records);

    guess_end(&w->guess, read && created == 0);
    if (!read) {
        turn_give_up(&w->turn, 503, NULL);
    } else if (created == 0) {
        turn_give_up(&w->turn, 404, "room not found");
    } else {
        turn_reply(&w->turn, 200, wire_details(w->room, created, most, records));
        turn_end(&w->turn);
    }
}

static void show(void *arg)
{
    struct showing *w = arg;
    struct call c = room_call(&script_room_list, w->room);

    call_send(&c, on_shown, w);
}

static void handle_room(struct exchange *x)
{
    const char *room = exchange_path(x) + strlen("/api/rooms/");
    struct showing *w;

    if (!is_id(room)) {
        exchange_fail(x, 404, "room not found");
        return;
    }
    w = turn_begin_http(x, sizeof(*w), showing_clear);
    w->room = mem_dup(room);
    if (!guess_begin_for(&w->guess, w->turn.ip)) {
        turn_give_up(&w->turn, 429, err_text(ERR_RATE_LIMIT));
        return;
    }
    turn_gather(&w->turn, show);
}

const struct http_route rooms_api_routes[] = {
    {HTTP_GET, "/api/stats", "room_stats", handle_stats, .status = true, .cost = {.base = 55}},
    {HTTP_GET, "/api/rooms", "rooms_list", handle_rooms, .status = true, .cost = {.base = 40, .reply_kib = 150}},
    {HTTP_GET, "/api/rooms/*", "room", handle_room, .status = true, .cost = {.base = 40, .reply_kib = 25}},
    {0},
};
