/* SPDX-License-Identifier: MIT */
#include "signalbox/resolver.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "signalbox/bytes.h"
#include "signalbox/loop.h"

#define SERVERS_MOST 3 /* as many as the C library asks */

struct lookup {
    struct evdns_getaddrinfo_request *request; /* NULL until evdns_getaddrinfo() has returned */
    struct lookup **place;                     /* where its owner knows it; NULL: it was cancelled */
    int server;                                /* the one that was asked */
    resolver_callback callback;
    void *arg;
};

/* libevent would ask the name servers by turns. Here, as in the C library, the first one is asked, and the next only
   while that is silent: often the first alone knows the names of the local network. */
static struct evdns_base *dns;
static struct sockaddr_storage servers[SERVERS_MOST];
static int server_count, asked_server;

static void ask_server(int index)
{
    const struct sockaddr *at = (struct sockaddr *)&servers[index];

    asked_server = index;
    evdns_base_clear_nameservers_and_suspend(dns);
    evdns_base_nameserver_sockaddr_add(dns, at, sizeof(servers[index]), 0);
    evdns_base_resume(dns);
}

static void init(void)
{
    dns = evdns_base_new(loop_base(), EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    evdns_base_set_option(dns, "timeout", "2");
    evdns_base_set_option(dns, "attempts", "2");
    for (server_count = 0; server_count < SERVERS_MOST; server_count++)
        if (evdns_base_get_nameserver_addr(dns, server_count, (struct sockaddr *)&servers[server_count],
                                           sizeof(servers[server_count])) < 0)
            break;
    if (server_count > 1)
        ask_server(0);
}

/* Another look-up may have gone on to the next one already. */
static void leave_silent_server(const struct lookup *l)
{
    if (server_count > 1 && l->server == asked_server)
        ask_server((asked_server + 1) % server_count);
}

static void on_resolved(int error, struct addrinfo *found, void *arg)
{
    struct lookup *l = arg;

    if (error && error != EVUTIL_EAI_NONAME && error != EVUTIL_EAI_CANCEL)
        leave_silent_server(l);
    if (l->place) {
        *l->place = NULL;
        l->callback(error ? NULL : found, error ? evutil_gai_strerror(error) : NULL, l->arg);
    } else if (found) {
        evutil_freeaddrinfo(found);
    }
    free(l);
}

void resolver_ask(struct lookup **lookup, const char *host, int port, resolver_callback callback, void *arg)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = EVUTIL_AI_NUMERICSERV};
    struct lookup *l = mem_alloc(sizeof(*l));
    struct evdns_getaddrinfo_request *request;
    char service[12];

    if (!dns)
        init();
    snprintf(service, sizeof(service), "%d", port);
    *l = (struct lookup){.place = lookup, .server = asked_server, .callback = callback, .arg = arg};
    *lookup = l;
    request = evdns_getaddrinfo(dns, host, service, &hints, on_resolved, l);
    if (request)
        l->request = request;
}

void resolver_cancel(struct lookup **lookup)
{
    struct lookup *l = *lookup;

    if (!l)
        return;
    l->place = NULL;
    *lookup = NULL;
    if (l->request)
        evdns_getaddrinfo_cancel(l->request);
}

void resolver_fini(void)
{
    if (!dns)
        return;
    loop_once(); /* cancelled look-ups end in the loop */
    evdns_base_free(dns, 1);
    loop_once();
    dns = NULL;
}
