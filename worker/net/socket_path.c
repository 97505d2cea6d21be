/* SPDX-License-Identifier: MIT */
#include "signalbox/socket_path.h"

#include <stdbool.h>
#include <string.h>

#include "signalbox/domain.h"
#include "signalbox/http_head.h"

static bool is_path_of(const struct socket_path *p, const struct http_head *head)
{
    size_t len = strlen(p->path);

    return strncmp(head->path, p->path, len) == 0 && head->encoded_slash > len &&
           (head->path[len] == '\0' || (head->path[len] == '/' && len > 1));
}

const struct socket_path *socket_path_of(const struct http_head *head)
{
    for (const struct domain *const *d = domains; *d; d++)
        for (const struct socket_path *p = (*d)->paths; p && p->path; p++)
            if (is_path_of(p, head))
                return domain_is_served(*d) ? p : NULL;
    return NULL;
}
