/* SPDX-License-Identifier: MIT */
#include "signalbox/tally.h"

#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/script.h"

#define ENDED_A_TIME 1000
#define ENTRIES_A_CALL 1000

char *tally_entry_new(const char *name, struct span holder)
{
    struct builder w = {0};
    char *entry;

    builder_text(&w, name);
    builder_text(&w, "\t");
    builder_add(&w, holder);
    entry = span_dup(bytes_span(w.bytes));
    builder_free(&w);
    return entry;
}

char *tally_entry_at(const char *name, const struct address *a, const char *peer)
{
    struct builder holder = {0};
    char address[ADDRESS_MAX], *entry;

    address_format(a, address);
    builder_text(&holder, address);
    builder_text(&holder, " ");
    builder_text(&holder, peer);
    entry = tally_entry_new(name, bytes_span(holder.bytes));
    builder_free(&holder);
    return entry;
}

static struct call call_on(const struct script *script, const struct tally *t)
{
    struct call c = call_new(script);

    call_key(&c, t->list_key);
    call_key(&c, t->counts_key);
    return c;
}

void tally_add(const struct tally *t, long long ttl_ms, size_t count, const char *const *entries)
{
    struct call c;

    if (count == 0)
        return;
    c = call_on(&script_tally_add, t);
    call_int(&c, ttl_ms);
    for (size_t i = 0; i < count; i++)
        call_text(&c, entries[i]);
    call_send(&c, NULL, NULL);
}

void tally_remove(const struct tally *t, size_t count, const char *const *entries)
{
    for (size_t begin = 0; begin < count; begin += ENTRIES_A_CALL) {
        struct call c = call_on(&script_tally_remove, t);

        for (size_t i = begin; i < count && i < begin + ENTRIES_A_CALL; i++)
            call_text(&c, entries[i]);
        call_send(&c, NULL, NULL);
    }
}

void tally_count(const struct tally *t, redis_callback callback, void *arg)
{
    struct call c = call_on(&script_tally_count, t);

    call_int(&c, ENDED_A_TIME);
    call_send(&c, callback, arg);
}

static void on_counted(const struct reply *r, void *arg)
{
    long long ended;

    if (r && reply_read(r, "--i", &ended) && ended == ENDED_A_TIME)
        tally_tidy(arg);
}

void tally_tidy(const struct tally *t)
{
    tally_count(t, on_counted, (void *)t);
}
