/* SPDX-License-Identifier: MIT */
#include "signalbox/tally.h"

#include "scripts_data.h"
#include "signalbox/script.h"

#define ENDED_A_TIME 1000
#define ENTRIES_A_CALL 1000

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
