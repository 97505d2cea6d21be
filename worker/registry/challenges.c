/* SPDX-License-Identifier: MIT */
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

#define REGIONS_LEAST 3
#define REGIONS_MOST 5
#define OPEN_MOST 5
#define PROBLEM_MAX 128
#define INDEXES_MAX (REGIONS_MOST * 12)
#define NOT_FOUND_REFERENCE "No reference binary found for this version and platform"

static struct metric_family *results;

/* --- challenge --- */

struct challenging {
    struct turn turn;
    char *device, *version, *platform;
    char nonce[NONCE_TEXT_MAX], indexes[INDEXES_MAX];
    long long index[REGIONS_MOST];
    size_t count;
    json_t *regions;
};

static void challenging_clear(void *arg)
{
    struct challenging *c = arg;

    free(c->device);
    free(c->version);
    free(c->platform);
    json_decref(c->regions);
}

static void on_written(const struct reply *r, void *arg)
{
    struct challenging *c = arg;

    if (r)
        turn_reply_json(&c->turn, 200, json_pack("{ss sO}", "nonce", c->nonce, "regions", c->regions));
    else
        turn_fail(&c->turn, ERR_UNAVAILABLE, NULL);
    turn_end(&c->turn);
}

static void on_opened(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct call call = call_new(&script_attest_challenge);
    char key[KEY_MAX];
    long long may;

    if (!r || !reply_read(r, "i", &may)) {
        turn_give_up(&c->turn, 503, NULL);
    } else if (!may) {
        turn_give_up(&c->turn, 429, "Too many pending challenges");
    } else {
        key_nonce(key, c->nonce);
        call_key(&call, key);
        call_int(&call, config->nonce_ttl_ms);
        call_text(&call, c->device);
        call_text(&call, c->version);
        call_text(&call, c->platform);
        call_text(&call, c->indexes);
        call_send(&call, on_written, c);
    }
}

/* "offset length hex" of each region that was chosen. */
static void on_regions(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct call call = call_new(&script_attest_open);
    char key[KEY_MAX];

    if (!r) {
        turn_give_up(&c->turn, 503, NULL);
        return;
    }
    c->regions = json_array();
    for (size_t i = 0; i < c->count; i++) {
        struct span region = reply_span(reply_at(r, i));
        char *end;
        long long offset, length;

        if (region.len == 0) {
            turn_give_up(&c->turn, 404, NOT_FOUND_REFERENCE);
            return;
        }
        offset = strtoll(region.at, &end, 10);
        length = strtoll(end, NULL, 10);
        json_array_append_new(c->regions, json_pack("{sI sI sI}", "index", (json_int_t)c->index[i], "offset",
                                                    (json_int_t)offset, "length", (json_int_t)length));
    }
    nonce_new(c->nonce);
    key_challenges(key, c->device);
    call_key(&call, key);
    call_text(&call, c->nonce);
    call_int(&call, config->nonce_ttl_ms);
    call_int(&call, OPEN_MOST);
    call_send(&call, on_opened, c);
}

/* Each set of so many as likely as any other: draws again what it has drawn before. */
static void choose(struct challenging *c, long long regions)
{
    long long wanted = REGIONS_LEAST + (long long)randombytes_uniform(REGIONS_MOST - REGIONS_LEAST + 1);
    size_t used = 0;

    if (wanted > regions)
        wanted = regions;
    while (c->count < (size_t)wanted) {
        long long drawn = (long long)randombytes_uniform((uint32_t)regions);
        size_t i = 0;

        while (i < c->count && c->index[i] != drawn)
            i++;
        if (i < c->count)
            continue;
        c->index[c->count++] = drawn;
        used += (size_t)snprintf(c->indexes + used, sizeof(c->indexes) - used, "%s%lld", used ? "," : "", drawn);
    }
}

static void on_reference(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct span words[2 + REGIONS_MOST] = {SPAN("HMGET")};
    char key[KEY_MAX], index[REGIONS_MOST][24];

    if (!r || reply_int(r) <= 0) {
        turn_give_up(&c->turn, 404, r ? NOT_FOUND_REFERENCE : NULL);
        return;
    }
    choose(c, reply_int(r));
    key_reference(key, c->version, c->platform, ":regions");
    words[1] = span_of(key);
    for (size_t i = 0; i < c->count; i++) {
        snprintf(index[i], sizeof(index[i]), "%lld", c->index[i]);
        words[2 + i] = span_of(index[i]);
    }
    redis_send(on_regions, c, 2 + c->count, words);
}

static void on_device(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct span platform = reply_span(r);
    char key[KEY_MAX];

    if (!r || platform.len == 0) {
        turn_give_up(&c->turn, 404, r ? "Device not registered" : NULL);
        return;
    }
    c->platform = span_dup(platform);
    key_reference(key, c->version, c->platform, "");
    redis_command(on_reference, c, "HGET", key, "regions", NULL);
}

static void handle_challenge(struct exchange *x)
{
    const struct value *v = exchange_values(x);
    struct challenging *c = turn_begin_http(x, sizeof(*c), challenging_clear);
    char key[KEY_MAX];

    c->device = mem_dup(v[0].text);
    c->version = mem_dup(v[1].text);
    key_device(key, c->device);
    redis_command(on_device, c, "HGET", key, "platform", NULL);
}

/* --- verify --- */

struct verifying {
    struct turn turn;
    char *device, *nonce, *version, *platform;
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
    key_challenges(key, v->device);
    redis_command(on_forgotten, v, "ZREM", key, v->nonce, NULL);
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

static void read_regions(struct verifying *v, const char *indexes)
{
    struct span words[2 + REGIONS_MOST] = {SPAN("HMGET")};
    char key[KEY_MAX];

    key_reference(key, v->version, v->platform, ":regions");
    words[1] = span_of(key);
    for (const char *at = indexes; *at && v->count < REGIONS_MOST;) {
        size_t len = strcspn(at, ",");

        v->index[v->count] = strtoll(at, NULL, 10);
        words[2 + v->count++] = (struct span){at, len};
        at += len + (at[len] == ',');
    }
    redis_send(on_data, v, 2 + v->count, words);
}

static void on_nonce(const struct reply *r, void *arg)
{
    struct verifying *v = arg;
    struct span device, version, platform, indexes;

    if (!r || !reply_read(r, "ssss", &device, &version, &platform, &indexes)) {
        turn_give_up(&v->turn, 503, NULL);
    } else if (device.len == 0) {
        turn_give_up(&v->turn, 403, "Invalid or expired nonce");
    } else if (!span_is(device, v->device)) {
        turn_give_up(&v->turn, 403, "Device ID mismatch");
    } else {
        v->version = span_dup(version);
        v->platform = span_dup(platform);
        read_regions(v, indexes.at);
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
        redis_command(on_nonce, v, "HMGET", key, "device_id", "build_version", "platform", "regions", NULL);
    }
}

const struct http_route challenges_routes[] = {
    {HTTP_POST, "/attest/challenge", "attest_challenge", handle_challenge,
     .fields = {{FIELD_ID, "device_id", .required = true}, {FIELD_ID, "build_version", .required = true}},
     .missing = "Missing required fields: device_id, build_version"},
    {HTTP_POST, "/attest/verify", "attest_verify", handle_verify,
     .fields = {{FIELD_TEXT, "device_id", .required = true, .most = ANY_LENGTH},
                {FIELD_TEXT, "nonce", .required = true, .most = ANY_LENGTH},
                {FIELD_ARRAY, "responses", .required = true}},
     .missing = "Missing required fields: device_id, nonce, responses (array)"},
    {0},
};

void challenges_init(void)
{
    results = metric_family(METRIC_COUNTER, "signalbox_attestations_total", "Verified challenges by result", "result");
}
