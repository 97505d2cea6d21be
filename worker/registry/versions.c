/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/log.h"
#include "signalbox/registry.h"

static bool is_version(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && is_id(text);
}

static bool are_versions(const json_t *value)
{
    const json_t *one;
    size_t i;

    json_array_foreach (value, i, one) {
        if (!is_version(one))
            return false;
    }
    return json_is_array(value);
}

static bool are_dates(const json_t *value)
{
    const char *name;
    json_t *one;

    json_object_foreach ((json_t *)value, name, one) {
        if (!json_is_string(one))
            return false;
    }
    return json_is_object(value);
}

/* In the order of the route's fields. */
static const struct {
    const char *name;
    bool (*holds)(const json_t *value);
} policy_fields[] = {{"minimum_version", is_version},
                     {"recommended_version", is_version},
                     {"blocked_versions", are_versions},
                     {"sunset_dates", are_dates}};
#define POLICY_FIELDS (sizeof(policy_fields) / sizeof(policy_fields[0]))

static json_t *default_policy(void)
{
    return json_pack("{ss ss s[] s{}}", "minimum_version", "1.0.0", "recommended_version", "1.0.0", "blocked_versions",
                     "sunset_dates");
}

/* Takes over what given has; NULL: *wrong is of the wrong type. */
static json_t *policy_from(const json_t *given, const char **wrong)
{
    json_t *policy = default_policy();

    for (size_t i = 0; i < POLICY_FIELDS; i++) {
        json_t *value = json_object_get(given, policy_fields[i].name);

        if (!value || json_is_null(value))
            continue;
        if (!policy_fields[i].holds(value)) {
            *wrong = policy_fields[i].name;
            json_decref(policy);
            return NULL;
        }
        json_object_set(policy, policy_fields[i].name, value);
    }
    return policy;
}

json_t *policy_of(struct span text)
{
    const char *wrong;
    json_t *stored = json_loadb(text.at, text.len, 0, NULL), *policy = policy_from(stored, &wrong);

    json_decref(stored);
    if (policy)
        return policy;
    LOG_WARNING("policy_malformed", LOG_TEXT("field", wrong));
    return default_policy();
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

bool policy_refuses(const json_t *policy, const char *version, char sentence[static REFUSAL_MAX])
{
    const char *minimum = json_string_value(json_object_get(policy, "minimum_version"));

    if (is_blocked(policy, version))
        snprintf(sentence, REFUSAL_MAX, "Version %s has been blocked", version);
    else if (version_compare(version, minimum) < 0)
        snprintf(sentence, REFUSAL_MAX, "Version %s is below minimum required version %s", version, minimum);
    else
        return false;
    return true;
}

bool policy_text_refuses(struct span text, const char *version, char sentence[static REFUSAL_MAX])
{
    json_t *policy = policy_of(text);
    bool refuses = policy_refuses(policy, version, sentence);

    json_decref(policy);
    return refuses;
}

static void on_read(const struct reply *r, void *arg)
{
    struct turn *t = arg;

    if (r)
        turn_reply_json(t, 200, policy_of(reply_span(r)));
    else
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    turn_end(t);
}

static void handle_get(struct exchange *x)
{
    redis_command(on_read, turn_begin_http(x, sizeof(struct turn), NULL), "GET", KEY_POLICY, NULL);
}

struct setting {
    struct turn turn;
    json_t *policy;
};

static void setting_clear(void *arg)
{
    struct setting *s = arg;

    json_decref(s->policy);
}

static void on_set(const struct reply *r, void *arg)
{
    struct setting *s = arg;

    if (r) {
        LOG_INFO("version_policy_set");
        turn_reply_json(&s->turn, 200, json_pack("{sb sO}", "success", 1, "policy", s->policy));
    } else {
        turn_fail(&s->turn, ERR_UNAVAILABLE, NULL);
    }
    turn_end(&s->turn);
}

static bool admit_set(struct exchange *x)
{
    return require_bearer(x, config->ci_upload_secret, "Admin access not configured");
}

/* Takes the reference. */
static void store(struct exchange *x, json_t *policy)
{
    struct setting *s = turn_begin_http(x, sizeof(*s), setting_clear);
    char *text = json_dumps(policy, JSON_COMPACT);

    s->policy = policy;
    redis_command(on_set, s, "SET", KEY_POLICY, text, NULL);
    free(text);
}

/* NULL: one of the values cannot be read. */
static json_t *load(const struct value *values)
{
    json_t *given = json_object();

    for (size_t i = 0; i < POLICY_FIELDS; i++) {
        struct span raw = values[i].raw;

        if (!values[i].present ||
            json_object_set_new(given, policy_fields[i].name, json_loadb(raw.at, raw.len, JSON_DECODE_ANY, NULL)) == 0)
            continue;
        json_decref(given);
        return NULL;
    }
    return given;
}

static void handle_set(struct exchange *x)
{
    const char *wrong = NULL;
    json_t *given = load(exchange_values(x)), *policy = policy_from(given, &wrong);

    if (given && policy)
        store(x, json_incref(policy));
    else if (given)
        fail_field(x, wrong);
    else
        fail_json(x);
    json_decref(policy);
    json_decref(given);
}

const struct http_route versions_routes[] = {
    {HTTP_GET, "/attest/versions", "attest_versions", handle_get, .cost = {.base = 60}},
    {HTTP_POST, "/attest/versions", "attest_versions_set", handle_set, .admit = admit_set,
     .fields = {{FIELD_ANY, "minimum_version"},
                {FIELD_ANY, "recommended_version"},
                {FIELD_ANY, "blocked_versions"},
                {FIELD_ANY, "sunset_dates"}}},
    {0},
};
