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
#define TRIES_MAX 3 /* when the entry was another each time it was to be written */

static struct signing_key *bootstrap_key;

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

static struct call servers_call(const struct script *script)
{
    struct call c = call_new(script);

    call_key(&c, KEY_SERVERS);
    call_key(&c, KEY_SERVERS_SEEN);
    return c;
}

/* --- lists --- */

static void wire_entries(struct builder *b, const struct reply *list)
{
    builder_text(b, "[");
    for (size_t i = 0; i + 1 < reply_count(list); i += 2) {
        builder_text(b, i ? "," : "");
        builder_add(b, reply_span(reply_at(list, i)));
        builder_printf(b, ",\"lastSeen\":%lld}", reply_int(reply_at(list, i + 1)));
    }
    builder_text(b, "]");
}

static void on_listed(const struct reply *r, void *arg)
{
    struct turn *t = arg;
    struct exchange *x = turn_exchange(t);
    char signature[SIGNATURE_TEXT_MAX];
    const struct reply *list;
    struct builder b = {0};
    long long now;

    if (!r || !reply_read(r, "-ir", &now, &list)) {
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    } else if (x) {
        builder_text(&b, "{\"servers\":");
        wire_entries(&b, list);
        builder_printf(&b, ",\"timestamp\":%lld}", now);
        if (bootstrap_key) {
            sign_base64(bootstrap_key, bytes_span(b.bytes), signature);
            exchange_add_header(x, "x-bootstrap-signature", signature);
        }
        turn_reply(t, 200, builder_take(&b));
    }
    turn_end(t);
}

static void call_list(const char *seen, const char *looked, redis_callback callback, void *arg)
{
    struct call c = servers_call(&script_server_list);

    call_int(&c, config->server_ttl_ms);
    call_text(&c, seen);
    call_text(&c, looked);
    call_send(&c, callback, arg);
}

static void handle_list(struct exchange *x)
{
    call_list("", LOOKED_ANY, on_listed, turn_begin_http(x, sizeof(struct turn), NULL));
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

static void on_put(const struct reply *r, void *arg)
{
    struct writing *w = arg;
    struct builder b = {0};
    long long done, now;

    if (!r || !reply_read(r, "ii", &done, &now)) {
        turn_give_up(&w->turn, 503, NULL);
    } else if (!done) {
        look_again(w);
    } else {
        LOG_INFO("server_registered", LOG_TEXT("server", w->id));
        builder_printf(&b, "{\"success\":true,\"server\":%s,\"registeredAt\":%lld,\"lastSeen\":%lld}}", w->entry, now,
                       now);
        turn_reply(&w->turn, 200, builder_take(&b));
        turn_end(&w->turn);
    }
}

static void on_removed(const struct reply *r, void *arg)
{
    struct writing *w = arg;
    long long done;

    if (!r || !reply_read(r, "i", &done)) {
        turn_give_up(&w->turn, 503, NULL);
    } else if (!done) {
        look_again(w);
    } else {
        turn_reply_json(&w->turn, 200, json_pack("{sb}", "success", 1));
        turn_end(&w->turn);
    }
}

static void on_beat(const struct reply *r, void *arg)
{
    struct writing *w = arg;
    const struct reply *list;
    struct builder b = {0};
    long long there;

    if (!r || !reply_read(r, "i-r", &there, &list)) {
        turn_give_up(&w->turn, 503, NULL);
    } else if (!there) {
        turn_give_up(&w->turn, 404, "Server not registered");
    } else {
        builder_text(&b, "{\"success\":true,\"peers\":");
        wire_entries(&b, list);
        builder_text(&b, "}");
        turn_reply(&w->turn, 200, builder_take(&b));
        turn_end(&w->turn);
    }
}

static void act(struct writing *w, const char *looked)
{
    struct call c;

    switch (w->action) {
    case ACTION_PUT:
        c = servers_call(&script_server_put);
        call_text(&c, w->id);
        call_text(&c, w->entry);
        call_int(&c, config->server_ttl_ms);
        call_text(&c, looked);
        call_send(&c, on_put, w);
        break;
    case ACTION_REMOVE:
        c = servers_call(&script_server_remove);
        call_text(&c, w->id);
        call_int(&c, config->server_ttl_ms);
        call_text(&c, looked);
        call_send(&c, on_removed, w);
        break;
    case ACTION_BEAT:
        call_list(w->id, looked, on_beat, w);
        break;
    }
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
    struct call c = servers_call(&script_server_find);

    call_text(&c, w->id);
    call_int(&c, config->server_ttl_ms);
    call_send(&c, on_found, w);
}

static bool is_timely(const char *timestamp)
{
    char *end;
    long long ms = strtoll(timestamp, &end, 10), now = clock_ms();

    return *timestamp && !*end && ms >= now - SIGNED_WITHIN_MS && ms <= now + SIGNED_WITHIN_MS;
}

/* Before anything of the body is looked at, but a signature, which covers it. */
static bool may_write(struct exchange *x)
{
    bool ok = true;

    if (config->server_registration == REGISTRATION_SECRET)
        ok = exchange_has_bearer(x, config->server_registration_secret);
    else if (config->server_registration == REGISTRATION_SIGNED)
        ok = is_timely(exchange_header(x, "x-server-timestamp")) && *exchange_header(x, "x-server-signature");
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
    if (config->server_registration == REGISTRATION_SIGNED)
        look(w);
    else
        act(w, LOOKED_ANY);
}

/* --- requests --- */

static void handle_register(struct exchange *x)
{
    const struct value *v = exchange_values(x);
    const char *id = v[0].text, *endpoint = v[1].text, *public_key = v[2].text;
    struct builder entry = {0};
    struct writing *w = turn_begin_http(x, sizeof(*w), writing_clear);

    builder_text(&entry, "{");
    builder_member(&entry, "serverId", id);
    builder_member(&entry, "endpoint", endpoint);
    builder_member(&entry, "publicKey", public_key);
    builder_member(&entry, "region", v[3].present ? v[3].text : "unknown");
    w->entry = span_dup(bytes_span(entry.bytes));
    w->public_key = mem_dup(public_key);
    builder_free(&entry);
    write_entry(x, w, ACTION_PUT, id);
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
    {HTTP_GET, "/servers", "servers", handle_list},
    {HTTP_POST, "/servers", "servers_register", handle_register, .admit = may_write,
     .fields = {{FIELD_ID, "serverId", .required = true},
                {FIELD_TEXT, "endpoint", .required = true, .most = ENDPOINT_MOST},
                {FIELD_TEXT, "publicKey", .required = true, .most = ENDPOINT_MOST},
                {FIELD_ID, "region"}},
     .missing = "Missing required fields: serverId, endpoint, publicKey"},
    {HTTP_POST, "/servers/heartbeat", "servers_heartbeat", handle_heartbeat, .admit = may_write,
     .fields = {{FIELD_TEXT, "serverId", .required = true, .most = ANY_LENGTH}}, .missing = "Missing serverId"},
    {HTTP_DELETE, "/servers/*", "servers_unregister", handle_remove, .admit = may_write},
    {0},
};

void servers_init(void)
{
    if (*config->bootstrap_signing_key)
        bootstrap_key = signing_key_new(config->bootstrap_signing_key);
}

void servers_fini(void)
{
    signing_key_free(bootstrap_key);
    bootstrap_key = NULL;
}
