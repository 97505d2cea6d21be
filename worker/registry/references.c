/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/json_scan.h"
#include "signalbox/log.h"
#include "signalbox/registry.h"

#define BODY_MAX (4 * 1024 * 1024)
#define BATCH_BYTES 65536 /* of regions that are looked at in one iteration of the loop */
#define BATCH_REGIONS 500
#define ABANDONED_MS 60000
#define NOT_REGIONS "critical_regions must be a non-empty array of { offset, length, hmac } objects"
#define NO_NUMBERS "Each critical_region must have numeric offset and length"
#define NO_HEX "Each data_hex must be 2 x length hexadecimal digits"

/* An upload of many regions: a batch at a time goes to Redis, so that nobody waits for all of it. */
struct upload {
    struct turn turn;
    struct bytes *body;
    struct span rest; /* of the regions, in body */
    char *version, *platform, *build_hash, *size;
    char token[NONCE_TEXT_MAX]; /* names it until it is whole */
    size_t count;
    struct builder regions; /* for the answer */
    const char *problem;
};

static void upload_clear(void *arg)
{
    struct upload *u = arg;

    bytes_unref(u->body);
    builder_free(&u->regions);
    free(u->version);
    free(u->platform);
    free(u->build_hash);
    free(u->size);
}

static void key_of(const struct upload *u, const char *part, char out[static KEY_MAX])
{
    key_reference(out, u->version, u->platform, part);
}

static void key_uploaded(const struct upload *u, char out[static KEY_MAX])
{
    char part[NONCE_TEXT_MAX + 2];

    snprintf(part, sizeof(part), ":%s", u->token);
    key_of(u, part, out);
}

static void fail(struct upload *u, const char *problem)
{
    char key[KEY_MAX];

    key_uploaded(u, key);
    redis_command(NULL, NULL, "UNLINK", key, NULL);
    turn_give_up(&u->turn, 400, problem);
}

static void on_finished(const struct reply *r, void *arg)
{
    struct upload *u = arg;
    struct builder w = {0};
    long long uploaded;

    if (!r || !reply_read(r, "i", &uploaded) || !uploaded) {
        fail(u, NULL);
        return;
    }
    LOG_INFO("reference_uploaded", LOG_TEXT("version", u->version), LOG_TEXT("platform", u->platform),
             LOG_INT("regions", u->count));
    builder_text(&w, "{\"success\":true,\"reference\":{");
    builder_member(&w, "version", u->version);
    builder_member(&w, "platform", u->platform);
    builder_member(&w, "build_hash", u->build_hash);
    builder_printf(&w, "%s%s,\"critical_regions\":[", *u->size ? ",\"size\":" : "", u->size);
    builder_add(&w, bytes_span(u->regions.bytes));
    builder_printf(&w, "],\"uploaded_at\":%lld}}", uploaded);
    turn_reply(&u->turn, 200, builder_take(&w));
    turn_end(&u->turn);
}

static void finish(struct upload *u)
{
    struct call c = call_new(&script_attest_finish);
    char key[KEY_MAX];

    key_uploaded(u, key);
    call_key(&c, key);
    key_of(u, "", key);
    call_key(&c, key);
    key_of(u, ":regions", key);
    call_key(&c, key);
    call_int(&c, (long long)u->count);
    call_text(&c, "version");
    call_text(&c, u->version);
    call_text(&c, "platform");
    call_text(&c, u->platform);
    call_text(&c, "build_hash");
    call_text(&c, u->build_hash);
    call_text(&c, "size");
    call_text(&c, u->size);
    call_send(&c, on_finished, u);
}

static bool is_hex(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!(text.at[i] >= '0' && text.at[i] <= '9') && !((text.at[i] | 32) >= 'a' && (text.at[i] | 32) <= 'f'))
            return false;
    return true;
}

static bool read_count(const struct json_members *region, const char *name, long long *out)
{
    struct span value;

    return json_find(region, name, &value) && json_read_integer(value, out) && *out >= 0;
}

/* NULL: the region was added to the call; else what is wrong with it. A string of hexadecimal digits needs no decoding:
   whatever is between its quotes is looked at as it is. */
static const char *add_region(struct upload *u, struct span element, struct json_members *region, struct call *c)
{
    long long offset, length;
    struct span hex = {"", 0};
    struct builder w = {0};

    if (json_kind(element) != JSON_KIND_OBJECT || !json_scan(element, region))
        return NOT_REGIONS;
    if (!read_count(region, "offset", &offset) || !read_count(region, "length", &length))
        return NO_NUMBERS;
    if (json_find(region, "data_hex", &hex) && json_kind(hex) != JSON_KIND_NULL) {
        if (json_kind(hex) != JSON_KIND_STRING)
            return NO_HEX;
        hex = (struct span){hex.at + 1, hex.len - 2};
        if (hex.len != 2 * (size_t)length || !is_hex(hex))
            return NO_HEX;
    } else {
        hex = (struct span){"", 0};
    }
    builder_printf(&u->regions, "%s{\"offset\":%lld,\"length\":%lld}", u->count ? "," : "", offset, length);
    builder_printf(&w, "%lld %lld ", offset, length);
    builder_add(&w, hex);
    call_int(c, (long long)u->count++);
    call_span(c, bytes_span(w.bytes));
    builder_free(&w);
    return NULL;
}

static void on_kept(const struct reply *r, void *arg);

static void next_batch(struct upload *u)
{
    struct call c = call_new(&script_attest_keep);
    struct json_members region = {0};
    struct span element;
    const char *problem = NULL;
    size_t first = u->count;
    char key[KEY_MAX];

    key_uploaded(u, key);
    call_key(&c, key);
    call_int(&c, ABANDONED_MS);
    while (!problem && builder_len(&c.tail) < BATCH_BYTES && u->count - first < BATCH_REGIONS &&
           json_next(&u->rest, &element))
        problem = add_region(u, element, &region, &c);
    json_members_free(&region);
    if (!problem && u->count > first) {
        call_send(&c, on_kept, u);
        return;
    }
    builder_free(&c.tail);
    if (problem || u->count == 0)
        fail(u, problem ? problem : NOT_REGIONS);
    else
        finish(u);
}

static void on_kept(const struct reply *r, void *arg)
{
    if (r)
        next_batch(arg);
    else
        fail(arg, NULL);
}

static bool admit_upload(struct exchange *x)
{
    return require_bearer(x, config->ci_upload_secret, "CI upload not configured");
}

static void handle_upload(struct exchange *x)
{
    const struct value *v = exchange_values(x), *size = &v[3], *regions = &v[4];
    struct upload *u;
    long long n;

    if (!regions->present) {
        exchange_fail(x, 400, NOT_REGIONS);
        return;
    }
    u = turn_begin_http(x, sizeof(*u), upload_clear);
    u->version = mem_dup(v[0].text);
    u->platform = mem_dup(v[1].text);
    u->build_hash = mem_dup(v[2].text);
    u->size = size->present && json_read_integer(size->raw, &n) && n >= 0 ? span_dup(size->raw) : mem_dup("");
    u->rest = json_elements(regions->raw);
    u->body = exchange_take_body(x);
    nonce_new(u->token);
    next_batch(u);
}

const struct http_route references_routes[] = {
    {HTTP_POST, "/attest/upload-reference", "attest_upload_reference", handle_upload, .body_max = BODY_MAX,
     .admit = admit_upload,
     .fields = {{FIELD_ID, "version", .required = true},
                {FIELD_ID, "platform", .required = true},
                {FIELD_ID, "build_hash", .required = true},
                {FIELD_ANY, "size"},
                {FIELD_ARRAY, "critical_regions"}},
     .missing = "Missing required fields: version, platform, build_hash", .cost = {.base = 200, .kib = 12}},
    {0},
};
