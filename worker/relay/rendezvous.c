/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/identity.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/metrics.h"
#include "signalbox/relay.h"
#include "signalbox/rendezvous.h"
#include "signalbox/script.h"

#define ENTRIES_KEPT 64
#define RESULT_BYTES_MAX (8 << 20) /* of others' entries in one result, shared by its points */

const struct meeting_kind meeting_day = {"day", {KEY_DAYS, KEY_DAY_COUNTS}};
const struct meeting_kind meeting_hour = {"hour", {KEY_HOURS, KEY_HOUR_COUNTS}};

struct matched {
    char *peer;
    UT_hash_handle hh;
};

static struct metric *matches, *left_out;

static long long ttl_of(const struct meeting_kind *kind)
{
    return kind == &meeting_day ? config->daily_ttl_ms : config->hourly_ttl_ms;
}

static void registering_clear(void *arg)
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
}

/* Those whose entry had to go for a newer one, as "address peer". */
static void on_dropped(const struct meeting *m, const struct reply *dropped)
{
    for (size_t i = 0; i < reply_count(dropped); i++) {
        char *entry = tally_entry_new(m->point, reply_span(reply_at(dropped, i)));

        tally_remove(&m->kind->tally, 1, (const char *const *)&entry);
        free(entry);
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

/* value is "address since LF text". An entry of a dead worker is gone, unless drops are kept for peers that are
   offline. */
static void on_other(struct registering *r, const struct meeting *m, const char *peer, struct span value)
{
    const char *space = memchr(value.at, ' ', value.len), *line_end = memchr(value.at, '\n', value.len);
    struct span text;
    struct address holder;
    bool kept = m->kind == &meeting_day && config->dead_drops_on_disconnect == DEAD_DROPS_KEEP;

    if (!space || !line_end || !address_parse((struct span){value.at, (size_t)(space - value.at)}, &holder))
        return;
    if (!kept && !worker_alive(holder.wid))
        return;
    text = (struct span){line_end + 1, (size_t)(value.at + value.len - line_end - 1)};
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

static long long longest_ttl(const struct registering *r)
{
    long long longest = 0;

    for (size_t i = 0; i < r->count; i++)
        if (ttl_of(r->meetings[i].kind) > longest)
            longest = ttl_of(r->meetings[i].kind);
    return longest;
}

/* The others are told even if this session has left meanwhile: its clean-up comes behind. */
static void finish(struct registering *r)
{
    struct session *s = turn_session(&r->turn);
    struct builder w = {0};

    if (s && r->count && r->failed == ERR_NONE)
        index_stored(s, longest_ttl(r));
    metric_add(matches, (double)r->target_count);
    if (r->target_count)
        delivery_send(r->match, r->target_count, r->targets, r->turn.session);
    for (size_t i = 0; i < r->target_count; i++)
        free((char *)r->targets[i].entry);
    if (r->failed != ERR_NONE) {
        turn_fail(&r->turn, r->failed, NULL);
    } else {
        wire_result(&w, r);
        turn_send(&r->turn, builder_take(&w));
    }
    turn_end(&r->turn);
}

static void meet(struct meeting *m);

static void read_met(struct meeting *m, const struct reply *reply)
{
    const struct reply *others, *dropped;
    long long current, omitted;

    if (!reply || !reply_read(reply, "irri", &current, &others, &dropped, &omitted)) {
        m->owner->failed = ERR_UNAVAILABLE;
        return;
    }
    if (!current)
        m->owner->failed = ERR_PEER_IN_USE;
    for (size_t i = 0; i + 1 < reply_count(others); i += 2)
        on_other(m->owner, m, reply_span(reply_at(others, i)).at, reply_span(reply_at(others, i + 1)));
    on_dropped(m, dropped);
    metric_add(left_out, (double)omitted);
    if (omitted)
        LOG_WARNING("rendezvous_result_cut", LOG_INT("entries", omitted));
}

static void on_met(const struct reply *reply, void *arg)
{
    struct meeting *m = arg;
    struct registering *r = m->owner;

    read_met(m, reply);
    r->answers++;
    if (r->sent < r->count)
        meet(&r->meetings[r->sent++]);
    else if (r->answers == r->count)
        finish(r);
}

static void meet(struct meeting *m)
{
    struct registering *r = m->owner;
    struct call c = call_new(&script_rendezvous_meet);
    char key[KEY_MAX], address[ADDRESS_MAX];

    self_address_text(r->turn.session, address);
    key_point(key, m->kind->word, m->point);
    call_key(&c, key);
    key_point_ends(key, m->kind->word, m->point);
    call_key(&c, key);
    call_text(&c, r->peer);
    call_text(&c, address);
    call_int(&c, r->since_ms);
    call_span(&c, m->text ? bytes_span(m->text) : (struct span){"", 0});
    call_int(&c, ttl_of(m->kind));
    call_int(&c, ENTRIES_KEPT);
    call_int(&c, RESULT_BYTES_MAX / (long long)r->count);
    call_send(&c, on_met, m);
}

static void tally_meetings(const struct registering *r, const struct meeting_kind *kind)
{
    const char **entries = mem_alloc((r->count + 1) * sizeof(*entries));
    struct address self = self_address(r->turn.session);
    size_t n = 0;

    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == kind)
            entries[n++] = tally_entry_at(r->meetings[i].point, &self, r->peer);
    tally_add(&kind->tally, ttl_of(kind), n, entries);
    for (size_t i = 0; i < n; i++)
        free((char *)entries[i]);
    free(entries);
}

/* Many go out at once, so that a message of usual size takes one round trip; a big one leaves room for others. */
static void meet_all(struct session *s, void *arg)
{
    struct registering *r = arg;

    if (r->count == 0) {
        finish(r);
        return;
    }
    r->since_ms = identity_since(s, &peer_kind, r->peer);
    tally_meetings(r, &meeting_day);
    tally_meetings(r, &meeting_hour);
    while (r->sent < r->count && r->sent < CALLS_AT_ONCE)
        meet(&r->meetings[r->sent++]);
}

enum err handle_register_rendezvous(struct session *s, const struct message *m)
{
    struct registering *r = turn_begin(s, sizeof(*r), registering_clear);
    struct note *notes;
    const char *wrong;
    size_t noted = 0;

    wrong = registering_read(r, m);
    if (wrong) {
        turn_fail(&r->turn, ERR_INVALID_FIELD, wrong);
        turn_end(&r->turn);
        return ERR_NONE;
    }
    notes = mem_alloc((r->count + 1) * sizeof(*notes));
    for (size_t i = 0; i < r->count; i++)
        if (r->meetings[i].kind == &meeting_hour || config->dead_drops_on_disconnect == DEAD_DROPS_REMOVE)
            notes[noted++] = (struct note){r->meetings[i].entry, ttl_of(r->meetings[i].kind)};
    peer_claim(CLAIM_IF_NEW, &r->turn, r->peer, noted, notes, meet_all);
    free(notes);
    return ERR_NONE;
}

static void undo(const struct meeting_kind *kind, const char *rest, const struct address *holder)
{
    const char *tab = strchr(rest, '\t');
    struct call c = call_new(&script_rendezvous_leave);
    char key[KEY_MAX], address[ADDRESS_MAX], *point, *entry;

    if (!tab)
        return;
    point = span_dup((struct span){rest, (size_t)(tab - rest)});
    address_format(holder, address);
    key_point(key, kind->word, point);
    call_key(&c, key);
    key_point_ends(key, kind->word, point);
    call_key(&c, key);
    call_text(&c, tab + 1);
    call_text(&c, address);
    call_send(&c, NULL, NULL);
    entry = tally_entry_at(point, holder, tab + 1);
    tally_remove(&kind->tally, 1, (const char *const *)&entry);
    free(entry);
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

/* A match was not told: it is an error of this dialect, also on a socket of one that has joined it. */
static void on_unavailable(const char *rest, session_id from)
{
    struct session *s = session_find(from);

    (void)rest;
    if (s)
        session_fail_as(s, wire_error, "", ERR_UNAVAILABLE, NULL);
}

void rendezvous_let_ended_go(void)
{
    tally_tidy(&meeting_day.tally);
    tally_tidy(&meeting_hour.tally);
}

const struct entry_kind day_kind = {"day", undo_day};
const struct entry_kind hour_kind = {"hour", undo_hour, .on_unavailable = on_unavailable};

void rendezvous_init(void)
{
    matches = metric_counter("signalbox_rendezvous_matches_total", "Live matches of hourly tokens");
    left_out = metric_counter("signalbox_rendezvous_left_out_total", "Entries that did not fit in a result");
}
