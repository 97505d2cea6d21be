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

#define MATCH_BYTES 256 /* that are kept for a match, beside its texts */

const struct meeting_kind meeting_day = {DAYS, "day", {KEY_DAYS, KEY_DAY_COUNTS}};
const struct meeting_kind meeting_hour = {HOURS, "hour", {KEY_HOURS, KEY_HOUR_COUNTS}};
const struct meeting_kind *const meeting_kinds[] = {&meeting_day, &meeting_hour};

struct matched {
    char *peer;
    UT_hash_handle hh;
};

static struct metric *matches, *left_out;

long long meeting_ttl(const struct meeting_kind *kind)
{
    return kind == &meeting_day ? config->daily_ttl_ms : config->hourly_ttl_ms;
}

bool meeting_outlives(const struct meeting_kind *kind)
{
    return kind == &meeting_day && config->dead_drops_on_disconnect == DEAD_DROPS_KEEP;
}

static void registering_clear(void *arg)
{
    struct registering *r = arg;
    struct matched *m, *next;

    registering_give_back(r);
    registering_free_found(r);
    bytes_unref(r->shared);
    for (size_t i = 0; i < r->count; i++) {
        free(r->meetings[i].point);
        bytes_unref(r->meetings[i].text);
    }
    HASH_ITER (hh, r->matched, m, next) {
        HASH_DEL(r->matched, m);
        free(m->peer);
        free(m);
    }
    for (size_t i = 0; i < r->target_count; i++)
        free((char *)r->targets[i].entry);
    free(r->targets);
    free(r->meetings);
    bytes_unref(r->match);
    builder_free(&r->live);
    builder_free(&r->drops);
    free(r->peer);
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
    turn_keeps(&r->turn, MATCH_BYTES + strlen(entry) + strlen(peer));
}

/* value is "address since LF text". An entry of a dead worker is gone, unless drops are kept for peers that are
   offline. */
size_t registering_add(const struct meeting *m, const char *peer, struct span value)
{
    const char *space = memchr(value.at, ' ', value.len), *line_end = memchr(value.at, '\n', value.len);
    struct span text;
    struct address holder;

    if (!space || !line_end || !address_parse((struct span){value.at, (size_t)(space - value.at)}, &holder))
        return 0;
    if (!meeting_outlives(m->kind) && !worker_alive(holder.wid))
        return 0;
    text = (struct span){line_end + 1, (size_t)(value.at + value.len - line_end - 1)};
    if (m->kind == &meeting_hour)
        add_match(m->owner, m, peer, &holder, text);
    else if (text.len && *text.at == '@')
        return registering_refer(m->owner, text.at + 1);
    else if (text.len)
        registering_add_drop(m->owner, text);
    return 0;
}

void registering_add_drop(struct registering *r, struct span text)
{
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
        if (meeting_ttl(r->meetings[i].kind) > longest)
            longest = meeting_ttl(r->meetings[i].kind);
    return longest;
}

static void answer(struct registering *r)
{
    struct builder w = {0};

    metric_add(left_out, (double)r->left_out);
    if (r->left_out)
        LOG_WARNING("rendezvous_result_cut", LOG_INT("entries", r->left_out));
    if (r->failed != ERR_NONE) {
        turn_fail(&r->turn, r->failed, NULL);
    } else {
        wire_result(&w, r);
        turn_send(&r->turn, builder_take(&w));
    }
    turn_end(&r->turn);
}

/* The others are told even if this session has left meanwhile: its clean-up comes behind. */
static void on_met(struct registering *r)
{
    struct session *s = turn_session(&r->turn);

    if (s && r->count && r->failed == ERR_NONE)
        index_stored(s, longest_ttl(r));
    metric_add(matches, (double)r->target_count);
    if (r->target_count)
        delivery_send(r->match, r->target_count, r->targets, r->turn.session);
    registering_look_up(r, answer);
}

static void begin(struct session *s, void *arg)
{
    struct registering *r = arg;

    if (r->count == 0) {
        answer(r);
        return;
    }
    r->since_ms = identity_since(s, &peer_kind, r->peer);
    registering_meet(r, on_met);
}

/* Entries at points that outlive their socket are not undone with it. */
static void claim(struct registering *r)
{
    struct note *notes = mem_alloc((r->count + 2) * sizeof(*notes));
    char entry[ENTRY_MAX];
    size_t noted = 0;

    for (size_t i = 0; i < r->count; i++) {
        const struct meeting *m = &r->meetings[i];

        if (meeting_outlives(m->kind))
            continue;
        snprintf(entry, sizeof(entry), "%s\t%s\t%s", m->kind->word, m->point, r->peer);
        notes[noted++] = (struct note){mem_dup(entry), meeting_ttl(m->kind)};
    }
    if (r->shared && !meeting_outlives(&meeting_day)) {
        drop_entry(r, entry);
        notes[noted++] = (struct note){mem_dup(entry), meeting_ttl(&meeting_day)};
    }
    peer_claim(CLAIM_IF_NEW, &r->turn, r->peer, noted, notes, begin);
    for (size_t i = 0; i < noted; i++)
        free((char *)notes[i].entry);
    free(notes);
}

enum err handle_register_rendezvous(struct session *s, const struct message *m)
{
    struct registering *r = turn_begin(s, sizeof(*r), registering_clear);
    const char *wrong = registering_read(r, m);

    if (wrong) {
        turn_fail(&r->turn, ERR_INVALID_FIELD, wrong);
        turn_end(&r->turn);
        return ERR_NONE;
    }
    turn_keeps(&r->turn, m->frame.len + r->count * sizeof(*r->meetings));
    registering_count(r, claim);
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

/* The one that is told nothing is a match of the sender's, which may register again. */
static void on_busy(const char *rest, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    (void)rest, (void)holder;
    if (s)
        session_fail_as(s, wire_error, "", ERR_TARGET_BUSY, NULL);
}

void rendezvous_let_ended_go(void)
{
    tally_tidy(&meeting_day.tally);
    tally_tidy(&meeting_hour.tally);
}

const struct entry_kind day_kind = {"day", undo_day};
const struct entry_kind hour_kind = {"hour", undo_hour, .on_unavailable = on_unavailable, .on_busy = on_busy};

void rendezvous_init(void)
{
    matches = metric_counter("signalbox_rendezvous_matches_total", "Live matches of hourly tokens");
    left_out = metric_counter("signalbox_rendezvous_left_out_total", "Entries that did not fit in a result");
    meetings_init();
}
