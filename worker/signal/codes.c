/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "signalbox/caller.h"

void code_entry(char out[static ENTRY_MAX], const char *kind, const char *room, const char *code)
{
    snprintf(out, ENTRY_MAX, "%s\t%s\t%s", kind, room, code);
}

bool code_split(const char *rest, char room[static ID_MAX + 1], const char **code)
{
    const char *tab = strchr(rest, '\t');

    if (!tab || tab - rest > ID_MAX)
        return false;
    snprintf(room, ID_MAX + 1, "%.*s", (int)(tab - rest), rest);
    *code = tab + 1;
    return true;
}
