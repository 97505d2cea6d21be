/* SPDX-License-Identifier: MIT */
#include "signalbox/signal.h"

#include <stdlib.h>

#include "signalbox/app.h"
#include "signalbox/json_read.h"
#include "signalbox/pairing.h"

#define DEFAULT_ROOM "default"
#define REQUESTS_MOST 1000 /* open to one code; the spec sets no limit for this dialect */

static void on_registered(const struct turn *t, const struct caller *c, enum registered result)
{
    struct builder w = {0};

    if (result == REGISTERED) {
        builder_text(&w, "{\"type\":\"registered\"");
        builder_member(&w, "pairingCode", c->code);
        builder_text(&w, "}");
        turn_send(t, builder_take(&w));
    } else {
        turn_fail(t, registered_error(result), NULL);
    }
}

static enum err handle_code_register(struct session *s, const struct message *m)
{
    const struct value *code = &m->values[0], *key = &m->values[1];
    char text[ID_MAX + 1];
    size_t len;

    if (!code->present || !json_read_string(code->raw, text, sizeof(text), &len) || len == 0 ||
        has_control((struct span){text, len}))
        return ERR_CODE_INVALID;
    if (key->present) {
        char *raw = span_dup(key->raw);
        caller_register(s, text, raw, on_registered);
        free(raw);
    } else {
        caller_register(s, text, "null", on_registered);
    }
    return ERR_NONE;
}

static enum err handle_forward(struct session *s, const struct message *m)
{
    struct caller *c = caller_of(s);
    struct builder w = {0};

    if (!c->code)
        return ERR_NOT_REGISTERED;
    wire_forward(&w, m->type, c->code, m->values[1].raw);
    caller_forward(s, m->values[0].text, &w);
    return ERR_NONE;
}

static enum err handle_pair_request(struct session *s, const struct message *m)
{
    const struct value *target = &m->values[0], *name = &m->values[1];
    struct caller *c = caller_of(s);
    struct builder w = {0};

    if (!c->code)
        return ERR_NOT_REGISTERED;
    if (!caller_may_ask(c))
        return ERR_PAIR_RATE;
    builder_text(&w, "{\"type\":\"pair_request\"");
    builder_member(&w, "from", c->code);
    builder_text(&w, ",\"publicKey\":");
    builder_text(&w, c->public_key);
    if (name->present) {
        builder_text(&w, ",\"proposedName\":");
        builder_add(&w, name->raw);
    }
    builder_text(&w, "}");
    pairing_ask(s, target->text, REQUESTS_MOST, &w, NULL);
    return ERR_NONE;
}

static void on_answered(const struct turn *t, const struct pairing_answer *a)
{
    if (a->result == PAIRING_NONE)
        turn_fail(t, ERR_NO_REQUEST, NULL);
    else if (a->result == PAIRING_UNHEARD)
        turn_fail(t, ERR_TARGET_NOT_FOUND, NULL);
    else if (a->result == PAIRING_UNAVAILABLE)
        turn_fail(t, ERR_UNAVAILABLE, NULL);
}

static enum err answer(struct session *s, const struct message *m, bool accepted)
{
    struct caller *c = caller_of(s);
    struct builder w = {0};

    if (!c->code)
        return ERR_NOT_REGISTERED;
    builder_printf(&w, "{\"type\":\"%s\"", m->type);
    builder_member(&w, "from", c->code);
    if (accepted) {
        builder_text(&w, ",\"publicKey\":");
        builder_text(&w, c->public_key);
    }
    builder_text(&w, "}");
    pairing_answer(s, m->values[0].text, accepted, &w, on_answered);
    return ERR_NONE;
}

static enum err handle_pair_accept(struct session *s, const struct message *m)
{
    return answer(s, m, true);
}

static enum err handle_pair_reject(struct session *s, const struct message *m)
{
    return answer(s, m, false);
}

#define FORWARD_ROW(name)                                                                                              \
    {                                                                                                                  \
        name, handle_forward, {{FIELD_ID, "target", .required = true}, {FIELD_ANY, "payload", .required = true}},      \
            .missing = ERR_TARGET_FIELDS, .cost = COST_OF_FORWARD                                                      \
    }

static const struct message_type types[] = {
    {"register",
     handle_code_register,
     {{FIELD_ANY, "pairingCode"}, {FIELD_TEXT, "publicKey", .most = PUBLIC_KEY_MAX}},
     .cost = {.base = 115, .told = 7}},
    {"pair_request",
     handle_pair_request,
     {{FIELD_ID, "target", "targetCode", .required = true}, {FIELD_TEXT, "proposedName", .most = ID_MAX}},
     .cost = {.base = 40}},
    {"pair_accept", handle_pair_accept, {{FIELD_ID, "target", "targetCode", .required = true}}, .cost = {.base = 50}},
    {"pair_reject", handle_pair_reject, {{FIELD_ID, "target", "targetCode", .required = true}}, .cost = {.base = 50}},
    FORWARD_ROW("offer"),
    FORWARD_ROW("answer"),
    FORWARD_ROW("ice_candidate"),
    {"ping", handle_ping, {{FIELD_NONE}}, .gate = GATE_NEVER},
};

static void on_open(struct session *s, const struct opening *o)
{
    caller_open(s, *o->rest ? o->rest : DEFAULT_ROOM);
}

static const struct dialect dialect = {"signal", types, sizeof(types) / sizeof(types[0]), wire_error, on_open};

static void init(void)
{
    callers_init();
    pairing_init();
    app_init();
}

static const struct socket_path paths[] = {
    {"/signal", "signal", &dialect}, {"/client", "client", &app_dialect}, {"/", "app", &app_dialect}, {0}};
static const struct entry_kind *const kinds[] = {&caller_kind, &caller_answer_kind, &pairing_kind, &linking_kind, NULL};
static const struct schedule *const schedules[] = {&pairing_schedule, &linking_schedule, NULL};

const struct domain signal_domain = {
    .name = "signal",
    .paths = paths,
    .kinds = kinds,
    .schedules = schedules,
    .on_session_end = callers_on_session_end,
    .init = init,
    .fini = app_fini,
};
