/* SPDX-License-Identifier: MIT */
#include "signalbox/app.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/json_scan.h"
#include "signalbox/pairing.h"
#include "signalbox/relay.h"

#define CODE_LEN 6
#define ALPHABET "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
#define KEY_TEXT_MAX 64
#define REQUESTS_MOST 10 /* open to one code */
#define NOT_PROCESSED "Pair request could not be processed"
#define NAME_MAX_BYTES 256
#define SDP_MAX 65536 /* bytes */

static struct message_type *types; /* ours, then the relay's */

bool is_pairing_code(struct span value, char code[static CODE_LEN + 1])
{
    size_t len;

    return json_read_string(value, code, CODE_LEN + 1, &len) && len == CODE_LEN && strspn(code, ALPHABET) == CODE_LEN;
}

bool is_public_key(struct span value)
{
    unsigned char key[crypto_sign_PUBLICKEYBYTES];
    char text[KEY_TEXT_MAX];
    const char *end;
    size_t len, bytes;

    return json_read_string(value, text, sizeof(text), &len) &&
           sodium_base642bin(key, sizeof(key), text, len, NULL, &bytes, &end, sodium_base64_VARIANT_ORIGINAL) == 0 &&
           bytes == sizeof(key) && end == text + len;
}

const char *server_id(void)
{
    return *config->node_id ? config->node_id : self_wid();
}

static struct bytes *wire_pair_error(const char *text)
{
    struct builder w = {0};

    builder_text(&w, "{\"type\":\"pair_error\"");
    builder_member(&w, "error", text);
    builder_text(&w, "}");
    return builder_take(&w);
}

static void on_open(struct session *s, const struct opening *o)
{
    struct builder w = {0};

    (void)o;
    caller_open(s, APP_ROOM);
    builder_text(&w, "{\"type\":\"server_info\"");
    builder_member(&w, "serverId", server_id());
    builder_member(&w, "endpoint", config->public_url);
    builder_member(&w, "region", config->region);
    builder_text(&w, "}");
    session_send(s, builder_take(&w));
}

/* --- register --- */

static void on_registered(const struct turn *t, const struct caller *c, enum registered result)
{
    struct builder w = {0};

    if (result == REGISTERED_UNAVAILABLE || result == REGISTERED_REFUSED) {
        turn_fail(t, registered_error(result), NULL);
        return;
    }
    if (result == REGISTERED) {
        builder_text(&w, "{\"type\":\"registered\"");
        builder_member(&w, "pairingCode", c->code);
        builder_member(&w, "serverId", server_id());
    } else {
        builder_text(&w, "{\"type\":\"code_collision\"");
        builder_member(&w, "message", err_text(ERR_CODE_IN_USE));
    }
    builder_text(&w, "}");
    turn_send(t, builder_take(&w));
}

static enum err handle_code_register(struct session *s, const struct message *m)
{
    char code[CODE_LEN + 1], *key;

    if (!is_pairing_code(m->values[0].raw, code))
        return ERR_CODE_FORMAT;
    if (!is_public_key(m->values[1].raw))
        return ERR_KEY_FORMAT;
    key = span_dup(m->values[1].raw);
    caller_register(s, code, key, on_registered);
    free(key);
    return ERR_NONE;
}

/* --- pairing --- */

static void on_unwanted(const struct turn *t)
{
    turn_send(t, wire_pair_error(NOT_PROCESSED));
}

static enum err handle_pair_request(struct session *s, const struct message *m)
{
    const struct value *name = &m->values[1];
    struct caller *c = caller_of(s);
    char target[CODE_LEN + 1];
    struct builder w = {0};

    if (!c->code)
        return ERR_REGISTER_FIRST;
    if (!is_pairing_code(m->values[0].raw, target))
        return ERR_TARGET_FORMAT;
    if (!caller_may_ask(c))
        return ERR_PAIR_RATE;
    if (strcmp(target, c->code) == 0) {
        session_send(s, wire_pair_error(NOT_PROCESSED));
        return ERR_NONE;
    }
    builder_text(&w, "{\"type\":\"pair_incoming\"");
    builder_member(&w, "fromCode", c->code);
    builder_printf(&w, ",\"fromPublicKey\":%s,\"expiresIn\":%lld", c->public_key, config->pair_timeout_ms);
    if (name->present) {
        builder_text(&w, ",\"proposedName\":");
        builder_add(&w, name->raw);
    }
    builder_text(&w, "}");
    pairing_ask(s, target, REQUESTS_MOST, &w, on_unwanted);
    return ERR_NONE;
}

static void wire_matched(struct builder *w, const char *peer, const char *public_key, bool initiator)
{
    builder_text(w, "{\"type\":\"pair_matched\"");
    builder_member(w, "peerCode", peer);
    builder_printf(w, ",\"peerPublicKey\":%s,\"isInitiator\":%s}", public_key, initiator ? "true" : "false");
}

static void on_answered(const struct turn *t, const struct pairing_answer *a)
{
    struct builder w = {0};

    if (a->result == PAIRING_NONE) {
        turn_send(t, wire_pair_error(err_text(ERR_NO_REQUEST)));
    } else if (a->result == PAIRING_UNHEARD) {
        turn_fail(t, ERR_PEER_NOT_FOUND, a->requester);
    } else if (a->result == PAIRING_UNAVAILABLE) {
        turn_fail(t, ERR_UNAVAILABLE, NULL);
    } else if (a->tag) {
        wire_matched(&w, a->requester, a->public_key, false);
        turn_send(t, builder_take(&w));
    }
}

static enum err handle_pair_response(struct session *s, const struct message *m)
{
    struct span accepted = m->values[1].raw;
    struct caller *c = caller_of(s);
    char requester[CODE_LEN + 1];
    struct builder w = {0};

    if (!c->code)
        return ERR_REGISTER_FIRST;
    if (!is_pairing_code(m->values[0].raw, requester))
        return ERR_TARGET_FORMAT;
    if (json_kind(accepted) != JSON_KIND_BOOL) {
        session_fail(s, ERR_INVALID_FIELD, "accepted");
        return ERR_NONE;
    }
    if (span_is(accepted, "true")) {
        wire_matched(&w, c->code, c->public_key, true);
    } else {
        builder_text(&w, "{\"type\":\"pair_rejected\"");
        builder_member(&w, "peerCode", c->code);
        builder_text(&w, "}");
    }
    pairing_answer(s, requester, span_is(accepted, "true"), &w, on_answered);
    return ERR_NONE;
}

static enum err handle_forward(struct session *s, const struct message *m)
{
    struct caller *c = caller_of(s);
    struct builder w = {0};

    if (!c->code)
        return ERR_REGISTER_FIRST;
    wire_forward(&w, m->type, c->code, m->values[1].raw);
    caller_forward(s, m->values[0].text, &w);
    return ERR_NONE;
}

#define TO_PEER(name, handler)                                                                                         \
    {                                                                                                                  \
        name, handler, {{FIELD_ID, "target", .required = true}, {FIELD_ANY, "payload", .required = true}},             \
            .cost = COST_OF_FORWARD                                                                                    \
    }

static const struct message_type own_types[] = {
    {"register",
     handle_code_register,
     {{FIELD_ANY, "pairingCode", .required = true}, {FIELD_ANY, "publicKey", .required = true}},
     .only_with = "pairingCode",
     .cost = {.base = 70}},
    {"pair_request",
     handle_pair_request,
     {{FIELD_ANY, "targetCode", "target", .required = true}, {FIELD_TEXT, "proposedName", .most = NAME_MAX_BYTES}},
     .cost = {.base = 70}},
    {"pair_response",
     handle_pair_response,
     {{FIELD_ANY, "targetCode", "target", .required = true}, {FIELD_ANY, "accepted", .required = true}},
     .cost = {.base = 70}},
    TO_PEER("offer", handle_forward),
    TO_PEER("answer", handle_forward),
    TO_PEER("ice_candidate", handle_forward),
    TO_PEER("call_offer", handle_call),
    TO_PEER("call_answer", handle_call),
    TO_PEER("call_reject", handle_call),
    TO_PEER("call_hangup", handle_call),
    TO_PEER("call_ice", handle_call),
    {"link_request",
     handle_link_request,
     {{FIELD_ANY, "linkCode", .required = true},
      {FIELD_ANY, "publicKey", .required = true},
      {FIELD_TEXT, "deviceName", .most = NAME_MAX_BYTES}},
     .cost = {.base = 60}},
    {"link_response",
     handle_link_response,
     {{FIELD_ANY, "linkCode", .required = true}, {FIELD_ANY, "accepted", .required = true}, {FIELD_ID, "deviceId"}},
     .cost = {.base = 60}},
};

/* --- calls --- */

static bool is_uuid_v4(const char *text, size_t len)
{
    static const char form[] = "xxxxxxxx-xxxx-4xxx-Vxxx-xxxxxxxxxxxx";

    if (len != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *allowed = form[i] == 'x'   ? "0123456789abcdefABCDEF"
                              : form[i] == 'V' ? "89abAB"
                              : form[i] == '4' ? "4"
                                               : "-";
        if (!text[i] || !strchr(allowed, text[i]))
            return false;
    }
    return true;
}

/* ERR_NONE, or what is wrong with a member of the payload that is to be a string of at most `most` bytes, and of no
   more than SDP_MAX. */
static enum err check_text(const struct json_members *payload, const char *name, size_t most)
{
    static char text[SDP_MAX + 1];
    struct span value;
    size_t len;
    bool ok;

    if (!json_find(payload, name, &value) || json_kind(value) == JSON_KIND_NULL || span_is(value, "\"\""))
        return ERR_MISSING_FIELD;
    ok = json_read_string(value, text, most + 1, &len);
    return ok && (strcmp(name, "callId") != 0 || is_uuid_v4(text, len)) ? ERR_NONE : ERR_INVALID_FIELD;
}

static enum err check_call(const char *type, struct span payload, const char **field)
{
    static const struct {
        const char *type, *field;
        size_t most;
    } rows[] = {{"call_offer", "sdp", SDP_MAX}, {"call_answer", "sdp", SDP_MAX}, {"call_ice", "candidate", 1024}};
    struct json_members members = {.only = dialect_names()};
    enum err e = ERR_INVALID_FIELD;

    *field = "payload";
    if (json_kind(payload) == JSON_KIND_OBJECT && json_members_of(payload, SIZE_MAX, &members)) {
        *field = "callId";
        e = check_text(&members, "callId", KEY_TEXT_MAX);
        for (size_t i = 0; e == ERR_NONE && i < sizeof(rows) / sizeof(rows[0]); i++) {
            if (strcmp(rows[i].type, type) != 0)
                continue;
            *field = rows[i].field;
            e = check_text(&members, rows[i].field, rows[i].most);
        }
    }
    json_members_free(&members);
    return e;
}

enum err handle_call(struct session *s, const struct message *m)
{
    const char *field;
    enum err e;

    if (!caller_of(s)->code)
        return ERR_REGISTER_FIRST;
    e = check_call(m->type, m->values[1].raw, &field);
    if (e == ERR_NONE)
        return handle_forward(s, m);
    session_fail(s, e, field);
    return ERR_NONE;
}

static const char *const members[] = {"callId", "sdp", "candidate", NULL};
struct dialect app_dialect = {.name = "app", .wire_error = wire_error, .on_open = on_open, .members = members};

void app_init(void)
{
    types = dialect_join(&app_dialect, own_types, sizeof(own_types) / sizeof(own_types[0]), &relay_dialect);
}

void app_fini(void)
{
    free(types);
    types = NULL;
}
