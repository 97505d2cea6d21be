/* SPDX-License-Identifier: MIT */
#include "signalbox/registry.h"

#include "signalbox/log.h"

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

static void init(void)
{
    server_list_init();
    devices_init();
    answers_init();
}

static void fini(void)
{
    server_list_fini();
    devices_fini();
}

static const struct http_route *const routes[] = {
    servers_routes, versions_routes, devices_routes, references_routes, challenges_routes, answers_routes, NULL};

const struct domain registry_domain = {.name = "registry", .routes = routes, .init = init, .fini = fini};
