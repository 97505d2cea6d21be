/* SPDX-License-Identifier: MIT */
#include "signalbox/storage.h"

#include <stdlib.h>

#include "signalbox/config.h"

static size_t slot; /* of a session: the bytes that it has stored */

static size_t *stored_of(struct session *s)
{
    void **stored = session_slot(s, slot);

    if (!*stored)
        *stored = mem_alloc(sizeof(size_t));
    return *stored;
}

void storage_take(struct turn *t, const struct storing *what, void (*done)(struct turn *t, enum err e))
{
    struct session *s = turn_session(t);
    size_t *stored = s ? stored_of(s) : NULL;

    if (stored && *stored + what->bytes > 4 << 20) {
        done(t, ERR_STORAGE_LIMIT);
        return;
    }
    turn_charge(t, cost_of_stored(what->bytes));
    if (stored)
        *stored += what->bytes;
    done(t, ERR_NONE);
}

void storage_give_back(struct turn *t, const struct storing *what)
{
    struct session *s = turn_session(t);

    if (s && *stored_of(s) >= what->bytes)
        *stored_of(s) -= what->bytes;
}

void storage_on_session_end(struct session *s)
{
    free(*session_slot(s, slot));
}

void storage_init(void)
{
    slot = session_slot_new();
}
