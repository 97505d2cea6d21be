/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/heartbeat.h"
#include "signalbox/keys.h"
#include "signalbox/metrics.h"
#include "signalbox/ownership.h"
#include "signalbox/reaper.h"
#include "signalbox/relay.h"
#include "signalbox/rendezvous.h"
#include "signalbox/script.h"

#define ENTRIES_KEPT 64

const struct meeting_kind meeting_day = {"day", {KEY_DAYS, KEY_DAY_COUNTS}};
const struct meeting_kind meeting_hour = {"hour", {KEY_HOURS, KEY_HOUR_COUNTS}};

struct matched {
    char *peer;
    UT_hash_handle hh;
};

static struct metric *matches;

void registering_free(void *arg)
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

/* Those whose entry had to go for a newer one. */
static void on_dropped(const struct meeting *m, const struct reply *dropped)
{
    for (size_t i = 0; i < reply_count(dropped); i++) {
        char entry[ENTRY_MAX];
        const char *entries[] = {entry};

        snprintf(entry, sizeof(entry), "%s\t%s", m->point, reply_span(reply_at(dropped, i)).at);
        tally_remove(&m->kind->tally, 1, entries);
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
    bool kept = m->kind == &meeting_day && config->dead_drops_on_disconnect == DEAD_DROPS_KEEP;

    if (!line_end)
        return;
    address_text = (struct span){value.at, (size_t)(line_end - value.at)};
    text = (struct span){line_end + 1, value.len - address_text.len - 1};
    if (!address_parse(address_text, &holder) || (!kept && !worker_alive(holder.wid)))
        return;
    if (m->kind == &meeting_hour)
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

static long long ttl_of(const struct meeting_kind *kind)
{
    return kind == &meeting_day ? config->daily_ttl_ms : config->hourly_ttl_ms;
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
    call_int(&c, ttl_of(m->kind));
    call_int(&c, ENTRIES_KEPT);
    call_send(&c, on_met, m);
    builder_free(&value);
}

static void tally_meetings(const struct registering *r, const struct meeting_kind *kind)
{
    const char **entries = mem_alloc((r->count + 1) * sizeof(*entries));
    size_t n = 0;

    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == kind)
            entries[n++] = r->meetings[i].entry + strlen(kind->word) + 1;
    tally_add(&kind->tally, ttl_of(kind), n, entries);
    free(entries);
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
    tally_meetings(r, &meeting_day);
    tally_meetings(r, &meeting_hour);
    for (size_t i = 0; i < r->count; i++)
        meet(&r->meetings[i]);
}

enum err handle_register_rendezvous(struct session *s, const struct message *m)
{
    struct registering *r = mem_alloc(sizeof(*r));
    struct note *notes;
    const char *wrong;
    size_t noted = 0;
    enum err e;

    r->session = session_id_of(s);
    wrong = registering_read(r, m);
    if (wrong) {
        registering_free(r);
        session_fail(s, ERR_INVALID_FIELD, wrong);
        return ERR_NONE;
    }
    notes = mem_alloc((r->count + 1) * sizeof(*notes));
    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == &meeting_hour || config->dead_drops_on_disconnect == DEAD_DROPS_REMOVE)
            notes[noted++] = (struct note){r->meetings[i].entry, ttl_of(r->meetings[i].kind)};
    e = peer_claim(CLAIM_IF_NEW, s, r->peer, noted, notes, meet_all, registering_free, r);
    free(notes);
    return e;
}

/* An entry that is being undone: off the list once it is known to have been there. */
struct leaving {
    const struct meeting_kind *kind;
    char *entry; /* point TAB peer */
};

static void on_left(const struct reply *r, void *arg)
{
    struct leaving *l = arg;
    long long removed;

    if (r && reply_read(r, "i", &removed) && removed)
        tally_remove(&l->kind->tally, 1, (const char *const *)&l->entry);
    free(l->entry);
    free(l);
}

static void undo(const struct meeting_kind *kind, const char *rest, const struct address *holder)
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
    undo(&meeting_day, rest, holder);
}

static void undo_hour(const char *rest, const struct address *holder)
{
    undo(&meeting_hour, rest, holder);
}

static void let_ended_go(void)
{
    tally_count(&meeting_day.tally, NULL, NULL);
    tally_count(&meeting_hour.tally, NULL, NULL);
}

void rendezvous_init(void)
{
    static const struct entry_kind day = {"day", undo_day, NULL, NULL};
    static const struct entry_kind hour = {"hour", undo_hour, NULL, NULL};

    matches = metric_counter("signalbox_rendezvous_matches_total", "Live matches of hourly tokens");
    ownership_add_kind(&day);
    ownership_add_kind(&hour);
    reaper_add_job(let_ended_go);
}
