/* SPDX-License-Identifier: MIT */
#include "signalbox/requests.h"

#include <stdlib.h>

#include "signalbox/config.h"
#include "signalbox/index.h"
#include "signalbox/loop.h"

struct request {
    char *entry;
    int64_t until_ms;
    TAILQ_ENTRY(request) next;
};

static void forget(struct requests *all, struct request *r)
{
    TAILQ_REMOVE(all, r, next);
    free(r->entry);
    free(r);
}

void requests_note(struct session *s, struct requests *all, const char *entry)
{
    struct request *r = mem_alloc(sizeof(*r)), *oldest;

    while ((oldest = TAILQ_FIRST(all)) && oldest->until_ms <= loop_ms())
        forget(all, oldest);
    r->entry = mem_dup(entry);
    r->until_ms = loop_ms() + config->pair_timeout_ms;
    TAILQ_INSERT_TAIL(all, r, next);
    index_note(s, 1, &(struct note){entry, config->pair_timeout_ms});
}

void requests_end(struct session *s, struct requests *all)
{
    struct address self = self_address(session_id_of(s));
    struct request *r;

    while ((r = TAILQ_FIRST(all))) {
        entry_undo(r->entry, &self);
        index_forget(s, 1, &(struct note){.entry = r->entry});
        forget(all, r);
    }
}

void requests_forget(struct requests *all)
{
    while (!TAILQ_EMPTY(all))
        forget(all, TAILQ_FIRST(all));
}
