/* SPDX-License-Identifier: MIT */
#include "signalbox/dialect.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "signalbox/attestation.h"
#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/keys.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define SENT_KEY_MAX 64
#define TYPE_MAX 4096 /* bytes; an unknown one is told back */
#define TOKEN_MOST 8192

/* The counters of one row, or of a dialect's unknown types. */
struct counted {
    const void *row;
    struct metric *messages, *cost;
    UT_hash_handle hh;
};

/* The counter of one type of message that a dialect sends. */
struct sent {
    char key[SENT_KEY_MAX]; /* where the dialect's name is, and behind that the type */
    struct metric *messages;
    UT_hash_handle hh;
};

static const struct field type_field = {FIELD_TEXT, "type", NULL, true, 0, TYPE_MAX};
static struct json_names names;            /* that any dialect looks for */
static struct json_members members;        /* of `unread`, once it is read */
static const struct json_members *at_hand; /* of the message at hand; NULL: there is none, or it is malformed */
static struct span unread;                 /* a message that is refused: it is read when it is asked for a member */
static struct texts texts;                 /* of the message at hand */
static struct counted *counted;
static struct sent *sent;
static struct metric_family *messages_in, *messages_out, *failures;
static struct metric *bytes_in, *bytes_out, *unattested;

/* --- session tokens --- */

static bool show(struct session *s, struct span token)
{
    int64_t until_ms;

    if (!attestation_holds(token, &until_ms))
        return false;
    *session_attested_until(s) = until_ms;
    return true;
}

bool is_attested(struct session *s)
{
    return config->require_attestation != ATTESTATION_ALL || *session_attested_until(s) > clock_ms();
}

/* REQUIRE_ATTESTATION (docs/design.md, "The registry and attestation") */
static bool passes_gate(struct session *s, const struct message_type *row)
{
    bool gated = (config->require_attestation == ATTESTATION_ALL && row->gate != GATE_NEVER) ||
                 (config->require_attestation == ATTESTATION_CHUNKS && row->gate == GATE_CHUNKS);

    if (!gated || *session_attested_until(s) > clock_ms())
        return true;
    metric_add(unattested, 1);
    return false;
}

static enum err handle_attest(struct session *s, const struct message *m)
{
    struct builder w = {0};

    if (!show(s, (struct span){m->values[0].text, m->values[0].len}))
        return ERR_NOT_ATTESTED;
    builder_printf(&w, "{\"type\":\"attested\",\"expires_at\":%lld}", (long long)*session_attested_until(s));
    session_send(s, builder_take(&w));
    if (session_dialect(s)->on_attested)
        session_dialect(s)->on_attested(s);
    return ERR_NONE;
}

/* In every dialect. */
static const struct message_type attest_row = {"attest",
                                               handle_attest,
                                               {{FIELD_TEXT, "token", .required = true, .most = TOKEN_MOST}},
                                               .wire_error = wire_error,
                                               .gate = GATE_NEVER};

/* --- names and rows --- */

static void add_name(const char *name)
{
    if (name)
        json_names_add(&names, name);
}

static void add_names(const struct message_type *row)
{
    add_name(row->only_with);
    fields_add_names(row->fields, &names);
}

static void add_dialect(const struct dialect *d)
{
    for (const char *const *name = d->members; name && *name; name++)
        add_name(*name);
    for (size_t i = 0; i < d->count; i++)
        add_names(&d->types[i]);
}

void dialect_init(void)
{
    members.only = &names;
    add_name(type_field.name);
    add_names(&attest_row);
    for (const struct domain *const *d = domains; *d; d++)
        for (const struct socket_path *p = (*d)->paths; p && p->path; p++)
            add_dialect(p->dialect);
    messages_in = metric_family(METRIC_COUNTER, "signalbox_messages_in_total", "Messages received", "dialect type");
    messages_out =
        metric_family(METRIC_COUNTER, "signalbox_messages_out_total", "Messages sent to clients", "dialect type");
    failures = metric_family(METRIC_COUNTER, "signalbox_message_errors_total", "Messages answered with an error",
                             "dialect error");
    bytes_in = metric_counter("signalbox_bytes_in_total", "Bytes of messages received");
    bytes_out = metric_counter("signalbox_bytes_out_total", "Bytes of messages sent to clients");
    unattested = metric_counter("signalbox_unattested_messages_total", "Messages refused by REQUIRE_ATTESTATION");
    attestation_init();
}

void dialect_fini(void)
{
    struct counted *c, *next;
    struct sent *out, *next_out;

    HASH_ITER (hh, counted, c, next) {
        HASH_DEL(counted, c);
        free(c);
    }
    HASH_ITER (hh, sent, out, next_out) {
        HASH_DEL(sent, out);
        free(out);
    }
    json_members_free(&members);
    json_names_free(&names);
    texts_free(&texts);
}

const struct json_names *dialect_names(void)
{
    return &names;
}

struct message_type *dialect_join(struct dialect *d, const struct message_type *own, size_t count,
                                  const struct dialect *other)
{
    struct message_type *types = mem_alloc((count + other->count) * sizeof(*types));

    memcpy(types, own, count * sizeof(*types));
    memcpy(types + count, other->types, other->count * sizeof(*types));
    d->types = types;
    d->count = count + other->count;
    for (size_t i = count; i < d->count; i++)
        if (!types[i].wire_error)
            types[i].wire_error = other->wire_error;
    return types;
}

static struct counted *counters(const void *row, const char *dialect, const char *type)
{
    struct counted *c;

    HASH_FIND_PTR(counted, &row, c);
    if (!c) {
        c = mem_alloc(sizeof(*c));
        c->row = row;
        c->messages = metric_series(messages_in, dialect, type);
        c->cost = cost_counter(dialect, type);
        HASH_ADD_PTR(counted, row, c);
    }
    return c;
}

/* Every message of ours begins with its type. */
static struct metric *sent_series(const char *dialect, struct span message)
{
    static const struct span prefix = {"{\"type\":\"", sizeof("{\"type\":\"") - 1};
    const char *type = message.at + prefix.len, *end = NULL;
    char key[SENT_KEY_MAX] = "", *key_type = key + sizeof(dialect);
    struct sent *found;

    if (message.len > prefix.len && memcmp(message.at, prefix.at, prefix.len) == 0)
        end = memchr(type, '"', message.len - prefix.len);
    memcpy(key, &dialect, sizeof(dialect));
    if (end && end < type + sizeof(key) - sizeof(dialect))
        memcpy(key_type, type, (size_t)(end - type));
    HASH_FIND(hh, sent, key, sizeof(key), found);
    if (!found) {
        found = mem_alloc(sizeof(*found));
        memcpy(found->key, key, sizeof(key));
        found->messages = metric_series(messages_out, dialect, key_type);
        HASH_ADD(hh, sent, key, sizeof(key), found);
    }
    return found->messages;
}

void session_charge_for(struct session *s, const struct message_type *row, double units)
{
    if (units == 0)
        return;
    metric_add(counters(row, session_dialect(s)->name, row->type)->cost, units);
    session_charge(s, units);
}

/* While a message of its own is at hand, what a session is sent is the answer. */
static void on_sent(struct session *s, struct span message)
{
    const struct message_type *row = *session_row(s);

    if (row)
        session_charge_for(s, row, cost_of_reply(&row->cost, message.len));
    metric_add(sent_series(session_dialect(s)->name, message), 1);
    metric_add(bytes_out, (double)message.len);
}

void session_fail_as(struct session *s, error_form form, const char *request_id, enum err e, const char *detail)
{
    struct builder text = {0};

    metric_add(metric_series(failures, session_dialect(s)->name, err_name(e)), 1);
    if (strstr(err_text(e), "%s")) {
        size_t before = (size_t)(strstr(err_text(e), "%s") - err_text(e));
        builder_add(&text, (struct span){err_text(e), before});
        builder_text(&text, detail ? detail : "");
        builder_text(&text, err_text(e) + before + 2);
    } else {
        builder_text(&text, err_text(e));
    }
    builder_add(&text, (struct span){"", 1});
    session_send(s, form(e, bytes_span(text.bytes).at, request_id));
    builder_free(&text);
}

void session_answer(struct session *s, const struct message_type *row, struct bytes *b)
{
    const struct message_type *before = *session_row(s);

    *session_row(s) = row;
    session_send(s, b);
    *session_row(s) = before;
}

error_form session_error_form(struct session *s)
{
    const struct message_type *row = *session_row(s);

    return row && row->wire_error ? row->wire_error : session_dialect(s)->wire_error;
}

void session_fail(struct session *s, enum err e, const char *detail)
{
    session_fail_as(s, session_error_form(s), NULL, e, detail);
}

bool message_member(const char *name, struct span *value)
{
    if (unread.len > 0 && json_scan(unread, &members))
        at_hand = &members;
    unread = (struct span){0};
    return at_hand && json_find(at_hand, name, value);
}

char *request_id_dup(void)
{
    struct span value;
    char id[ID_MAX + 1];
    size_t len;

    return message_member("request_id", &value) && json_read_string(value, id, sizeof(id), &len) ? span_dup(value)
                                                                                                 : mem_dup("");
}

static enum err read_field(const struct field *f, struct value *v)
{
    enum fault fault = field_read(f, at_hand, &texts, v);

    if (fault == FAULT_NONE)
        return ERR_NONE;
    return fault == FAULT_ABSENT ? ERR_MISSING_FIELD : ERR_INVALID_FIELD;
}

static bool has_member(const char *name)
{
    struct span value;

    return json_find(at_hand, name, &value) && json_kind(value) != JSON_KIND_NULL;
}

static const struct message_type *find_type(const struct dialect *d, const char *type)
{
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->types[i].type, type) == 0 && (!d->types[i].only_with || has_member(d->types[i].only_with)))
            return &d->types[i];
    return strcmp(type, attest_row.type) == 0 ? &attest_row : NULL;
}

/* Up to as many as its handler looks at. */
static size_t count_items(const struct field *f, const struct value *v)
{
    struct span rest, element;
    size_t n = 0;

    if (!v->present || json_kind(v->raw) != JSON_KIND_ARRAY)
        return 0;
    for (rest = json_elements(v->raw); n < (size_t)f->most && json_next(&rest, &element); n++)
        ;
    return n;
}

/* That it was read is paid for. */
static bool afford(struct session *s, const struct message *m, const struct message_type *row, struct counted *c)
{
    size_t items = 0;
    double units;

    for (size_t i = 0; row->cost.item > 0 && i < FIELDS_MAX; i++)
        items += count_items(&row->fields[i], &m->values[i]);
    units = cost_least(&row->cost, items, m->frame.len);
    if (!session_afford(s, units))
        return false;
    metric_add(c->cost, units);
    return true;
}

static enum err dispatch(struct session *s, struct span frame, const char **detail)
{
    const struct dialect *d = session_dialect(s);
    struct message m = {.frame = frame};
    const struct message_type *row;
    struct counted *c;
    struct value type = {0};
    enum err e;

    *detail = type_field.name;
    e = read_field(&type_field, &type);
    row = e == ERR_NONE ? find_type(d, type.text) : NULL;
    c = counters(row ? (const void *)row : d, d->name, row ? row->type : "unknown");
    metric_add(c->messages, 1);
    metric_add(c->cost, cost_of_text(frame.len));
    if (e != ERR_NONE)
        return e;
    *detail = type.text;
    *session_row(s) = row;
    if (!row)
        return ERR_UNKNOWN_TYPE;
    if (!passes_gate(s, row))
        return ERR_NOT_ATTESTED;
    e = row->needs ? row->needs(s) : ERR_NONE;
    if (e != ERR_NONE)
        return e;
    for (size_t i = 0, count = fields_count(row->fields); i < count; i++) {
        *detail = row->fields[i].name;
        e = read_field(&row->fields[i], &m.values[i]);
        if (e == ERR_MISSING_FIELD && row->missing != ERR_NONE)
            return row->missing;
        if (e != ERR_NONE)
            return e;
    }
    *detail = NULL;
    m.type = row->type;
    return afford(s, &m, row, c) ? row->handle(s, &m) : ERR_RATE_LIMIT;
}

static void on_text(struct session *s, struct span frame, const struct json_members *m)
{
    const char *detail = NULL;
    enum err e = ERR_PARSE;

    metric_add(bytes_in, (double)frame.len);
    *session_row(s) = NULL;
    at_hand = m;
    if (at_hand) {
        texts_begin(&texts, frame.len);
        e = dispatch(s, frame, &detail);
    }
    if (e != ERR_NONE)
        session_fail(s, e, detail);
    at_hand = NULL;
    *session_row(s) = NULL;
}

/* It costs little: it is read only if the answer needs a member. */
static void on_over_rate(struct session *s, struct span frame)
{
    unread = frame;
    session_fail_as(s, session_dialect(s)->wire_error, NULL, ERR_RATE_LIMIT, NULL);
    unread = (struct span){0};
    at_hand = NULL;
}

struct session *dialect_open(const struct dialect *d, struct lws *wsi, const char *ip)
{
    static const struct session_ops ops = {&names, on_text, on_over_rate, on_sent};

    return session_new(wsi, ip, &ops, d, d->most);
}

void dialect_opened(struct session *s, const struct opening *o, const char *tokens)
{
    const struct dialect *d = session_dialect(s);

    for (const char *token = tokens; *token; token += strlen(token) + 1)
        show(s, span_of(token));
    if (d->on_open)
        d->on_open(s, o);
}

struct bytes *wire_error(enum err e, const char *text, const char *request_id)
{
    struct builder w = {0};

    (void)request_id;
    builder_text(&w, "{\"type\":\"error\",\"message\":");
    builder_json(&w, span_of(text));
    builder_text(&w, e == ERR_NOT_ATTESTED ? ",\"code\":\"NOT_ATTESTED\"}" : "}");
    return builder_take(&w);
}

enum err handle_ping(struct session *s, const struct message *m)
{
    (void)m;
    session_send(s, bytes_copy(SPAN("{\"type\":\"pong\"}")));
    return ERR_NONE;
}
