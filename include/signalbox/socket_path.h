/* SPDX-License-Identifier: MIT */
/* socket_path: the paths on which WebSockets are opened, as the domains list them. */
#pragma once

struct dialect;
struct http_head;

struct socket_path {
    const char *path; /* "/relay"; also matches what begins with "/relay/" */
    const char *name; /* in the list of endpoints */
    const struct dialect *dialect;
};

const struct socket_path *socket_path_of(const struct http_head *head); /* NULL: none that is served */
