/* SPDX-License-Identifier: MIT */
#include "signalbox/formers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/address.h"
#include "signalbox/keys.h"
#include "signalbox/redis.h"
#include "signalbox/script.h"

struct former {
    char wid[WID_LEN + 1];
    bool settled, asked;
    TAILQ_ENTRY(former) next;
};

static TAILQ_HEAD(former_list, former) formers = TAILQ_HEAD_INITIALIZER(formers);

void formers_add(const char *wid)
{
    struct former *f = mem_alloc(sizeof(*f));

    memcpy(f->wid, wid, WID_LEN);
    TAILQ_INSERT_TAIL(&formers, f, next);
}

void formers_settled(void)
{
    for (struct former *f = TAILQ_FIRST(&formers); f; f = TAILQ_NEXT(f, next))
        f->settled = true;
}

void formers_list(struct call *c)
{
    for (const struct former *f = TAILQ_FIRST(&formers); f; f = TAILQ_NEXT(f, next))
        call_text(c, f->wid);
}

/* Behind what the answers to the resync have had written. The beat is so old that the leader cleans up at once. If
   Redis was not reached, the name is listed no longer, and its last beat gets old by itself. */
static void on_answered(const struct reply *r, void *arg)
{
    struct former *f = TAILQ_FIRST(&formers);

    while (f && strcmp(f->wid, arg) != 0)
        f = TAILQ_NEXT(f, next);
    if (f) {
        if (r)
            redis_command(NULL, NULL, "ZADD", KEY_WORKERS, "0", f->wid, NULL);
        TAILQ_REMOVE(&formers, f, next);
        free(f);
    }
    free(arg);
}

/* Redis answers in order: once this has its answer, so has the resync. */
void formers_resynced(void)
{
    for (struct former *f = TAILQ_FIRST(&formers); f; f = TAILQ_NEXT(f, next)) {
        if (f->settled && !f->asked)
            redis_command(on_answered, mem_dup(f->wid), "PING", NULL);
        f->asked = f->settled;
    }
}

void formers_fini(void)
{
    for (struct former *f; (f = TAILQ_FIRST(&formers));) {
        TAILQ_REMOVE(&formers, f, next);
        free(f);
    }
}
