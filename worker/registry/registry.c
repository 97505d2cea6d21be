/* SPDX-License-Identifier: MIT */
#include "signalbox/registry.h"

#include <stdio.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/dialect.h"
#include "signalbox/json.h"
#include "signalbox/log.h"

/* The scanner sees to UTF-8, depth and numbers, as it does for messages. */
json_t *request_json(struct exchange *x)
{
    struct span body = exchange_body(x);
    struct json_members members = {0};
    json_t *json = json_scan(body, &members) ? json_loadb(body.at, body.len, 0, NULL) : NULL;

    json_members_free(&members);
    if (!json)
        exchange_fail(x, 400, "Invalid JSON body");
    return json;
}

const char *json_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && *text ? text : NULL;
}

bool is_id(const char *text)
{
    return *text && strlen(text) <= ID_MAX && !has_control(span_of(text));
}

void fail_field(struct exchange *x, const char *field)
{
    char sentence[64];

    snprintf(sentence, sizeof(sentence), "Invalid field: %s", field);
    exchange_fail(x, 400, sentence);
}

void unauthorized(struct exchange *x)
{
    LOG_WARNING("auth_refused", LOG_TEXT("path", exchange_path(x)));
    exchange_fail(x, 401, "Unauthorized");
}

bool require_bearer(struct exchange *x, const char *secret, const char *not_configured)
{
    if (!*secret)
        exchange_fail(x, 503, not_configured);
    else if (exchange_has_bearer(x, secret))
        return true;
    else
        unauthorized(x);
    return false;
}

void registry_init(void)
{
    servers_init();
    versions_init();
    devices_init();
    references_init();
    challenges_init();
}

void registry_fini(void)
{
    servers_fini();
    devices_fini();
}
