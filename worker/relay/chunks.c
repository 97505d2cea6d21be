/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/chunk.h"
#include "signalbox/config.h"
#include "signalbox/script.h"

const struct tally chunk_sources = {KEY_SOURCES, KEY_SOURCE_COUNTS};
const struct tally chunk_waits = {KEY_WAITS, KEY_WAIT_COUNTS};

void holder_format(char out[static HOLDER_MAX], const struct address *a, const char *peer)
{
    char address[ADDRESS_MAX];

    address_format(a, address);
    snprintf(out, HOLDER_MAX, "%s %s", address, peer);
}

bool holder_parse(struct span holder, struct address *a, const char **peer)
{
    const char *space = memchr(holder.at, ' ', holder.len);

    if (!space || !address_parse((struct span){holder.at, (size_t)(space - holder.at)}, a))
        return false;
    *peer = space + 1;
    return true;
}

void chunk_entry(char out[static ENTRY_MAX], const char *kind, const char *chunk, const char *peer)
{
    snprintf(out, ENTRY_MAX, "%s\t%s\t%s", kind, chunk, peer);
}

void holder_of_self(char out[static HOLDER_MAX], session_id session, const char *peer)
{
    struct address self = self_address(session);

    holder_format(out, &self, peer);
}

static struct storing holder_storing(const char *chunk, const char *peer, long long ttl_ms)
{
    return (struct storing){440 + 5 * strlen(chunk) + 6 * strlen(peer), .ttl_ms = ttl_ms};
}

struct storing chunk_source_storing(const char *chunk, const char *peer)
{
    return holder_storing(chunk, peer, config->chunk_source_ttl_ms);
}

struct storing chunk_wait_storing(const char *chunk, const char *peer)
{
    return holder_storing(chunk, peer, config->chunk_wait_ttl_ms);
}

/* jemalloc rounds up by a quarter at most. */
struct storing chunk_data_storing(size_t chunk_len, size_t data_len)
{
    return (struct storing){1050 + 6 * chunk_len + data_len + data_len / 4, .ttl_ms = config->chunk_cache_ttl_ms,
                            .outlives = true};
}

void wire_chunk_data(struct builder *w, const char *chunk, struct span data, const char *source)
{
    builder_text(w, "{\"type\":\"chunk_data\",\"chunkId\":");
    builder_json(w, span_of(chunk));
    builder_text(w, ",\"data\":");
    builder_add(w, data);
    builder_printf(w, ",\"source\":\"%s\"}", source);
}

void wire_chunk_not_found(struct builder *w, const char *chunk)
{
    builder_text(w, "{\"type\":\"chunk_not_found\",\"chunkId\":");
    builder_json(w, span_of(chunk));
    builder_text(w, ",\"message\":\"No online sources available. You will be notified when available.\"}");
}

void call_chunk_keys(struct call *c, const char *chunk, const char *parts)
{
    char key[KEY_MAX], part[8];
    int len;

    for (; *parts; parts += len + (parts[len] == ' ')) {
        len = (int)strcspn(parts, " ");
        snprintf(part, sizeof(part), "%.*s", len, parts);
        key_chunk(key, chunk, part);
        call_key(c, key);
    }
}

void chunk_touch(const char *chunk)
{
    struct call c = call_new(&script_chunk_touch);

    call_key(&c, KEY_CHUNK_USES);
    call_key(&c, KEY_CHUNK_OWNERS);
    call_key(&c, KEY_CHUNK_ORDER);
    call_text(&c, chunk);
    call_send(&c, NULL, NULL);
}

/* Takes the peer out of one of the chunk's lists; rest is "chunk TAB peer". */
static void leave(const struct tally *tally, const struct script *script, const char *parts, const char *rest,
                  const struct address *address, char chunk[static ID_MAX + 1], char holder[static HOLDER_MAX])
{
    struct call c = call_new(script);
    size_t len = strcspn(rest, "\t");
    char *entry;

    snprintf(chunk, ID_MAX + 1, "%.*s", (int)len, rest);
    holder_format(holder, address, rest + len + (rest[len] == '\t'));
    call_chunk_keys(&c, chunk, parts);
    call_text(&c, holder);
    call_send(&c, NULL, NULL);
    entry = tally_entry_new(chunk, span_of(holder));
    tally_remove(tally, 1, (const char *const *)&entry);
    free(entry);
}

static void undo_source(const char *rest, const struct address *address)
{
    char chunk[ID_MAX + 1], holder[HOLDER_MAX];

    leave(&chunk_sources, &script_chunk_leave, "src rest", rest, address, chunk, holder);
    chunk_pull(chunk, holder, NULL, NULL);
}

static void undo_wait(const char *rest, const struct address *address)
{
    char chunk[ID_MAX + 1], holder[HOLDER_MAX];

    leave(&chunk_waits, &script_chunk_withdraw, "wait src rest tried", rest, address, chunk, holder);
}

void chunks_let_ended_go(void)
{
    tally_tidy(&chunk_sources);
    tally_tidy(&chunk_waits);
}

const struct entry_kind source_kind = {"source", undo_source};
const struct entry_kind wait_kind = {"wait", undo_wait};

void chunks_init(void)
{
    chunk_request_init();
    chunk_push_init();
    chunk_pull_init();
}
