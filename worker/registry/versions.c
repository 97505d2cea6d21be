/* SPDX-License-Identifier: MIT */
#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/registry.h"

#include <stdlib.h>

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

static json_t *default_policy(void)
{
    return json_pack("{ss ss s[] s{}}", "minimum_version", "1.0.0", "recommended_version", "1.0.0", "blocked_versions",
                     "sunset_dates");
}

/* Takes over what given has; NULL: *wrong is of the wrong type. */
static json_t *policy_from(const json_t *given, const char **wrong)
{
    static const struct {
        const char *name;
        bool (*holds)(const json_t *value);
    } fields[] = {{"minimum_version", is_version},
                  {"recommended_version", is_version},
                  {"blocked_versions", are_versions},
                  {"sunset_dates", are_dates}};
    json_t *policy = default_policy();

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        json_t *value = json_object_get(given, fields[i].name);

        if (!value || json_is_null(value))
            continue;
        if (!fields[i].holds(value)) {
            *wrong = fields[i].name;
            json_decref(policy);
            return NULL;
        }
        json_object_set(policy, fields[i].name, value);
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

static void on_read(const struct reply *r, void *arg)
{
    struct exchange *x = exchange_find((exchange_id)(uintptr_t)arg);

    if (x && !r)
        exchange_unavailable(x);
    else if (x)
        exchange_reply_json(x, 200, policy_of(reply_span(r)));
}

static void handle_get(struct exchange *x)
{
    redis_command(on_read, (void *)(uintptr_t)exchange_id_of(x), "GET", KEY_POLICY, NULL);
}

struct setting {
    exchange_id exchange;
    json_t *policy;
};

static void on_set(const struct reply *r, void *arg)
{
    struct setting *s = arg;
    struct exchange *x = exchange_find(s->exchange);

    if (r)
        LOG_INFO("version_policy_set");
    if (x && !r)
        exchange_unavailable(x);
    else if (x)
        exchange_reply_json(x, 200, json_pack("{sb sO}", "success", 1, "policy", s->policy));
    json_decref(s->policy);
    free(s);
}

static bool admit_set(struct exchange *x)
{
    return require_bearer(x, config->ci_upload_secret, "Admin access not configured");
}

static void handle_set(struct exchange *x)
{
    const char *wrong = NULL;
    struct setting *s;
    json_t *body, *policy;
    char *text;

    if (!(body = request_json(x)))
        return;
    policy = policy_from(body, &wrong);
    json_decref(body);
    if (!policy) {
        fail_field(x, wrong);
        return;
    }
    s = mem_alloc(sizeof(*s));
    *s = (struct setting){exchange_id_of(x), policy};
    text = json_dumps(policy, JSON_COMPACT);
    redis_command(on_set, s, "SET", KEY_POLICY, text, NULL);
    free(text);
}

const struct http_route versions_routes[] = {
    {HTTP_GET, "/attest/versions", "attest_versions", handle_get},
    {HTTP_POST, "/attest/versions", "attest_versions_set", handle_set, .admit = admit_set},
    {0},
};
