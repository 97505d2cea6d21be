/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/json_scan.h"
#include "signalbox/relay.h"
#include "signalbox/script.h"

struct announcing {
    struct turn turn;
    struct storing unused; /* of what was taken of the storage */
    char *peer;
    size_t count, sent, answers;
    struct announced {
        struct announcing *owner;
        char *chunk;
        long long until_ms; /* its pull is ours until then; 0: nobody waits, or another was asked */
    } * chunks;
    bool taken, failed;
};

static void announcing_clear(void *arg)
{
    struct announcing *a = arg;

    if (a->taken && a->unused.bytes)
        storage_give_back(&a->turn, &a->unused);
    for (size_t i = 0; i < a->count; i++)
        free(a->chunks[i].chunk);
    free(a->chunks);
    free(a->peer);
}

static void finish_announce(struct announcing *a)
{
    struct session *s = turn_session(&a->turn);
    char holder[HOLDER_MAX];
    struct builder w = {0};

    if (s && a->count && !a->failed)
        index_stored(s, config->chunk_source_ttl_ms);
    holder_of_self(holder, a->turn.session, a->peer);
    if (a->failed) {
        turn_fail(&a->turn, ERR_UNAVAILABLE, NULL);
    } else {
        builder_printf(&w, "{\"type\":\"chunk_announce_ack\",\"registered\":%zu}", a->count);
        turn_send(&a->turn, builder_take(&w));
    }
    for (size_t i = 0; i < a->count; i++)
        if (a->chunks[i].until_ms)
            chunk_asked(a->chunks[i].chunk, holder, a->chunks[i].until_ms);
    turn_end(&a->turn);
}

static void announce(struct announced *c);

static void on_announced(const struct reply *r, void *arg)
{
    struct announced *c = arg;
    struct announcing *a = c->owner;
    long long is_new = 1;

    if (!r || !reply_read(r, "ii", &c->until_ms, &is_new))
        a->failed = true;
    if (is_new)
        a->unused.bytes -= chunk_source_storing(c->chunk, a->peer).bytes;
    a->answers++;
    if (a->sent < a->count)
        announce(&a->chunks[a->sent++]);
    else if (a->answers == a->count)
        finish_announce(a);
}

static void announce(struct announced *chunk)
{
    struct call c = call_new(&script_chunk_announce);
    char holder[HOLDER_MAX];

    call_chunk_keys(&c, chunk->chunk, "src rest wait pull tried");
    holder_of_self(holder, chunk->owner->turn.session, chunk->owner->peer);
    call_text(&c, holder);
    call_int(&c, config->chunk_source_ttl_ms);
    call_int(&c, config->chunk_pull_timeout_ms);
    call_send(&c, on_announced, chunk);
}

static void tally_sources(const struct announcing *a)
{
    const char **entries = mem_alloc((a->count + 1) * sizeof(*entries));
    char holder[HOLDER_MAX];

    holder_of_self(holder, a->turn.session, a->peer);
    for (size_t i = 0; i < a->count; i++)
        entries[i] = tally_entry_new(a->chunks[i].chunk, span_of(holder));
    tally_add(&chunk_sources, config->chunk_source_ttl_ms, a->count, entries);
    for (size_t i = 0; i < a->count; i++)
        free((char *)entries[i]);
    free(entries);
}

static void announce_all(struct session *s, void *arg)
{
    struct announcing *a = arg;

    (void)s;
    if (a->count == 0) {
        finish_announce(a);
        return;
    }
    tally_sources(a);
    while (a->sent < a->count && a->sent < CALLS_AT_ONCE)
        announce(&a->chunks[a->sent++]);
}

/* Reads a member that is to be an id. false: it is absent, null or empty; *ok turns false if it is something else. */
static bool read_id(const struct json_members *entry, const char *name, char id[static ID_MAX + 1], bool *ok)
{
    struct span value;
    size_t len;

    if (!json_find(entry, name, &value) || json_kind(value) == JSON_KIND_NULL || span_is(value, "\"\""))
        return false;
    *ok = *ok && json_read_string(value, id, ID_MAX + 1, &len) && !has_control((struct span){id, len});
    return *ok;
}

static bool read_chunk(struct announcing *a, const struct json_members *entry)
{
    char chunk[ID_MAX + 1], hash[ID_MAX + 1];
    bool ok = true;

    if (read_id(entry, "chunkId", chunk, &ok) && read_id(entry, "routingHash", hash, &ok))
        a->chunks[a->count++] = (struct announced){.owner = a, .chunk = mem_dup(chunk)};
    return ok;
}

/* Entries without chunkId or routingHash are skipped. */
static enum err read_chunks(struct announcing *a, struct span array)
{
    struct json_members entry = {.only = dialect_names()};
    size_t n = 0;
    bool ok = true;

    while (ok && json_next_members(&array, &entry))
        ok = n++ < CHUNKS_MAX && read_chunk(a, &entry);
    json_members_free(&entry);
    return n == 0 ? ERR_CHUNKS_MISSING : ok ? ERR_NONE : ERR_INVALID_FIELD;
}

static void note_and_announce(struct announcing *a)
{
    size_t count = a->count;
    struct note *notes = mem_alloc((count + 1) * sizeof(*notes));

    for (size_t i = 0; i < count; i++) {
        char entry[ENTRY_MAX];
        chunk_entry(entry, "source", a->chunks[i].chunk, a->peer);
        notes[i] = (struct note){mem_dup(entry), config->chunk_source_ttl_ms};
    }
    peer_claim(CLAIM_IF_NEW, &a->turn, a->peer, count, notes, announce_all);
    for (size_t i = 0; i < count; i++)
        free((char *)notes[i].entry);
    free(notes);
}

static void on_taken(struct turn *t, enum err e)
{
    struct announcing *a = (struct announcing *)t;

    a->taken = e == ERR_NONE;
    if (a->taken && turn_session(t)) {
        note_and_announce(a);
        return;
    }
    if (!a->taken)
        turn_fail(t, e, NULL);
    turn_end(t);
}

enum err handle_chunk_announce(struct session *s, const struct message *m)
{
    const struct value *list = &m->values[1];
    bool is_array = list->present && json_kind(list->raw) == JSON_KIND_ARRAY;
    struct announcing *a = turn_begin(s, sizeof(*a), announcing_clear);
    enum err e;

    a->peer = mem_dup(m->values[0].text);
    a->chunks = mem_alloc(CHUNKS_MAX * sizeof(*a->chunks));
    e = is_array ? read_chunks(a, json_elements(list->raw)) : ERR_CHUNKS_MISSING;
    if (e != ERR_NONE) {
        turn_fail(&a->turn, e, "chunks");
        turn_end(&a->turn);
        return ERR_NONE;
    }
    a->unused = (struct storing){.ttl_ms = config->chunk_source_ttl_ms};
    for (size_t i = 0; i < a->count; i++)
        a->unused.bytes += chunk_source_storing(a->chunks[i].chunk, a->peer).bytes;
    storage_take(&a->turn, &a->unused, on_taken);
    return ERR_NONE;
}
