/* SPDX-License-Identifier: MIT */
/* The list of servers. It is kept for a second, and built anew when Redis says that a server came or went. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/loop.h"
#include "signalbox/registry.h"

#define KEPT_MS 1000
#define NOT_KNOWN "-"
#define PER_SERVER 3        /* elements of the script's list */
#define BUILD_UNITS_KIB 1.2 /* to read it, to write it, and to sign it */

/* An entry in the body. */
struct place {
    char *id;
    size_t begin, end;
};

struct list_reader {
    struct turn *turn;
    void (*ready)(struct turn *t, bool ok);
    STAILQ_ENTRY(list_reader) next;
};
STAILQ_HEAD(readers, list_reader);

static struct signing_key *bootstrap_key;
static struct {
    struct bytes *body; /* NULL: there is none yet */
    char signature[SIGNATURE_TEXT_MAX];
    struct place *places;
    size_t count;
    char changed[24]; /* number of the change that it shows */
    int64_t until_ms; /* loop_ms() when it has to be read anew */
} list;
static struct readers asking = STAILQ_HEAD_INITIALIZER(asking), waiting = STAILQ_HEAD_INITIALIZER(waiting);
static bool asked; /* Redis, for those in asking. Who comes later waits: the answer may be older than what they know */

static void forget(void)
{
    for (size_t i = 0; i < list.count; i++)
        free(list.places[i].id);
    free(list.places);
    bytes_unref(list.body);
    list.body = NULL;
    list.places = NULL;
    list.count = 0;
}

static void wire_entry(struct builder *b, struct span entry, long long seen_ms)
{
    builder_add(b, entry);
    builder_printf(b, ",\"lastSeen\":%lld}", seen_ms);
}

/* Returns when the first of them ends. */
static long long wire_entries(struct builder *b, const struct reply *entries, long long now)
{
    long long ends = now + KEPT_MS;

    list.places = mem_alloc((reply_count(entries) / PER_SERVER + 1) * sizeof(*list.places));
    for (size_t i = 0; i + PER_SERVER <= reply_count(entries); i += PER_SERVER) {
        struct span entry = reply_span(reply_at(entries, i + 1));
        long long seen = reply_int(reply_at(entries, i + 2));
        struct place *p;

        if (entry.len == 0) /* somebody has meddled with the keys */
            continue;
        builder_text(b, list.count ? "," : "");
        p = &list.places[list.count++];
        p->id = span_dup(reply_span(reply_at(entries, i)));
        p->begin = builder_len(b);
        wire_entry(b, entry, seen);
        p->end = builder_len(b);
        if (seen + config->server_ttl_ms < ends)
            ends = seen + config->server_ttl_ms;
    }
    return ends;
}

static void build(const struct reply *entries, long long now, struct span changed)
{
    struct builder b = {0};

    forget();
    builder_text(&b, "{\"servers\":[");
    list.until_ms = loop_ms() + wire_entries(&b, entries, now) - now;
    builder_printf(&b, "],\"timestamp\":%lld}", now);
    list.body = builder_take(&b);
    snprintf(list.changed, sizeof(list.changed), "%.*s", (int)changed.len, changed.at);
    if (bootstrap_key)
        sign_base64(bootstrap_key, bytes_span(list.body), list.signature);
}

static bool take(const struct reply *r)
{
    const struct reply *entries;
    long long is_new, now;
    struct span changed;

    if (!r || !reply_read(r, "iisr", &is_new, &now, &changed, &entries))
        return false;
    if (is_new) {
        build(entries, now, changed);
        turn_charge(STAILQ_FIRST(&asking)->turn, BUILD_UNITS_KIB * (double)bytes_len(list.body) / 1024);
    }
    return list.body != NULL;
}

static void serve(struct readers *all, bool ok)
{
    struct list_reader *w;

    while ((w = STAILQ_FIRST(all))) {
        STAILQ_REMOVE_HEAD(all, next);
        w->ready(w->turn, ok);
        free(w);
    }
}

static void on_list(const struct reply *r, void *arg);

static void ask(void)
{
    struct call c = call_new(&script_server_list);
    bool known = list.body && loop_ms() < list.until_ms;

    asked = true;
    STAILQ_CONCAT(&asking, &waiting);
    call_key(&c, KEY_SERVERS);
    call_key(&c, KEY_SERVERS_SEEN);
    call_key(&c, KEY_SERVERS_CHANGED);
    call_int(&c, config->server_ttl_ms);
    call_text(&c, known ? list.changed : NOT_KNOWN);
    call_int(&c, config->servers_max);
    call_send(&c, on_list, NULL);
}

/* Where Redis is away, whoever waits hears so at once. */
static void on_list(const struct reply *r, void *arg)
{
    (void)arg;
    serve(&asking, take(r));
    if (!r)
        serve(&waiting, false);
    asked = false;
    if (!STAILQ_EMPTY(&waiting))
        ask();
}

void server_list_read(struct turn *t, void (*ready)(struct turn *t, bool ok))
{
    struct list_reader *w = mem_alloc(sizeof(*w));

    w->turn = t;
    w->ready = ready;
    STAILQ_INSERT_TAIL(&waiting, w, next);
    if (!asked)
        ask();
}

void server_list_reply(struct turn *t)
{
    struct exchange *x = turn_exchange(t);

    if (!x)
        return;
    if (bootstrap_key)
        exchange_add_header(x, "x-bootstrap-signature", list.signature);
    turn_reply(t, 200, bytes_ref(list.body));
}

void server_list_wire_others(struct builder *b, const char *server)
{
    const char *body = bytes_span(list.body).at;
    bool any = false;

    builder_text(b, "[");
    for (size_t i = 0; i < list.count; i++) {
        const struct place *p = &list.places[i];

        if (strcmp(p->id, server) == 0)
            continue;
        builder_text(b, any ? "," : "");
        builder_add(b, (struct span){body + p->begin, p->end - p->begin});
        any = true;
    }
    builder_text(b, "]");
}

void server_list_init(void)
{
    if (*config->bootstrap_signing_key)
        bootstrap_key = signing_key_new(config->bootstrap_signing_key);
}

void server_list_fini(void)
{
    forget();
    signing_key_free(bootstrap_key);
    bootstrap_key = NULL;
}
