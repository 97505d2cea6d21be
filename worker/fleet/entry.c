/* SPDX-License-Identifier: MIT */
#include "signalbox/entry.h"

#include <string.h>

#include "signalbox/domain.h"
#include "signalbox/log.h"

static bool is_of_kind(const char *entry, size_t word_len, const struct entry_kind *kind)
{
    return strlen(kind->word) == word_len && memcmp(kind->word, entry, word_len) == 0;
}

const struct entry_kind *entry_kind_of(const char *entry, const char **rest)
{
    size_t len = strcspn(entry, "\t");

    *rest = entry + len + 1;
    for (const struct domain *const *d = domains; *d && entry[len]; d++)
        for (const struct entry_kind *const *kind = (*d)->kinds; kind && *kind; kind++)
            if (is_of_kind(entry, len, *kind))
                return *kind;
    LOG_WARNING("entry_of_unknown_kind");
    return NULL;
}

void entry_undo(const char *entry, const struct address *holder)
{
    const char *rest;
    const struct entry_kind *kind = entry_kind_of(entry, &rest);

    if (kind)
        kind->undo(rest, holder);
}

void entry_not_found(const char *entry, const struct address *holder, session_id from)
{
    const char *rest;
    const struct entry_kind *kind = entry_kind_of(entry, &rest);

    if (kind && kind->on_not_found)
        kind->on_not_found(rest, holder, from);
}

void entry_remove_stale(const char *entry, const struct address *holder, session_id from)
{
    entry_undo(entry, holder);
    entry_not_found(entry, holder, from);
}

void entry_unavailable(const char *entry, session_id from)
{
    const char *rest;
    const struct entry_kind *kind = entry_kind_of(entry, &rest);
    struct session *s = session_find(from);

    if (kind && kind->on_unavailable)
        kind->on_unavailable(rest, from);
    else if (s)
        session_fail(s, ERR_UNAVAILABLE, NULL);
}

void entry_busy(const char *entry, const struct address *holder, session_id from)
{
    const char *rest;
    const struct entry_kind *kind = entry_kind_of(entry, &rest);

    if (kind && kind->on_busy)
        kind->on_busy(rest, holder, from);
}

bool entry_may_be_busy(const char *entry)
{
    const char *rest;
    const struct entry_kind *kind = entry_kind_of(entry, &rest);

    return kind && kind->on_busy;
}
