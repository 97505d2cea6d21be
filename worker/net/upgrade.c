/* SPDX-License-Identifier: MIT */
#include "signalbox/upgrade.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/attestation.h"
#include "signalbox/config.h"
#include "signalbox/dialect.h"
#include "signalbox/http.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/socket_path.h"
#include "signalbox/websocket.h"

#define KEY_BYTES 16

bool upgrade_is_wanted(const struct http_head *h)
{
    return h->method == HTTP_GET && h->upgrade && http_head_lists(h, "upgrade", "websocket") && !h->chunked &&
           h->body_length == 0;
}

static bool is_version_13(const struct http_head *h)
{
    return http_head_count(h, "sec-websocket-version") == 1 &&
           strcmp(http_head_field(h, "sec-websocket-version").at, "13") == 0;
}

/* The base64 of 16 bytes, in one way. */
static bool is_key(const struct http_head *h)
{
    struct span key = http_head_field(h, "sec-websocket-key");
    unsigned char bytes[KEY_BYTES];
    size_t len;

    return http_head_count(h, "sec-websocket-key") == 1 && key.len == WEBSOCKET_KEY_LEN &&
           sodium_base642bin(bytes, sizeof(bytes), key.at, key.len, NULL, &len, NULL, sodium_base64_VARIANT_ORIGINAL) ==
               0 &&
           len == sizeof(bytes);
}

/* What follows "/signal/" in "/signal/room"; "" in "/signal" and "/signal/". */
static const char *rest_of(const struct http_head *h, const struct socket_path *p)
{
    const char *rest = h->path + strlen(p->path);

    return *rest == '/' ? rest + 1 : rest;
}

/* false: why says why not. */
static bool may_open(const struct upgrade *u, const struct socket_path *path, struct refusal *why)
{
    const char *origin = http_head_field(u->head, "origin").at, *rest = path ? rest_of(u->head, path) : "";
    const struct refusal *own = path && path->dialect->refuse ? path->dialect->refuse(u->ip) : NULL;

    if (u->limit && strcmp(u->limit, "rate") == 0)
        *why = (struct refusal){429, "Too Many Requests", "rate"};
    else if (!path || strlen(rest) > ID_MAX)
        *why = (struct refusal){404, "Not Found", "path"};
    else if (!is_version_13(u->head))
        *why = (struct refusal){426, "Upgrade Required", "version"};
    else if (!is_key(u->head))
        *why = (struct refusal){400, "Malformed Sec-WebSocket-Key", "key"};
    else if (u->draining)
        *why = (struct refusal){503, "Service temporarily unavailable", "draining"};
    else if (*origin && !origin_listed(config->allowed_origins, origin))
        *why = (struct refusal){403, "Origin not allowed", "origin"};
    else if (own)
        *why = *own;
    else if (u->limit)
        *why = (struct refusal){429, "Too Many Requests", u->limit};
    else
        return true;
    return false;
}

static struct bytes *refuse(struct upgrade *u, const struct refusal *why)
{
    const struct http_head *h = u->head;

    u->refused = why->reason;
    LOG_INFO("handshake_refused", LOG_TEXT("reason", why->reason), LOG_INT("status", why->status),
             LOG_TEXT("ip", u->ip), LOG_TEXT("path", h->path));
    return http_refusal(why->status, why->sentence, h);
}

struct bytes *upgrade_open(struct upgrade *u)
{
    const struct http_head *h = u->head;
    const struct socket_path *path = socket_path_of(h);
    struct refusal why;
    char *tokens, *argument;
    size_t tokens_len;

    if (!may_open(u, path, &why))
        return refuse(u, &why);
    tokens = attestation_tokens(h, &tokens_len);
    argument = path->dialect->argument ? http_head_argument(h, path->dialect->argument) : NULL;
    websocket_open(u->transport, &(struct websocket_opening){.path = path,
                                                             .rest = rest_of(h, path),
                                                             .argument = argument ? argument : "",
                                                             .tokens = tokens,
                                                             .ip = u->ip,
                                                             .key = http_head_field(h, "sec-websocket-key").at,
                                                             .early = u->early});
    sodium_memzero(tokens, tokens_len);
    free(tokens);
    free(argument);
    return NULL;
}
