/* SPDX-License-Identifier: MIT */
#include "signalbox/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "signalbox/config.h"
#include "signalbox/connection.h"
#include "signalbox/cost.h"
#include "signalbox/dialect.h"
#include "signalbox/http.h"
#include "signalbox/limits.h"
#include "signalbox/listener.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/session.h"
#include "signalbox/tls.h"
#include "signalbox/unfinished.h"
#include "signalbox/websocket.h"

#define DESCRIPTORS_MOST 262144 /* libwebsockets makes a table of as many, so not a million */

void server_drain(void)
{
    connections_drain();
}

bool server_draining(void)
{
    return connections_draining();
}

bool server_busy(void)
{
    return connections_busy();
}

/* As many as the system gives. */
static unsigned raise_descriptors(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MOST ? limit.rlim_max : DESCRIPTORS_MOST;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (unsigned)limit.rlim_cur;
}

static bool on_accepted(int fd, const struct sockaddr *from)
{
    connection_new(fd, from);
    return !unfinished_is_full();
}

bool server_init(bool share_port)
{
    unsigned descriptors = raise_descriptors();
    int port = -1;

    sessions_init();
    dialect_init();
    connections_init();
    limits_init();
    cost_init();
    if (websockets_init(descriptors))
        port = listener_open(config->host, (int)config->port, share_port, on_accepted);
    if (port < 0) {
        LOG_ERROR("listen_failed", LOG_TEXT("host", config->host), LOG_INT("port", config->port),
                  LOG_TEXT("reason", strerror(errno)));
        return false;
    }
    LOG_INFO("listening", LOG_TEXT("host", config->host), LOG_INT("port", port),
             LOG_TEXT("scheme", tls_wanted() ? "https" : "http"));
    loop_poke();
    return true;
}

void server_fini(void)
{
    listener_close();
    connections_fini();
    websockets_fini();
    sessions_fini();
    http_fini();
    dialect_fini();
}
