/* SPDX-License-Identifier: MIT */
/* What a client's RTCPeerConnection takes as iceServers. */
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/front.h"
#include "signalbox/loop.h"

static json_t *urls_of(const char *list)
{
    json_t *urls = json_array();

    for (const char *at = list; *at;) {
        size_t len = strcspn(at, ", ");

        if (len > 0)
            json_array_append_new(urls, json_stringn(at, len));
        at += len + (at[len] != '\0');
    }
    return urls;
}

/* draft-uberti-behave-turn-rest-00, section 2.2 */
static void add_credentials(json_t *server, const char *client, const char *secret)
{
    struct builder username = {0};
    char credential[HMAC_SHA1_TEXT_MAX];

    builder_printf(&username, "%lld:%s", (long long)clock_ms() / 1000 + config->turn_ttl_seconds, client);
    hmac_sha1_base64(span_of(secret), bytes_span(username.bytes), credential);
    json_object_set_new(server, "username",
                        json_stringn(bytes_span(username.bytes).at, bytes_span(username.bytes).len));
    json_object_set_new(server, "credential", json_string(credential));
    builder_free(&username);
}

/* Takes the reference to urls. */
static void add_server(json_t *servers, json_t *urls, const char *client, const char *secret)
{
    json_t *server;

    if (json_array_size(urls) == 0) {
        json_decref(urls);
        return;
    }
    server = json_pack("{so}", "urls", urls);
    if (*secret)
        add_credentials(server, client, secret);
    json_array_append_new(servers, server);
}

json_t *wire_ice_servers(const char *client)
{
    json_t *servers = json_array();

    add_server(servers, urls_of(config->stun_servers), client, "");
    add_server(servers, urls_of(config->turn_servers), client, config->turn_secret);
    return servers;
}
