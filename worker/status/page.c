/* SPDX-License-Identifier: MIT */
#include "signalbox/page.h"

#include <string.h>

#include "signalbox/http.h"
#include "signalbox/status.h"

#define STATIC "/static/"

/* Scripts and styles are files of ours and nothing else is loaded: what a peer writes cannot become code. */
static const char policy[] = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                             "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static void send_file(struct exchange *x, const struct page_file *f)
{
    const char *known = exchange_header(x, "if-none-match");

    exchange_add_header(x, "content-security-policy", policy);
    exchange_add_header(x, "x-content-type-options", "nosniff");
    exchange_add_header(x, "referrer-policy", "no-referrer");
    exchange_add_header(x, "cache-control", "no-cache");
    exchange_add_header(x, "etag", f->etag);
    if (strcmp(known, "*") == 0 || strstr(known, f->etag))
        exchange_reply(x, 304, NULL, NULL);
    else
        exchange_reply(x, 200, f->content_type, bytes_copy(f->content));
}

static void send_named(struct exchange *x, const char *name)
{
    for (size_t i = 0; i < page_files_count; i++) {
        if (strcmp(page_files[i].name, name) == 0) {
            send_file(x, &page_files[i]);
            return;
        }
    }
    exchange_not_found(x);
}

static void handle_static(struct exchange *x)
{
    send_named(x, exchange_path(x) + sizeof(STATIC) - 1);
}

static void handle_index(struct exchange *x)
{
    exchange_add_header(x, "vary", "Accept");
    if (strcasestr(exchange_header(x, "accept"), "text/html"))
        send_named(x, "index.html");
    else
        status_info(x);
}

static const struct http_route page_routes[] = {
    {HTTP_GET, "/", "index", handle_index, .cost = {.base = 30}},
    {HTTP_GET, STATIC "*", "static", handle_static, .cost = {.base = 30}},
    {0},
};
static const struct http_route *const routes[] = {page_routes, NULL};

const struct domain page_domain = {.routes = routes};
