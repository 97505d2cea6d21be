/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "signalbox/json_scan.h"
#include "signalbox/room.h"

#define NAME_MOST 256 /* bytes of a display_name */
#define IP_MOST 64

static bool read_text(struct span value, size_t most)
{
    char text[NAME_MOST + 1];
    size_t len;

    return json_read_string(value, text, sizeof(text), &len) && len <= most && strlen(text) == len;
}

/* Adds {"ip":…,"port":…}; false: it is not one. */
static bool wire_endpoint(struct builder *w, struct span value)
{
    struct json_members endpoint = {.only = dialect_names()};
    struct span ip, port_text;
    long long port;
    bool ok = json_kind(value) == JSON_KIND_OBJECT && json_members_of(value, SIZE_MAX, &endpoint) &&
              json_find(&endpoint, "ip", &ip) && read_text(ip, IP_MOST) && json_find(&endpoint, "port", &port_text) &&
              json_read_integer(port_text, &port) && port >= 0 && port <= 65535;

    if (ok) {
        builder_text(w, ",\"endpoint\":{\"ip\":");
        builder_add(w, ip);
        builder_printf(w, ",\"port\":%lld}", port);
    }
    json_members_free(&endpoint);
    return ok;
}

static bool find_given(const struct json_members *payload, const char *name, struct span *value)
{
    return json_find(payload, name, value) && json_kind(*value) != JSON_KIND_NULL;
}

bool wire_peer_info(struct builder *w, const char *id, const struct value *payload, const char **field)
{
    struct json_members members = {.only = dialect_names()};
    struct span value;
    bool ok = true, given = payload->present && json_kind(payload->raw) == JSON_KIND_OBJECT &&
                            json_members_of(payload->raw, SIZE_MAX, &members);

    builder_printf(w, "{\"peer_id\":\"%s\"", id);
    if (given && find_given(&members, "display_name", &value)) {
        *field = "display_name";
        ok = read_text(value, NAME_MOST);
        builder_text(w, ",\"display_name\":");
        builder_add(w, value);
    }
    if (ok && given && find_given(&members, "endpoint", &value)) {
        *field = "endpoint";
        ok = wire_endpoint(w, value);
    }
    json_members_free(&members);
    return ok;
}
