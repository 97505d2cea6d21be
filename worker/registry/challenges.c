/* SPDX-License-Identifier: MIT */
/* POST /attest/challenge: what a device is asked. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/limits.h"
#include "signalbox/registry.h"
#include "signalbox/storage.h"

#define REGIONS_LEAST 3
#define OPEN_MOST 5         /* of one device, by one address */
#define OPEN_OF_ALL_MOST 50 /* by one address */
#define CHALLENGE_BYTES 700 /* that Redis needs for one, beside its texts, each of them twice */
#define INDEXES_MAX (REGIONS_MOST * 12)
#define NOT_FOUND_REFERENCE "No reference binary found for this version and platform"

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

/* It counts to its address until NONCE_TTL_MS is over, also when it is answered before. */
static struct storing storing_of(const struct challenging *c)
{
    size_t len = strlen(c->device) + strlen(c->version) + strlen(c->platform);

    return (struct storing){
        .bytes = CHALLENGE_BYTES + 2 * len, .ttl_ms = config->nonce_ttl_ms, .outlives = true, .small = true};
}

static void on_opened(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct storing what = storing_of(c);
    struct call call = call_new(&script_attest_challenge);
    char key[KEY_MAX];
    long long may;

    if (!r || !reply_read(r, "i", &may)) {
        turn_give_up(&c->turn, 503, NULL);
    } else if (!may) {
        storage_give_back(&c->turn, &what);
        turn_give_up(&c->turn, 429, "Too many pending challenges");
    } else {
        key_nonce(key, c->nonce);
        call_key(&call, key);
        call_int(&call, config->nonce_ttl_ms);
        call_text(&call, c->device);
        call_text(&call, c->version);
        call_text(&call, c->platform);
        call_text(&call, c->indexes);
        call_text(&call, ip_range(c->turn.ip));
        call_send(&call, on_written, c);
    }
}

static void on_counted(struct turn *t, enum err e)
{
    struct challenging *c = (struct challenging *)t;
    struct call call = call_new(&script_attest_open);
    char key[KEY_MAX];

    if (e != ERR_NONE) {
        turn_fail(t, e, NULL);
        turn_end(t);
        return;
    }
    nonce_new(c->nonce);
    key_challenges(key, ip_range(t->ip));
    call_key(&call, key);
    call_text(&call, c->nonce);
    call_text(&call, c->device);
    call_int(&call, config->nonce_ttl_ms);
    call_int(&call, OPEN_MOST);
    call_int(&call, OPEN_OF_ALL_MOST);
    call_send(&call, on_opened, c);
}

/* "offset length hex" of each region that was chosen. */
static void on_regions(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct storing what = storing_of(c);

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
    storage_take(&c->turn, &what, on_counted);
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

static void on_policy(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    char sentence[REFUSAL_MAX], key[KEY_MAX];

    if (!r) {
        turn_give_up(&c->turn, 503, NULL);
    } else if (policy_text_refuses(reply_span(r), c->version, sentence)) {
        turn_give_up(&c->turn, 403, sentence);
    } else {
        key_reference(key, c->version, c->platform, "");
        redis_command(on_reference, c, "HGET", key, "regions", NULL);
    }
}

/* A device is what its build token says. One that runs another version by now has to register again first. */
static void on_device(const struct reply *r, void *arg)
{
    struct challenging *c = arg;
    struct span version, platform;

    if (!r || !reply_read(r, "ss", &version, &platform)) {
        turn_give_up(&c->turn, 503, NULL);
    } else if (!span_is(version, c->version)) {
        turn_give_up(&c->turn, 404, "Device not registered");
    } else {
        c->platform = span_dup(platform);
        device_seen(c->device);
        redis_command(on_policy, c, "GET", KEY_POLICY, NULL);
    }
}

static void handle_challenge(struct exchange *x)
{
    const struct value *v = exchange_values(x);
    struct challenging *c = turn_begin_http(x, sizeof(*c), challenging_clear);
    char key[KEY_MAX];

    c->device = mem_dup(v[0].text);
    c->version = mem_dup(v[1].text);
    key_device(key, c->device);
    redis_command(on_device, c, "HMGET", key, "build_version", "platform", NULL);
}

const struct http_route challenges_routes[] = {
    {HTTP_POST, "/attest/challenge", "attest_challenge", handle_challenge,
     .fields = {{FIELD_ID, "device_id", .required = true}, {FIELD_ID, "build_version", .required = true}},
     .missing = "Missing required fields: device_id, build_version", .cost = {.base = 270, .kib = 10}},
    {0},
};
