/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/limits.h"
#include "signalbox/loop.h"
#include "signalbox/registry.h"
#include "signalbox/storage.h"

#define TOKEN_AGE_MOST_MS (365LL * MS_PER_DAY)
#define FUTURE_MOST_MS 60000
#define DEVICE_BYTES 240
#define SHORT_MOST 64 /* bytes of a text in a hash that Redis keeps small */
#define LONG_BYTES 400
#define MISSING "Missing required fields: build_token, device_id"
#define NO_TOKEN "Invalid build_token format: must include payload and signature"

static struct signing_key *key;
static unsigned char build_key[PUBLIC_KEY_LEN];
static bool has_build_key;

const struct signing_key *attestation_key(void)
{
    return key;
}

/* A device whose build token is good, on its way to the policy and to Redis. */
struct registering {
    struct turn turn;
    json_t *device, *policy;
};

static void registering_clear(void *arg)
{
    struct registering *g = arg;

    json_decref(g->device);
    json_decref(g->policy);
}

/* A string that is not empty; else NULL. Borrowed. */
static const char *json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && *text ? text : NULL;
}

static const char *version_of(const struct registering *g)
{
    return json_text(g->device, "build_version");
}

/* --- what is stored --- */

static const char *const told[] = {"device_id", "build_version", "platform", "build_hash"};
#define TOLD (sizeof(told) / sizeof(told[0]))

/* As MEMORY USAGE has it: with a text over 64 bytes it is another kind of hash. */
static struct storing storing_of(const struct registering *g)
{
    size_t len = strlen(json_text(g->device, "device_id")), longest = 0; /* which is in the key, too */

    for (size_t i = 0; i < TOLD; i++) {
        size_t one = strlen(json_text(g->device, told[i]));

        len += one;
        longest = one > longest ? one : longest;
    }
    return (struct storing){.bytes = DEVICE_BYTES + len + len / 4 + (longest > SHORT_MOST ? LONG_BYTES : 0),
                            .ttl_ms = config->device_ttl_ms,
                            .outlives = true};
}

void device_seen(const char *device)
{
    char name[KEY_MAX], ttl[24];

    key_device(name, device);
    snprintf(ttl, sizeof(ttl), "%lld", config->device_ttl_ms);
    redis_command(NULL, NULL, "PEXPIRE", name, ttl, NULL);
}

static void answer(const struct registering *g)
{
    const char *recommended = json_text(g->policy, "recommended_version");
    bool current = version_compare(version_of(g), recommended) >= 0;
    json_t *body = json_pack("{ss sO ss}", "status", "registered", "device", g->device, "version_status",
                             current ? "current" : "update_recommended");

    if (!current)
        json_object_set_new(body, "recommended_version", json_string(recommended));
    turn_reply_json(&g->turn, 200, body);
}

/* What it was before counts no more, unless that is to another address: there it counts until its end. */
static void on_registered(const struct reply *r, void *arg)
{
    struct registering *g = arg;
    struct storing former = {.outlives = true};
    struct span ip;
    long long bytes;

    if (!r || !reply_read(r, "iis", &bytes, &former.ttl_ms, &ip)) {
        turn_fail(&g->turn, ERR_UNAVAILABLE, NULL);
    } else {
        former.bytes = (size_t)bytes;
        if (bytes > 0 && span_is(ip, ip_range(g->turn.ip)))
            storage_give_back(&g->turn, &former);
        answer(g);
    }
    turn_end(&g->turn);
}

static void store(struct registering *g)
{
    struct call c = call_new(&script_attest_enroll);
    char name[KEY_MAX];

    key_device(name, json_text(g->device, "device_id"));
    call_key(&c, name);
    call_int(&c, config->device_ttl_ms);
    call_int(&c, (long long)storing_of(g).bytes);
    call_text(&c, ip_range(g->turn.ip));
    for (size_t i = 0; i < TOLD; i++) {
        call_text(&c, told[i]);
        call_text(&c, json_text(g->device, told[i]));
    }
    call_text(&c, "registered_at");
    call_int(&c, (long long)json_integer_value(json_object_get(g->device, "registered_at")));
    call_send(&c, on_registered, g);
}

/* --- who may be --- */

static void on_counted(struct turn *t, enum err e)
{
    if (e == ERR_NONE) {
        store((struct registering *)t);
    } else {
        turn_fail(t, e, NULL);
        turn_end(t);
    }
}

static void on_policy(const struct reply *r, void *arg)
{
    struct registering *g = arg;
    char sentence[REFUSAL_MAX];
    struct storing what;

    if (!r || !turn_exchange(&g->turn)) {
        turn_give_up(&g->turn, 503, NULL);
        return;
    }
    g->policy = policy_of(reply_span(r));
    if (policy_refuses(g->policy, version_of(g), sentence)) {
        turn_give_up(&g->turn, 403, sentence);
        return;
    }
    what = storing_of(g);
    storage_take(&g->turn, &what, on_counted);
}

/* The device that the payload of a good token describes; NULL: the exchange was answered. */
static json_t *device_of(struct exchange *x, const char *id, const json_t *payload)
{
    const char *version = json_text(payload, "version"), *platform = json_text(payload, "platform"),
               *hash = json_text(payload, "build_hash");
    const json_t *timestamp = json_object_get(payload, "timestamp");
    int64_t now = clock_ms();
    double built = json_number_value(timestamp);

    if (!version || !platform || !hash || !json_is_number(timestamp))
        exchange_fail(x, 400, "Build token missing required fields: version, platform, build_hash, timestamp");
    else if (built < (double)(now - TOKEN_AGE_MOST_MS))
        exchange_fail(x, 403, "Build token expired");
    else if (built > (double)(now + FUTURE_MOST_MS))
        exchange_fail(x, 403, "Build token has a future timestamp");
    else if (!is_id(version) || !is_id(platform) || !is_id(hash))
        exchange_fail(x, 400, "Invalid build token payload");
    else
        return json_pack("{ss ss ss ss sI}", "device_id", id, "build_version", version, "platform", platform,
                         "build_hash", hash, "registered_at", (json_int_t)now);
    return NULL;
}

/* The macro evaluates what it is given twice. */
static bool is_object(const json_t *value)
{
    return json_is_object(value);
}

/* payload: the text that was signed, JSON. */
static void check_token(struct exchange *x, const char *id, const char *payload, const char *signature)
{
    json_t *fields = NULL, *device = NULL;
    struct registering *g;

    if (!key && !has_build_key)
        exchange_fail(x, 503, "Attestation service not configured");
    else if (!signature_verify(has_build_key ? build_key : signing_key_public(key), span_of(payload),
                               span_of(signature)))
        exchange_fail(x, 403, "Invalid build token signature");
    else if (!is_object(fields = json_loads(payload, 0, NULL)))
        exchange_fail(x, 400, "Invalid build token payload");
    else
        device = device_of(x, id, fields);
    json_decref(fields);
    if (!device)
        return;
    g = turn_begin_http(x, sizeof(*g), registering_clear);
    g->device = device;
    redis_command(on_policy, g, "GET", KEY_POLICY, NULL);
}

static bool is_given(struct span token)
{
    return json_kind(token) == JSON_KIND_STRING ? token.len > 2 : !span_is(token, "false");
}

static void read_token(struct exchange *x, const char *id, struct span token)
{
    static const struct field fields[FIELDS_MAX] = {{FIELD_TEXT, "payload", .required = true, .most = ANY_LENGTH},
                                                    {FIELD_TEXT, "signature", .required = true, .most = ANY_LENGTH}};
    struct value parts[FIELDS_MAX] = {0};
    struct texts texts = {0};

    if (json_kind(token) != JSON_KIND_OBJECT)
        exchange_fail(x, 400, NO_TOKEN);
    else if (request_object(x, token, fields, NO_TOKEN, &texts, parts))
        check_token(x, id, parts[0].text, parts[1].text);
    texts_free(&texts);
}

static void handle_register(struct exchange *x)
{
    const struct value *v = exchange_values(x);
    const char *id = v[0].text;

    if (!is_given(v[1].raw))
        exchange_fail(x, 400, MISSING);
    else if (!is_id(id))
        fail_field(x, "device_id");
    else
        read_token(x, id, v[1].raw);
}

const struct http_route devices_routes[] = {
    {HTTP_POST, "/attest/register", "attest_register", handle_register,
     .fields = {{FIELD_TEXT, "device_id", .required = true, .most = ANY_LENGTH},
                {FIELD_ANY, "build_token", .required = true}},
     .missing = MISSING, .cost = {.base = 330, .kib = 10}},
    {0},
};

void devices_init(void)
{
    if (*config->attestation_signing_key)
        key = signing_key_new(config->attestation_signing_key);
    has_build_key = public_key_read(span_of(config->build_token_verify_key), build_key);
}

void devices_fini(void)
{
    signing_key_free(key);
    key = NULL;
}
