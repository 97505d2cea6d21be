/* SPDX-License-Identifier: MIT */
#include "signalbox/listener.h"

#include <errno.h>
#include <event2/listener.h>
#include <event2/util.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "signalbox/log.h"
#include "signalbox/loop.h"

#define BACKLOG 4096
#define ACCEPTS_IN_A_ROW 16 /* then others have their turn */
#define PAUSE_MS 100        /* after a failed accept(): out of descriptors, most likely */

static struct evconnlistener *listener;
static bool (*accepted)(int fd, const struct sockaddr *from);

void listener_resume(void)
{
    if (listener)
        evconnlistener_enable(listener);
}

static void resume(void *arg)
{
    (void)arg;
    listener_resume();
}

static void on_connection(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
    static unsigned accepts;
    int on = 1;

    (void)len, (void)arg;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (!accepted(fd, from)) {
        evconnlistener_disable(l);
    } else if (++accepts % ACCEPTS_IN_A_ROW == 0) {
        evconnlistener_disable(l);
        loop_defer(resume, NULL);
    }
}

static void on_error(struct evconnlistener *l, void *arg)
{
    (void)arg;
    LOG_ERROR("accept_failed", LOG_TEXT("reason", strerror(errno)));
    evconnlistener_disable(l);
    timer_once(PAUSE_MS, resume, NULL);
}

static int bound_port(void)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.v6 = {0}};
    socklen_t len = sizeof(bound);

    if (getsockname(evconnlistener_get_fd(listener), &bound.any, &len) != 0)
        return -1;
    return ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
}

int listener_open(const char *host, int port, bool share, bool (*on_accept)(int fd, const struct sockaddr *from))
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    unsigned flags = LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE;
    char service[8];

    accepted = on_accept;
    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    if (share)
        flags |= LEV_OPT_REUSEABLE_PORT;
    listener = evconnlistener_new_bind(loop_base(), on_connection, NULL, flags, BACKLOG, found->ai_addr,
                                       (int)found->ai_addrlen);
    freeaddrinfo(found);
    if (!listener)
        return -1;
    evconnlistener_set_error_cb(listener, on_error);
    return bound_port();
}

void listener_close(void)
{
    if (listener)
        evconnlistener_free(listener);
    listener = NULL;
}
