/* SPDX-License-Identifier: MIT */
/* toy: a dialect that is in no other file than this and domains.c beside it. A socket of /toy takes names, and says
   things under them to whoever has another name. */
#include <stdio.h>
#include <stdlib.h>

#include "signalbox/config.h"
#include "signalbox/dialect.h"
#include "signalbox/domain.h"
#include "signalbox/forward.h"
#include "signalbox/identity.h"
#include "signalbox/turn.h"

#define KIND "toy"

extern const struct domain toy_domain;
static const struct entry_kind toy_kind;

static void key_toy(char out[static KEY_MAX], const char *name)
{
    snprintf(out, KEY_MAX, "%s{toy:%s}", config->redis_prefix, name);
}

static struct bytes *wire_toy(const char *type, const char *name)
{
    struct builder w = {0};

    builder_text(&w, "{");
    builder_member(&w, "type", type);
    builder_member(&w, "name", name);
    builder_text(&w, "}");
    return builder_take(&w);
}

struct taking {
    struct turn turn;
    char *name;
};

static void taking_clear(void *arg)
{
    struct taking *t = arg;

    free(t->name);
}

static void on_claimed(struct session *s, enum claim_result result, void *arg)
{
    struct taking *t = arg;

    if (s && result == CLAIM_UNAVAILABLE)
        identity_release(s, &toy_kind, t->name);
    if (result == CLAIM_GRANTED)
        turn_send(&t->turn, wire_toy("taken", t->name));
    else
        turn_fail(&t->turn, claim_error(result), NULL);
    turn_end(&t->turn);
}

static enum err handle_take(struct session *s, const struct message *m)
{
    struct taking *t = turn_begin(s, sizeof(*t), taking_clear);

    t->name = mem_dup(m->values[0].text);
    identity_claim(&t->turn, &toy_kind, t->name, 0, 0, NULL, on_claimed, t);
    return ERR_NONE;
}

static enum err handle_let_go(struct session *s, const struct message *m)
{
    const char *name = m->values[0].text;

    if (!identity_held(s, &toy_kind, name))
        return ERR_NOT_REGISTERED;
    identity_release(s, &toy_kind, name);
    session_send(s, wire_toy("let_go", name));
    return ERR_NONE;
}

static enum err handle_say(struct session *s, const struct message *m)
{
    const char *name = m->values[0].text, *target = m->values[1].text;
    char key[KEY_MAX], entry[ENTRY_MAX];
    struct builder w = {0};
    struct bytes *b;

    if (!identity_held(s, &toy_kind, name))
        return ERR_NOT_REGISTERED;
    builder_text(&w, "{\"type\":\"said\"");
    builder_member(&w, "from", name);
    builder_text(&w, ",\"what\":");
    builder_add(&w, m->values[2].raw);
    builder_text(&w, "}");
    b = builder_take(&w);
    key_toy(key, target);
    snprintf(entry, sizeof(entry), KIND "\t%s", target);
    forward_send(key, entry, entry, b, session_id_of(s));
    bytes_unref(b);
    return ERR_NONE;
}

static void undo(const char *name, const struct address *holder)
{
    identity_undo(&toy_kind, name, holder);
}

static void on_not_found(const char *name, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    (void)name;
    (void)holder;
    if (s)
        session_fail(s, ERR_TARGET_NOT_FOUND, NULL);
}

#define NAME                                                                                                           \
    {                                                                                                                  \
        FIELD_ID, "name", .required = true                                                                             \
    }

static const struct message_type types[] = {
    {"take", handle_take, {NAME}},
    {"let_go", handle_let_go, {NAME}},
    {"say", handle_say, {NAME, {FIELD_ID, "to", .required = true}, {FIELD_ANY, "what", .required = true}}},
    {"ping", handle_ping, {{FIELD_NONE}}, .gate = GATE_NEVER},
};
static const struct dialect dialect = {
    .name = "toy", .types = types, .count = sizeof(types) / sizeof(types[0]), .wire_error = wire_error};

static const struct socket_path paths[] = {{"/toy", "toy", &dialect}, {0}};
static const struct entry_kind toy_kind = {KIND, undo, .key = key_toy, .on_not_found = on_not_found};
static const struct entry_kind *const kinds[] = {&toy_kind, NULL};

const struct domain toy_domain = {.name = "toy", .paths = paths, .kinds = kinds};
