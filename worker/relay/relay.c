/* SPDX-License-Identifier: MIT */
#include "signalbox/relay.h"

#include "signalbox/chunk.h"

#define CONNECTED_MOST 1000000000 /* so that no sum over a fleet overflows */
#define COUNT_MOST (1LL << 53)

static const struct message_type types[] = {
    {"register",
     handle_register,
     {{FIELD_ID, "peerId", .required = true},
      {FIELD_INT, "maxConnections", .least = 1, .most = 1000000},
      {FIELD_TEXT, "publicKey", .most = PUBLIC_KEY_MAX}},
     .cost = {.base = 130, .reply_kib = 8}},
    {"update_load",
     handle_update_load,
     {{FIELD_ID, "peerId", .required = true}, {FIELD_INT, "connectedCount", .required = true, .most = CONNECTED_MOST}},
     .cost = {.base = 22}},
    {"get_relays",
     handle_get_relays,
     {{FIELD_ID, "peerId"}, {FIELD_INT, "count", .least = -COUNT_MOST, .most = COUNT_MOST}},
     .cost = {.base = 35, .reply_kib = 8}},
    {"register_rendezvous",
     handle_register_rendezvous,
     {{FIELD_ID, "peerId", .required = true},
      {FIELD_IDS, "dailyPoints", "daily_points", .most = POINTS_MAX},
      {FIELD_IDS, "hourlyTokens", "hourly_tokens", .most = POINTS_MAX},
      {FIELD_TEXT, "deadDrop", .most = DEAD_DROP_MAX},
      {FIELD_ID, "relayId"},
      {FIELD_OBJECT, "deadDrops", "dead_drops"}},
     .cost = {.base = 40, .item = 72, .reply_kib = 4}},
    {"chunk_announce",
     handle_chunk_announce,
     {{FIELD_ID, "peerId", .required = true}, {FIELD_ANY, "chunks", .most = CHUNKS_MAX}},
     .gate = GATE_CHUNKS,
     .cost = {.base = 50, .item = 82}},
    {"chunk_request",
     handle_chunk_request,
     {{FIELD_ID, "peerId", .required = true}, {FIELD_ID, "chunkId", .required = true}},
     .gate = GATE_CHUNKS,
     .missing = ERR_REQUEST_FIELDS,
     .cost = {.base = 35, .reply_kib = 4, .told = 120}}, /* told: one, where it is not cached */
    {"chunk_push",
     handle_chunk_push,
     {{FIELD_ID, "peerId"}, {FIELD_ID, "chunkId", .required = true}, {FIELD_ANY, "data", .required = true}},
     .gate = GATE_CHUNKS,
     .missing = ERR_PUSH_FIELDS,
     .cost = {.base = 120, .kib = 5, .reply_kib = 0.4, .told = 13}},
    {"ping", handle_ping, {{FIELD_NONE}}, .gate = GATE_NEVER},
    {"heartbeat", handle_heartbeat, {{FIELD_ID, "peerId"}}, .cost = {.base = 40}},
};

static const char *const members[] = {"routingHash", NULL};
const struct dialect relay_dialect = {.name = "relay",
                                      .types = types,
                                      .count = sizeof(types) / sizeof(types[0]),
                                      .wire_error = wire_error,
                                      .members = members};

static void init(void)
{
    relays_init();
    rendezvous_init();
    chunks_init();
}

static const struct socket_path paths[] = {{"/relay", "relay", &relay_dialect}, {0}};
static const struct http_route *const routes[] = {stats_routes, NULL};
static const struct entry_kind *const kinds[] = {&peer_kind,   &day_kind,  &drop_kind, &hour_kind,
                                                 &source_kind, &wait_kind, NULL};
static const struct schedule *const schedules[] = {&chunk_pull_schedule, NULL};
static void (*const jobs[])(void) = {rendezvous_let_ended_go, chunks_let_ended_go, NULL};

const struct domain relay_domain = {
    .name = "relay",
    .paths = paths,
    .routes = routes,
    .kinds = kinds,
    .schedules = schedules,
    .jobs = jobs,
    .on_session_end = relays_on_session_end,
    .init = init,
};
