/* SPDX-License-Identifier: MIT */
#include "signalbox/domain.h"

#include <stdio.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"

#define SEPARATORS ", "

/* The next name of a list with commas; empty: there is no more. */
static struct span next_name(const char **list)
{
    struct span name;

    *list += strspn(*list, SEPARATORS);
    name = (struct span){*list, strcspn(*list, SEPARATORS)};
    *list += name.len;
    return name;
}

bool domain_is_served(const struct domain *d)
{
    return !d->name || protocol_is_served(d->name);
}

static bool is_known(struct span name)
{
    for (const struct domain *const *d = domains; *d; d++)
        if ((*d)->name && span_is(name, (*d)->name))
            return true;
    return false;
}

bool domains_check(char problem[static 256])
{
    const char *list = config->protocols;
    struct span name;

    if (*list && !list[strspn(list, SEPARATORS)]) {
        snprintf(problem, 256, "PROTOCOLS names no protocol");
        return false;
    }
    while ((name = next_name(&list)).len > 0) {
        if (!is_known(name)) {
            snprintf(problem, 256, "PROTOCOLS: there is no protocol %.*s", (int)(name.len < 64 ? name.len : 64),
                     name.at);
            return false;
        }
    }
    return true;
}

void domains_init(void)
{
    for (const struct domain *const *d = domains; *d; d++)
        if ((*d)->init)
            (*d)->init();
}

void domains_fini(void)
{
    for (const struct domain *const *d = domains; *d; d++)
        if ((*d)->fini)
            (*d)->fini();
}

void domains_redis_up(void)
{
    for (const struct domain *const *d = domains; *d; d++)
        if ((*d)->on_redis_up)
            (*d)->on_redis_up();
}

void domains_session_end(struct session *s)
{
    for (const struct domain *const *d = domains; *d; d++)
        if ((*d)->on_session_end)
            (*d)->on_session_end(s);
}
