/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/heartbeat.h"
#include "signalbox/keys.h"
#include "signalbox/metrics.h"
#include "signalbox/ownership.h"
#include "signalbox/reaper.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

#define POINTS_MAX 256
#define DEAD_DROP_MAX 16384
#define ENTRIES_KEPT 64
#define CENSUS_LIMIT 1000

/* The two kinds of meetings. */
struct kind {
    const char *word;
    const char *list_key, *counts_key;
};
static const struct kind days = {"day", KEY_DAYS, KEY_DAY_COUNTS};
static const struct kind hours = {"hour", KEY_HOURS, KEY_HOUR_COUNTS};

/* One point or token of a message: where it is in the index of its socket, and what is left there for others. */
struct meeting {
    const struct kind *kind;
    char *entry; /* kind TAB point TAB peer; the list of all has it without the kind */
    char *point;
    struct bytes *text; /* what another peer gets of it in its result; NULL: nothing */
    struct registering *owner;
};

struct matched {
    char *peer;
    UT_hash_handle hh;
};

struct registering {
    session_id session;
    char *peer;
    struct bytes *match; /* what the others get */
    size_t count, answers;
    struct meeting *meetings;
    bool failed;
    struct builder live, drops;
    struct matched *matched;
    struct target *targets;
    size_t target_count;
};

static struct metric *matches;

static void registering_free(void *arg)
{
    struct registering *r = arg;
    struct matched *m, *next;

    for (size_t i = 0; i < r->count; i++) {
        free(r->meetings[i].entry);
        free(r->meetings[i].point);
        bytes_unref(r->meetings[i].text);
    }
    HASH_ITER (hh, r->matched, m, next) {
        HASH_DEL(r->matched, m);
        free(m->peer);
        free(m);
    }
    free(r->targets);
    free(r->meetings);
    bytes_unref(r->match);
    builder_free(&r->live);
    builder_free(&r->drops);
    free(r->peer);
    free(r);
}

static void wire_match(struct builder *w, const char *peer, struct span relay_id)
{
    builder_text(w, "{\"peerId\":");
    builder_json(w, span_of(peer));
    builder_text(w, ",\"relayId\":");
    builder_add(w, relay_id);
    builder_text(w, "}");
}

static void wire_drop(struct builder *w, const char *peer, struct span drop, struct span relay_id)
{
    builder_text(w, "{\"peerId\":");
    builder_json(w, span_of(peer));
    builder_text(w, ",\"deadDrop\":");
    builder_add(w, drop);
    builder_text(w, ",\"relayId\":");
    builder_add(w, relay_id);
    builder_text(w, "}");
}

static void count_off(const struct kind *kind, size_t count, const char *const *entries)
{
    struct call c = call_new(&script_rendezvous_unlist);

    call_key(&c, kind->list_key);
    call_key(&c, kind->counts_key);
    for (size_t i = 0; i < count; i++)
        call_text(&c, entries[i]);
    call_send(&c, NULL, NULL);
}

/* Those whose entry had to go for a newer one. */
static void on_dropped(const struct meeting *m, const struct reply *dropped)
{
    for (size_t i = 0; i < reply_count(dropped); i++) {
        char entry[ENTRY_MAX];
        const char *entries[] = {entry};

        snprintf(entry, sizeof(entry), "%s\t%s", m->point, reply_span(reply_at(dropped, i)).at);
        count_off(m->kind, 1, entries);
    }
}

static bool first_match(struct registering *r, const char *peer)
{
    struct matched *m;

    HASH_FIND_STR(r->matched, peer, m);
    if (m)
        return false;
    m = mem_alloc(sizeof(*m));
    m->peer = mem_dup(peer);
    HASH_ADD_KEYPTR(hh, r->matched, m->peer, strlen(m->peer), m);
    return true;
}

static void add_element(struct builder *list, struct span text)
{
    if (builder_len(list))
        builder_text(list, ",");
    builder_add(list, text);
}

static void add_match(struct registering *r, const struct meeting *m, const char *peer, const struct address *holder,
                      struct span text)
{
    char entry[ENTRY_MAX];

    if (!first_match(r, peer))
        return;
    add_element(&r->live, text);
    snprintf(entry, sizeof(entry), "hour\t%s\t%s", m->point, peer);
    r->targets = mem_grow(r->targets, (r->target_count + 1) * sizeof(*r->targets));
    r->targets[r->target_count++] = (struct target){*holder, mem_dup(entry)};
}

/* value is "address LF text". An entry of a dead worker is gone, unless drops are kept for peers that are offline. */
static void on_other(struct registering *r, const struct meeting *m, const char *peer, struct span value)
{
    const char *line_end = memchr(value.at, '\n', value.len);
    struct span text, address_text;
    struct address holder;
    bool kept = m->kind == &days && config->dead_drops_on_disconnect == DEAD_DROPS_KEEP;

    if (!line_end)
        return;
    address_text = (struct span){value.at, (size_t)(line_end - value.at)};
    text = (struct span){line_end + 1, value.len - address_text.len - 1};
    if (!address_parse(address_text, &holder) || (!kept && !worker_alive(holder.wid)))
        return;
    if (m->kind == &hours)
        add_match(r, m, peer, &holder, text);
    else if (text.len)
        add_element(&r->drops, text);
}

static void wire_result(struct builder *w, const struct registering *r)
{
    builder_text(w, "{\"type\":\"rendezvous_result\",\"liveMatches\":[");
    if (r->live.bytes)
        builder_add(w, bytes_span(r->live.bytes));
    builder_text(w, "],\"deadDrops\":[");
    if (r->drops.bytes)
        builder_add(w, bytes_span(r->drops.bytes));
    builder_text(w, "]}");
}

/* The others are told even if this session has left meanwhile: its clean-up comes behind. */
static void finish(struct registering *r)
{
    struct session *s = session_find(r->session);
    struct builder w = {0};

    metric_add(matches, (double)r->target_count);
    if (r->target_count)
        delivery_send(r->match, r->target_count, r->targets, r->session);
    for (size_t i = 0; i < r->target_count; i++)
        free((char *)r->targets[i].entry);
    if (s && r->failed) {
        session_fail(s, ERR_UNAVAILABLE, NULL);
    } else if (s) {
        wire_result(&w, r);
        session_send(s, builder_take(&w));
    }
    if (s)
        session_release(s);
    registering_free(r);
}

static void on_met(const struct reply *reply, void *arg)
{
    struct meeting *m = arg;
    struct registering *r = m->owner;
    const struct reply *others, *dropped;

    if (!reply || !reply_read(reply, "rr", &others, &dropped)) {
        r->failed = true;
    } else {
        for (size_t i = 0; i + 1 < reply_count(others); i += 2)
            on_other(r, m, reply_span(reply_at(others, i)).at, reply_span(reply_at(others, i + 1)));
        on_dropped(m, dropped);
    }
    if (++r->answers == r->count)
        finish(r);
}

static void meet(struct meeting *m)
{
    struct call c = call_new(&script_rendezvous_meet);
    struct builder value = {0};
    char key[KEY_MAX], address[ADDRESS_MAX];

    self_address_text(m->owner->session, address);
    builder_printf(&value, "%s\n", address);
    if (m->text)
        builder_add(&value, bytes_span(m->text));
    key_point(key, m->kind->word, m->point);
    call_key(&c, key);
    key_point_ends(key, m->kind->word, m->point);
    call_key(&c, key);
    call_text(&c, m->owner->peer);
    call_span(&c, bytes_span(value.bytes));
    call_int(&c, m->kind == &days ? config->daily_ttl_ms : config->hourly_ttl_ms);
    call_int(&c, ENTRIES_KEPT);
    call_send(&c, on_met, m);
    builder_free(&value);
}

static void count_on(const struct registering *r, const struct kind *kind, long long ttl_ms)
{
    struct call c = call_new(&script_rendezvous_list);
    size_t entries = 0;

    call_key(&c, kind->list_key);
    call_key(&c, kind->counts_key);
    call_int(&c, ttl_ms);
    for (size_t i = 0; i < r->count; i++) {
        if (r->meetings[i].kind != kind)
            continue;
        call_text(&c, r->meetings[i].entry + strlen(kind->word) + 1);
        entries++;
    }
    if (entries)
        call_send(&c, NULL, NULL);
    else
        builder_free(&c.tail);
}

/* Everything goes out at once: one round trip for the whole message. */
static void meet_all(struct session *s, void *arg)
{
    struct registering *r = arg;

    (void)s;
    if (r->count == 0) {
        finish(r);
        return;
    }
    count_on(r, &days, config->daily_ttl_ms);
    count_on(r, &hours, config->hourly_ttl_ms);
    for (size_t i = 0; i < r->count; i++)
        meet(&r->meetings[i]);
}

static bool is_id(const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (!text || len == 0 || len > ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return true;
}

static bool is_listed(const struct registering *r, const struct kind *kind, const char *point)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == kind && strcmp(r->meetings[i].point, point) == 0)
            return true;
    return false;
}

/* The drop of one point as JSON: its own of deadDrops, else the message's deadDrop; empty: none. */
static struct bytes *text_of_day(const struct registering *r, const struct message *m, const json_t *own_drops,
                                 const char *point, struct span relay_id)
{
    const json_t *own = json_object_get(own_drops, point);
    struct builder drop = {0}, w = {0};

    if (json_string_length(own))
        builder_json(&drop, (struct span){json_string_value(own), json_string_length(own)});
    else if (!own && m->values[3].present)
        builder_add(&drop, m->values[3].raw);
    if (builder_len(&drop))
        wire_drop(&w, r->peer, bytes_span(drop.bytes), relay_id);
    builder_free(&drop);
    return w.bytes ? builder_take(&w) : NULL;
}

static void add_meeting(struct registering *r, const struct kind *kind, const char *point, struct bytes *text)
{
    char entry[ENTRY_MAX];

    snprintf(entry, sizeof(entry), "%s\t%s\t%s", kind->word, point, r->peer);
    r->meetings[r->count++] = (struct meeting){kind, mem_dup(entry), mem_dup(point), text, r};
}

static bool read_points(struct registering *r, const struct message *m, const json_t *points, const json_t *own_drops,
                        const struct kind *kind, struct span relay_id)
{
    size_t i;
    json_t *value;

    if (json_array_size(points) > POINTS_MAX)
        return false;
    json_array_foreach (points, i, value) {
        const char *point = json_string_value(value);
        struct builder w = {0};

        if (!is_id(value))
            return false;
        if (is_listed(r, kind, point))
            continue;
        if (kind == &hours)
            wire_match(&w, r->peer, relay_id);
        add_meeting(r, kind, point, kind == &hours ? builder_take(&w) : text_of_day(r, m, own_drops, point, relay_id));
    }
    return true;
}

static bool are_drops(json_t *drops)
{
    const char *point;
    json_t *drop;

    json_object_foreach (drops, point, drop)
        if (!json_is_null(drop) && (!json_is_string(drop) || json_string_length(drop) > DEAD_DROP_MAX))
            return false;
    return true;
}

static json_t *load(const struct value *v)
{
    return v->present ? json_loadb(v->raw.at, v->raw.len, JSON_ALLOW_NUL, NULL) : NULL;
}

/* The name of the first field that is wrong, or NULL. */
static const char *read_meetings(struct registering *r, const struct message *m, struct span relay_id)
{
    const struct value *v = m->values;
    json_t *points = load(&v[1]), *tokens = load(&v[2]), *drops = load(&v[5]);
    const char *wrong = NULL;

    if (v[5].present && (!drops || !are_drops(drops)))
        wrong = "deadDrops";
    if (v[2].present && (!tokens || !read_points(r, m, tokens, NULL, &hours, relay_id)))
        wrong = "hourlyTokens";
    if (v[1].present && (!points || !read_points(r, m, points, wrong ? NULL : drops, &days, relay_id)))
        wrong = "dailyPoints";
    json_decref(points);
    json_decref(tokens);
    json_decref(drops);
    return wrong;
}

enum err handle_register_rendezvous(struct session *s, const struct message *m)
{
    struct registering *r = mem_alloc(sizeof(*r));
    struct span relay_id = m->values[4].present ? m->values[4].raw : SPAN("null");
    const char **entries, *wrong;
    struct builder w = {0};
    size_t noted = 0;
    enum err e;

    r->session = session_id_of(s);
    r->peer = mem_dup(m->values[0].text);
    r->meetings = mem_alloc(2 * POINTS_MAX * sizeof(*r->meetings));
    wrong = read_meetings(r, m, relay_id);
    if (wrong) {
        registering_free(r);
        session_fail(s, ERR_INVALID_FIELD, wrong);
        return ERR_NONE;
    }
    builder_text(&w, "{\"type\":\"rendezvous_match\",\"match\":");
    wire_match(&w, r->peer, relay_id);
    builder_text(&w, "}");
    r->match = builder_take(&w);
    entries = mem_alloc((r->count + 1) * sizeof(*entries));
    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == &hours || config->dead_drops_on_disconnect == DEAD_DROPS_REMOVE)
            entries[noted++] = r->meetings[i].entry;
    e = peer_claim(s, r->peer, noted, entries, meet_all, registering_free, r);
    free(entries);
    return e;
}

/* An entry that is being undone: off the list once it is known to have been there. */
struct leaving {
    const struct kind *kind;
    char *entry; /* point TAB peer */
};

static void on_left(const struct reply *r, void *arg)
{
    struct leaving *l = arg;
    long long removed;

    if (r && reply_read(r, "i", &removed) && removed)
        count_off(l->kind, 1, (const char *const *)&l->entry);
    free(l->entry);
    free(l);
}

static void undo(const struct kind *kind, const char *rest, const struct address *holder)
{
    const char *tab = strchr(rest, '\t');
    struct call c = call_new(&script_rendezvous_leave);
    char key[KEY_MAX], address[ADDRESS_MAX];
    struct leaving *l;
    char *point;

    if (!tab)
        return;
    point = span_dup((struct span){rest, (size_t)(tab - rest)});
    l = mem_alloc(sizeof(*l));
    *l = (struct leaving){kind, mem_dup(rest)};
    address_format(holder, address);
    key_point(key, kind->word, point);
    call_key(&c, key);
    key_point_ends(key, kind->word, point);
    call_key(&c, key);
    call_text(&c, tab + 1);
    call_text(&c, address);
    call_send(&c, on_left, l);
    free(point);
}

static void undo_day(const char *rest, const struct address *holder)
{
    undo(&days, rest, holder);
}

static void undo_hour(const char *rest, const struct address *holder)
{
    undo(&hours, rest, holder);
}

static void tidy_lists(void)
{
    const struct kind *kinds[] = {&days, &hours};

    for (size_t i = 0; i < 2; i++) {
        struct call c = call_new(&script_rendezvous_census);
        call_key(&c, kinds[i]->list_key);
        call_key(&c, kinds[i]->counts_key);
        call_int(&c, CENSUS_LIMIT);
        call_send(&c, NULL, NULL);
    }
}

void rendezvous_init(void)
{
    static const struct entry_kind day = {"day", undo_day, NULL, NULL};
    static const struct entry_kind hour = {"hour", undo_hour, NULL, NULL};

    matches = metric_counter("signalbox_rendezvous_matches_total", "Live matches of hourly tokens");
    ownership_add_kind(&day);
    ownership_add_kind(&hour);
    reaper_add_job(tidy_lists);
}
