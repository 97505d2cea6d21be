/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/registry.h"

#define TOKEN_AGE_MOST_MS (365LL * MS_PER_DAY)
#define FUTURE_MOST_MS 60000
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

static void on_registered(const struct reply *r, void *arg)
{
    struct registering *g = arg;
    const char *recommended = json_text(g->policy, "recommended_version");
    bool current = version_compare(version_of(g), recommended) >= 0;
    json_t *body;

    if (!r) {
        turn_fail(&g->turn, ERR_UNAVAILABLE, NULL);
    } else {
        body = json_pack("{ss sO ss}", "status", "registered", "device", g->device, "version_status",
                         current ? "current" : "update_recommended");
        if (!current)
            json_object_set_new(body, "recommended_version", json_string(recommended));
        turn_reply_json(&g->turn, 200, body);
    }
    turn_end(&g->turn);
}

static bool is_blocked(const json_t *policy, const char *version)
{
    const json_t *one;
    size_t i;

    json_array_foreach (json_object_get(policy, "blocked_versions"), i, one) {
        if (strcmp(json_string_value(one), version) == 0)
            return true;
    }
    return false;
}

static void refuse_version(struct registering *g, const char *minimum)
{
    const char *version = version_of(g);
    char sentence[2 * ID_MAX + 64];

    if (minimum)
        snprintf(sentence, sizeof(sentence), "Version %s is below minimum required version %s", version, minimum);
    else
        snprintf(sentence, sizeof(sentence), "Version %s has been blocked", version);
    turn_give_up(&g->turn, 403, sentence);
}

static void store(struct registering *g)
{
    static const char *const fields[] = {"device_id", "build_version", "platform", "build_hash"};
    char name[KEY_MAX], at[24];
    struct span words[12] = {SPAN("HSET")};
    size_t n = 2;

    key_device(name, json_text(g->device, "device_id"));
    words[1] = span_of(name);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        words[n++] = span_of(fields[i]);
        words[n++] = span_of(json_text(g->device, fields[i]));
    }
    snprintf(at, sizeof(at), "%lld", (long long)json_integer_value(json_object_get(g->device, "registered_at")));
    words[n++] = SPAN("registered_at");
    words[n++] = span_of(at);
    redis_send(on_registered, g, n, words);
}

static void on_policy(const struct reply *r, void *arg)
{
    struct registering *g = arg;
    const char *minimum;

    if (!r || !turn_exchange(&g->turn)) {
        turn_give_up(&g->turn, 503, NULL);
        return;
    }
    g->policy = policy_of(reply_span(r));
    minimum = json_text(g->policy, "minimum_version");
    if (is_blocked(g->policy, version_of(g)))
        refuse_version(g, NULL);
    else if (version_compare(version_of(g), minimum) < 0)
        refuse_version(g, minimum);
    else
        store(g);
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
     .missing = MISSING},
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
