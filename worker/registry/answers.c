/* SPDX-License-Identifier: MIT */
/* POST /attest/verify: what a device answers to its challenge. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/json_scan.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/registry.h"

#define PROBLEM_MAX 128

static struct metric_family *results;

struct verifying {
    struct turn turn;
    char *device, *nonce, *version, *platform, *indexes;
    char *ip; /* that the challenge counts to, which may be another than this one */
    struct bytes *body;
    struct span responses; /* in body */
    long long index[REGIONS_MOST];
    bool answered[REGIONS_MOST];
    size_t count;
    char problem[PROBLEM_MAX]; /* what is wrong with the responses, or "" */
};

static void verifying_clear(void *arg)
{
    struct verifying *v = arg;

    free(v->device);
    free(v->nonce);
    free(v->version);
    free(v->platform);
    free(v->indexes);
    free(v->ip);
    bytes_unref(v->body);
}

/* Which of the challenged regions a response is to, each once; count: to none. */
static size_t place_of(const struct verifying *v, const json_t *index)
{
    size_t i = 0;

    while (i < v->count && !(json_is_integer(index) && json_integer_value(index) == v->index[i] && !v->answered[i]))
        i++;
    return i;
}

static bool hmac_matches(const struct verifying *v, struct span hex, const char *given)
{
    unsigned char key[NONCE_LEN];
    char expected[HMAC_TEXT_MAX];
    size_t len = hex.len / 2;
    unsigned char *bytes = mem_alloc(len + 1);

    sodium_hex2bin(key, sizeof(key), v->nonce, strlen(v->nonce), NULL, NULL, NULL);
    sodium_hex2bin(bytes, len, hex.at, hex.len, NULL, &len, NULL);
    hmac_hex((struct span){(const char *)key, sizeof(key)}, (struct span){(const char *)bytes, len}, expected);
    free(bytes);
    return strlen(given) == HMAC_TEXT_MAX - 1 && sodium_memcmp(given, expected, HMAC_TEXT_MAX - 1) == 0;
}

static void compare_hmac(struct verifying *v, const struct json_members *response, struct span region)
{
    const char *blank = region.len ? strrchr(region.at, ' ') : NULL;
    struct span hex = span_of(blank ? blank + 1 : NULL), value;
    char given[HMAC_TEXT_MAX];
    size_t len;

    if (!json_find(response, "hmac", &value) || !json_read_string(value, given, sizeof(given), &len))
        *given = '\0';
    if (hex.len == 0)
        snprintf(v->problem, PROBLEM_MAX, "Reference data not available for region");
    else if (!hmac_matches(v, hex, given))
        snprintf(v->problem, PROBLEM_MAX, "HMAC mismatch");
}

static void compare_one(struct verifying *v, const struct json_members *response, const struct reply *regions)
{
    struct span value;
    bool given = json_find(response, "region_index", &value);
    json_t *index = given ? json_loadb(value.at, value.len, JSON_DECODE_ANY, NULL) : NULL;
    size_t place = place_of(v, index);
    char *text;

    if (place < v->count) {
        v->answered[place] = true;
        compare_hmac(v, response, reply_span(reply_at(regions, place)));
    } else {
        text = index ? json_dumps(index, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
        snprintf(v->problem, PROBLEM_MAX, "Invalid region_index: %.64s", text ? text : "undefined");
        free(text);
    }
    json_decref(index);
}

/* Whether every challenged region was answered rightly. */
static void compare(struct verifying *v, const struct reply *regions)
{
    struct json_members response = {0};
    struct span rest = v->responses, element;
    size_t count = 0;

    while (json_next(&rest, &element))
        count++;
    if (count != v->count)
        snprintf(v->problem, PROBLEM_MAX, "Wrong number of responses");
    rest = v->responses;
    while (!*v->problem && json_next_members(&rest, &response))
        compare_one(v, &response, regions);
    json_members_free(&response);
}

static void conclude(struct exchange *x, const struct verifying *v)
{
    char *token;

    metric_add(metric_series(results, *v->problem ? "invalid" : "valid"), 1);
    if (*v->problem) {
        LOG_INFO("attestation_failed", LOG_TEXT("reason", v->problem));
        exchange_reply_json(x, 200, json_pack("{sb ss}", "valid", 0, "error", v->problem));
        return;
    }
    token = session_token_new(attestation_key(), v->device, v->version, v->platform, clock_ms(),
                              config->session_token_ttl_ms);
    exchange_reply_json(x, 200, json_pack("{sb ss}", "valid", 1, "session_token", token));
    sodium_memzero(token, strlen(token));
    free(token);
}

/* The challenge counts no more, or ends by itself: whoever hears this may ask any worker for the next one. */
static void on_forgotten(const struct reply *r, void *arg)
{
    struct verifying *v = arg;
    struct exchange *x = turn_exchange(&v->turn);

    (void)r;
    if (x)
        conclude(x, v);
    turn_end(&v->turn);
}

/* Whoever has spent the nonce is told what came of it, and nobody else. */
static void on_spent(const struct reply *r, void *arg)
{
    struct verifying *v = arg;
    struct builder challenge = {0};
    char key[KEY_MAX];
    long long spent;

    if (!r || !reply_read(r, "i", &spent)) {
        turn_give_up(&v->turn, 503, NULL);
        return;
    }
    if (!spent) {
        turn_give_up(&v->turn, 403, "Invalid or expired nonce");
        return;
    }
    key_challenges(key, v->ip);
    builder_printf(&challenge, "%s %s%c", v->nonce, v->device, '\0');
    redis_command(on_forgotten, v, "ZREM", key, bytes_span(challenge.bytes).at, NULL);
    builder_free(&challenge);
}

static void on_data(const struct reply *r, void *arg)
{
    struct verifying *v = arg;
    struct call c = call_new(&script_attest_spend);
    char key[KEY_MAX];
    bool any = false;

    for (size_t i = 0; i < v->count; i++)
        any |= reply_span(reply_at(r, i)).len > 0;
    if (!any) {
        turn_give_up(&v->turn, 404, r ? "Reference binary no longer available" : NULL);
        return;
    }
    compare(v, r);
    key_nonce(key, v->nonce);
    call_key(&c, key);
    call_text(&c, v->device);
    call_send(&c, on_spent, v);
}

static void read_regions(struct verifying *v)
{
    struct span words[2 + REGIONS_MOST] = {SPAN("HMGET")};
    char key[KEY_MAX];

    key_reference(key, v->version, v->platform, ":regions");
    words[1] = span_of(key);
    for (const char *at = v->indexes; *at && v->count < REGIONS_MOST;) {
        size_t len = strcspn(at, ",");

        v->index[v->count] = strtoll(at, NULL, 10);
        words[2 + v->count++] = (struct span){at, len};
        at += len + (at[len] == ',');
    }
    redis_send(on_data, v, 2 + v->count, words);
}

/* The policy may have changed since the challenge. The nonce is kept: nothing was compared. */
static void on_policy(const struct reply *r, void *arg)
{
    struct verifying *v = arg;
    char sentence[REFUSAL_MAX];

    if (!r)
        turn_give_up(&v->turn, 503, NULL);
    else if (policy_text_refuses(reply_span(r), v->version, sentence))
        turn_give_up(&v->turn, 403, sentence);
    else
        read_regions(v);
}

static void on_nonce(const struct reply *r, void *arg)
{
    struct verifying *v = arg;
    struct span device, version, platform, indexes, ip;

    if (!r || !reply_read(r, "sssss", &device, &version, &platform, &indexes, &ip)) {
        turn_give_up(&v->turn, 503, NULL);
    } else if (device.len == 0) {
        turn_give_up(&v->turn, 403, "Invalid or expired nonce");
    } else if (!span_is(device, v->device)) {
        turn_give_up(&v->turn, 403, "Device ID mismatch");
    } else {
        v->version = span_dup(version);
        v->platform = span_dup(platform);
        v->indexes = span_dup(indexes);
        v->ip = span_dup(ip);
        device_seen(v->device);
        redis_command(on_policy, v, "GET", KEY_POLICY, NULL);
    }
}

static bool is_nonce(const char *text)
{
    return strlen(text) == NONCE_TEXT_MAX - 1 && strspn(text, "0123456789abcdef") == NONCE_TEXT_MAX - 1;
}

static void handle_verify(struct exchange *x)
{
    const struct value *values = exchange_values(x);
    const char *device = values[0].text, *nonce = values[1].text;
    struct verifying *v;
    char key[KEY_MAX];

    if (!attestation_key()) {
        exchange_fail(x, 503, "Attestation service not configured");
    } else if (!is_nonce(nonce) || !is_id(device)) {
        exchange_fail(x, 403, "Invalid or expired nonce");
    } else {
        v = turn_begin_http(x, sizeof(*v), verifying_clear);
        v->responses = json_elements(values[2].raw);
        v->device = mem_dup(device);
        v->nonce = mem_dup(nonce);
        v->body = exchange_take_body(x);
        key_nonce(key, nonce);
        redis_command(on_nonce, v, "HMGET", key, "device_id", "build_version", "platform", "regions", "ip", NULL);
    }
}

const struct http_route answers_routes[] = {
    {HTTP_POST, "/attest/verify", "attest_verify", handle_verify,
     .fields = {{FIELD_TEXT, "device_id", .required = true, .most = ANY_LENGTH},
                {FIELD_TEXT, "nonce", .required = true, .most = ANY_LENGTH},
                {FIELD_ARRAY, "responses", .required = true}},
     .missing = "Missing required fields: device_id, nonce, responses (array)", .cost = {.base = 250, .kib = 10}},
    {0},
};

void answers_init(void)
{
    results = metric_family(METRIC_COUNTER, "signalbox_attestations_total", "Verified challenges by result", "result");
}
