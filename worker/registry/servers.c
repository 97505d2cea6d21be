/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/json_scan.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/registry.h"

#define SIGNED_WITHIN_MS 60000
#define LOOKED_ANY "*"
#define ENDPOINT_MOST 2048
#define ENTRY_MOST (4096 - 64) /* bytes of JSON; with registeredAt and lastSeen, 4 KiB */
#define TRIES_MAX 3            /* when the entry was another each time it was to be written */

enum action { ACTION_PUT, ACTION_REMOVE, ACTION_BEAT };

/* A write. What a signature needs is kept until the entry's key is known. */
struct writing {
    struct turn turn;
    enum action action;
    char *id;
    char *raw_path;   /* as it was sent */
    char *entry;      /* of one that registers: JSON, up to registeredAt */
    char *public_key; /* likewise */
    struct bytes *body;
    char *timestamp, *signature;
    long long signed_ms; /* that timestamp; 0: nothing has to be signed */
    int tries;
};

static void writing_clear(void *arg)
{
    struct writing *w = arg;

    free(w->id);
    free(w->raw_path);
    free(w->entry);
    free(w->public_key);
    bytes_unref(w->body);
    free(w->timestamp);
    free(w->signature);
}

/* Of a script that changes the list. */
static struct call write_call(const struct script *script)
{
    struct call c = call_new(script);

    call_key(&c, KEY_SERVERS);
    call_key(&c, KEY_SERVERS_SEEN);
    call_key(&c, KEY_SERVERS_CHANGED);
    call_key(&c, KEY_SERVERS_SIGNED);
    return c;
}

static void call_timestamp(struct call *c, const struct writing *w)
{
    if (w->signed_ms)
        call_int(c, w->signed_ms);
    else
        call_text(c, "");
}

static void on_list(struct turn *t, bool ok)
{
    if (ok)
        server_list_reply(t);
    else
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    turn_end(t);
}

static void handle_list(struct exchange *x)
{
    server_list_read(turn_begin_http(x, sizeof(struct turn), NULL), on_list);
}

/* --- what a write does --- */

static void look(struct writing *w);

static void refuse(struct writing *w)
{
    struct exchange *x = turn_exchange(&w->turn);

    if (x)
        unauthorized(x);
    turn_end(&w->turn);
}

/* The entry was another meanwhile: whose key counts is to be looked up again. */
static void look_again(struct writing *w)
{
    if (++w->tries < TRIES_MAX)
        look(w);
    else
        refuse(w);
}

/* What a script says of a write: true if it was done; else its client was answered, or it begins anew. */
static bool was_done(struct writing *w, const struct reply *r)
{
    struct span outcome = reply_span(r ? reply_at(r, 0) : NULL);

    if (span_is(outcome, "done"))
        return true;
    if (span_is(outcome, "changed"))
        look_again(w);
    else if (span_is(outcome, "replay"))
        refuse(w);
    else if (span_is(outcome, "full"))
        turn_give_up(&w->turn, 507, err_text(ERR_STORAGE_LIMIT));
    else if (span_is(outcome, "gone"))
        turn_give_up(&w->turn, 404, "Server not registered");
    else
        turn_give_up(&w->turn, 503, NULL);
    return false;
}

static void on_put(const struct reply *r, void *arg)
{
    struct writing *w = arg;
    struct builder b = {0};
    long long now;

    if (!was_done(w, r))
        return;
    now = reply_int(reply_at(r, 1));
    LOG_INFO("server_registered", LOG_TEXT("server", w->id));
    builder_printf(&b, "{\"success\":true,\"server\":%s,\"registeredAt\":%lld,\"lastSeen\":%lld}}", w->entry, now, now);
    turn_reply(&w->turn, 200, builder_take(&b));
    turn_end(&w->turn);
}

static void on_removed(const struct reply *r, void *arg)
{
    struct writing *w = arg;

    if (!was_done(w, r))
        return;
    turn_reply_json(&w->turn, 200, json_pack("{sb}", "success", 1));
    turn_end(&w->turn);
}

static void on_peers(struct turn *t, bool ok)
{
    const struct writing *w = (struct writing *)t;
    struct builder b = {0};

    if (ok) {
        builder_text(&b, "{\"success\":true,\"peers\":");
        server_list_wire_others(&b, w->id);
        builder_text(&b, "}");
        turn_reply(t, 200, builder_take(&b));
    } else {
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    }
    turn_end(t);
}

static void on_beat(const struct reply *r, void *arg)
{
    struct writing *w = arg;

    if (was_done(w, r))
        server_list_read(&w->turn, on_peers);
}

static void put(struct writing *w, const char *looked)
{
    struct call c = write_call(&script_server_put);

    call_text(&c, w->id);
    call_text(&c, w->entry);
    call_int(&c, config->server_ttl_ms);
    call_text(&c, looked);
    call_int(&c, config->servers_max);
    call_timestamp(&c, w);
    call_send(&c, on_put, w);
}

static void act(struct writing *w, const char *looked)
{
    bool removes = w->action == ACTION_REMOVE;
    struct call c;

    if (w->action == ACTION_PUT) {
        put(w, looked);
        return;
    }
    c = write_call(removes ? &script_server_remove : &script_server_beat);
    call_text(&c, w->id);
    call_int(&c, config->server_ttl_ms);
    call_text(&c, looked);
    call_timestamp(&c, w);
    call_send(&c, removes ? on_removed : on_beat, w);
}

/* --- who may write --- */

/* What was signed: METHOD, PATH, timestamp and body, each on a line of its own but the last (docs/design.md, "The
   registry and attestation"). */
static bool verify_path(const struct writing *w, const unsigned char *key, const char *path)
{
    struct builder b = {0};
    bool ok;

    builder_printf(&b, "%s\n%s\n%s\n", w->action == ACTION_REMOVE ? "DELETE" : "POST", path, w->timestamp);
    if (w->body)
        builder_add(&b, bytes_span(w->body));
    ok = signature_verify(key, bytes_span(b.bytes), span_of(w->signature));
    builder_free(&b);
    return ok;
}

/* A removal's path may be signed as it was sent, or with its id in plain. */
static bool verify_removal(const struct writing *w, const unsigned char *key)
{
    struct builder plain = {0};
    bool ok;

    builder_printf(&plain, "/servers/%s%c", w->id, '\0');
    ok = verify_path(w, key, w->raw_path) || verify_path(w, key, bytes_span(plain.bytes).at);
    builder_free(&plain);
    return ok;
}

static bool verify(const struct writing *w, const char *public_key)
{
    unsigned char key[PUBLIC_KEY_LEN];

    if (!public_key_read(span_of(public_key), key))
        return false;
    if (w->action == ACTION_REMOVE)
        return verify_removal(w, key);
    return verify_path(w, key, w->action == ACTION_PUT ? "/servers" : "/servers/heartbeat");
}

/* The key in an entry as it is in Redis; NULL if it cannot be read. The caller frees it. */
static char *key_of_entry(struct span entry)
{
    struct json_members members = {0};
    struct builder whole = {0};
    struct span value;
    size_t len;
    char *key = mem_alloc(entry.len + 1);
    bool ok;

    builder_add(&whole, entry);
    builder_text(&whole, "}");
    ok = json_scan(bytes_span(whole.bytes), &members) && json_find(&members, "publicKey", &value) &&
         json_read_string(value, key, entry.len + 1, &len);
    json_members_free(&members);
    builder_free(&whole);
    if (ok)
        return key;
    free(key);
    return NULL;
}

/* An entry that is there: its key decides. One that is not: a new one signs with its own, and there is nothing to
   remove or to refresh. */
static void on_found(const struct reply *r, void *arg)
{
    struct writing *w = arg;
    struct span entry;
    char *key;
    bool ok;

    if (!r || !reply_read(r, "s-", &entry)) {
        turn_give_up(&w->turn, 503, NULL);
        return;
    }
    key = entry.len ? key_of_entry(entry) : w->public_key ? mem_dup(w->public_key) : NULL;
    ok = key ? verify(w, key) : entry.len == 0;
    free(key);
    if (ok)
        act(w, entry.at);
    else
        refuse(w);
}

static void look(struct writing *w)
{
    struct call c = call_new(&script_server_find);

    call_key(&c, KEY_SERVERS);
    call_key(&c, KEY_SERVERS_SEEN);
    call_text(&c, w->id);
    call_int(&c, config->server_ttl_ms);
    call_send(&c, on_found, w);
}

/* ms; 0: it is none, or not of this minute. */
static long long timely(const char *timestamp)
{
    char *end;
    long long ms = strtoll(timestamp, &end, 10), now = clock_ms();

    return *timestamp && !*end && ms >= now - SIGNED_WITHIN_MS && ms <= now + SIGNED_WITHIN_MS ? ms : 0;
}

/* Before anything of the body is looked at, but a signature, which covers it. */
static bool may_write(struct exchange *x)
{
    bool ok = true;

    if (config->server_registration == REGISTRATION_SECRET)
        ok = exchange_has_bearer(x, config->server_registration_secret);
    else if (config->server_registration == REGISTRATION_SIGNED)
        ok = timely(exchange_header(x, "x-server-timestamp")) && *exchange_header(x, "x-server-signature");
    if (!ok)
        unauthorized(x);
    return ok;
}

static void write_entry(struct exchange *x, struct writing *w, enum action action, const char *id)
{
    w->action = action;
    w->id = mem_dup(id);
    w->raw_path = span_dup(exchange_raw_path(x));
    w->timestamp = mem_dup(exchange_header(x, "x-server-timestamp"));
    w->signature = mem_dup(exchange_header(x, "x-server-signature"));
    w->body = exchange_take_body(x);
    if (config->server_registration == REGISTRATION_SIGNED) {
        w->signed_ms = strtoll(w->timestamp, NULL, 10);
        look(w);
    } else {
        act(w, LOOKED_ANY);
    }
}

/* --- requests --- */

/* Its JSON, up to registeredAt. NULL: it is too long, and *longest the member that takes most of it. */
static char *entry_of(const struct value *v, const char **longest)
{
    static const char *const members[] = {"serverId", "endpoint", "publicKey", "region"};
    struct builder entry = {0};
    size_t most = 0;
    char *text;

    builder_text(&entry, "{");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        size_t before = builder_len(&entry);

        builder_member(&entry, members[i], v[i].present ? v[i].text : "unknown");
        if (builder_len(&entry) - before > most) {
            most = builder_len(&entry) - before;
            *longest = members[i];
        }
    }
    text = builder_len(&entry) <= ENTRY_MOST ? span_dup(bytes_span(entry.bytes)) : NULL;
    builder_free(&entry);
    return text;
}

static void handle_register(struct exchange *x)
{
    const struct value *v = exchange_values(x);
    const char *longest = NULL;
    char *entry = entry_of(v, &longest);
    struct writing *w;

    if (!entry) {
        fail_field(x, longest);
        return;
    }
    w = turn_begin_http(x, sizeof(*w), writing_clear);
    w->entry = entry;
    w->public_key = mem_dup(v[2].text);
    write_entry(x, w, ACTION_PUT, v[0].text);
}

static void handle_heartbeat(struct exchange *x)
{
    const char *id = exchange_values(x)[0].text;

    if (is_id(id))
        write_entry(x, turn_begin_http(x, sizeof(struct writing), writing_clear), ACTION_BEAT, id);
    else
        exchange_fail(x, 404, "Server not registered");
}

static void handle_remove(struct exchange *x)
{
    const char *id = exchange_path(x) + strlen("/servers/");

    if (is_id(id))
        write_entry(x, turn_begin_http(x, sizeof(struct writing), writing_clear), ACTION_REMOVE, id);
    else
        exchange_reply_json(x, 200, json_pack("{sb}", "success", 1));
}

const struct http_route servers_routes[] = {
    {HTTP_GET, "/servers", "servers", handle_list, .cost = {.base = 40, .reply_kib = 5}},
    {HTTP_POST, "/servers", "servers_register", handle_register, .admit = may_write,
     .fields = {{FIELD_ID, "serverId", .required = true},
                {FIELD_TEXT, "endpoint", .required = true, .most = ENDPOINT_MOST},
                {FIELD_TEXT, "publicKey", .required = true, .most = ENDPOINT_MOST},
                {FIELD_ID, "region"}},
     .missing = "Missing required fields: serverId, endpoint, publicKey", .cost = {.base = 150, .kib = 10}},
    {HTTP_POST, "/servers/heartbeat", "servers_heartbeat", handle_heartbeat, .admit = may_write,
     .fields = {{FIELD_TEXT, "serverId", .required = true, .most = ANY_LENGTH}}, .missing = "Missing serverId",
     .cost = {.base = 110, .reply_kib = 5}},
    {HTTP_DELETE, "/servers/*", "servers_unregister", handle_remove, .admit = may_write, .cost = {.base = 110}},
    {0},
};
