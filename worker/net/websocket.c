/* SPDX-License-Identifier: MIT */
#include "signalbox/websocket.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/dialect.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/session.h"
#include "signalbox/websocket_io.h"

#define RX_CHUNK 1536    /* kept for each connection by lws; longer messages come in several pieces */
#define READ_MAX 32768   /* of one read; lws has one buffer of that size */
#define TX_MAX (1 << 20) /* of one write; without it lws writes no more than RX_CHUNK at a time */
#define HEAD_MAX 1024    /* of a head that we wrote */
#define HEADS_MAX 4      /* at once; each is read as soon as it is written */
#define HANDSHAKE_SECONDS 10

struct websocket {
    struct websocket_io io; /* first: the one is found by the other */
    struct session *session;
    const struct socket_path *path;
    struct metric *gauge;
    bool in_unread;
    TAILQ_ENTRY(websocket) unread;
    char ip[IP_TEXT_MAX]; /* "" once it is given back */
};

static struct lws_context *context;
static struct lws_vhost *vhost;
static struct metric_family *connections;
static TAILQ_HEAD(, websocket) unread = TAILQ_HEAD_INITIALIZER(unread); /* to be served though their socket is silent */
static size_t unread_count;
static bool unread_deferred;                    /* they will be served */
static const struct websocket_opening *opening; /* of the one that is opened just now */

/* --- what its socket does not tell of --- */

static void serve(int fd)
{
    struct lws_pollfd readable = {.fd = fd, .events = LWS_POLLIN, .revents = LWS_POLLIN};

    lws_service_fd(context, &readable);
    loop_poke();
}

static void remove_unread(struct websocket *ws)
{
    if (!ws->in_unread)
        return;
    ws->in_unread = false;
    TAILQ_REMOVE(&unread, ws, unread);
    unread_count--;
}

static void serve_unread(void *arg);

static void on_unread(struct websocket_io *io)
{
    struct websocket *ws = (struct websocket *)io;

    if (ws->in_unread)
        return;
    ws->in_unread = true;
    TAILQ_INSERT_TAIL(&unread, ws, unread);
    unread_count++;
    if (!unread_deferred)
        loop_defer(serve_unread, NULL);
    unread_deferred = true;
}

/* lws may have had something of its own to do first, and has not come to read: then it is served once more. */
static void serve_first_unread(void)
{
    struct websocket *ws = TAILQ_FIRST(&unread);
    session_id id = ws->session ? session_id_of(ws->session) : 0;
    struct session *s;

    remove_unread(ws);
    if (ws->io.watch.violated && ws->session)
        session_close(ws->session, CLOSE_PROTOCOL_ERROR, "malformed frame");
    serve(ws->io.transport.fd); /* which may free ws */
    s = session_find(id);
    if (s && session_is_read(s) && websocket_io_unread(&ws->io))
        on_unread(&ws->io);
}

static void serve_unread(void *arg)
{
    (void)arg;
    unread_deferred = false;
    for (size_t left = unread_count; left > 0 && !TAILQ_EMPTY(&unread); left--)
        serve_first_unread();
}

static void on_ping(struct websocket_io *io, struct span payload)
{
    struct websocket *ws = (struct websocket *)io;

    if (ws->session)
        session_pinged(ws->session, payload);
}

/* --- from its handshake to its end --- */

static void on_open(struct websocket *ws, struct lws *wsi)
{
    const struct websocket_opening *o = opening;

    ws->session = dialect_open(o->path->dialect, wsi, ws->ip);
    ws->gauge = metric_series(connections, o->path->path);
    metric_add(ws->gauge, 1);
    LOG_DEBUG("connection_open", LOG_TEXT("path", o->path->path), LOG_INT("sid", session_id_of(ws->session)),
              LOG_TEXT("ip", ws->ip));
    dialect_opened(ws->session, &(struct opening){o->rest, ws->ip, o->argument}, o->tokens);
}

static void on_closed(struct websocket *ws)
{
    if (!ws->session)
        return;
    LOG_DEBUG("connection_close", LOG_TEXT("path", ws->path->path), LOG_INT("sid", session_id_of(ws->session)));
    session_ended(ws->session);
    ws->session = NULL;
    metric_add(ws->gauge, -1);
}

static void let_go(struct websocket *ws)
{
    on_closed(ws);
    remove_unread(ws);
    websocket_io_detach(&ws->io);
    if (*ws->ip)
        ip_close(ws->ip);
    *ws->ip = '\0';
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct websocket *ws = wsi ? lws_get_opaque_user_data(wsi) : NULL;

    (void)user;
    if (!ws)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        on_open(ws, wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        session_received(ws->session, (struct span){in, len}, lws_is_final_fragment(wsi), lws_frame_is_binary(wsi),
                         lws_remaining_packet_payload(wsi));
        return 0;
    case LWS_CALLBACK_RECEIVE_PONG:
        session_ponged(ws->session);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return session_is_closing(ws->session) ? -1 : 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return session_writable(ws->session) ? 0 : -1;
    case LWS_CALLBACK_CLOSED: /* its descriptor is closed later */
        on_closed(ws);
        transport_say_end(&ws->io.transport);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        let_go(ws);
        free(ws);
        return 0;
    default:
        return 0;
    }
}

void websocket_open(struct transport *t, const struct websocket_opening *o)
{
    struct websocket *ws = mem_alloc(sizeof(*ws));
    struct transport taken = transport_take(t);
    char head[HEAD_MAX];
    lws_adopt_desc_t adopted = {
        .vh = vhost, .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP, .fd = {.sockfd = taken.fd}, .opaque = ws};

    snprintf(head, sizeof(head),
             "GET / HTTP/1.1\r\nHost: signalbox\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: %.*s\r\nSec-WebSocket-Version: 13\r\n\r\n",
             WEBSOCKET_KEY_LEN, o->key);
    websocket_io_attach(&ws->io, taken, span_of(head), o->early);
    ws->path = o->path;
    snprintf(ws->ip, sizeof(ws->ip), "%s", o->ip);
    opening = o;
    if (!lws_adopt_descriptor_vhost_via_info(&adopted)) {
        opening = NULL;
        LOG_ERROR("adopt_failed", LOG_TEXT("ip", ws->ip));
        let_go(ws); /* it is not known whether WSI_DESTROY, which frees it, is still to come */
        return;
    }
    if (o->early.len > 0 || transport_pending(&ws->io.transport))
        on_unread(&ws->io);
    serve(taken.fd);
    opening = NULL;
}

/* --- the library --- */

static void on_lws_log(int level, const char *line)
{
    char text[256];
    size_t len = strcspn(line, "\n");

    snprintf(text, sizeof(text), "%.*s", (int)(len < sizeof(text) ? len : sizeof(text) - 1), line);
    if (level == LLL_ERR)
        LOG_WARNING("libwebsockets", LOG_TEXT("message", text));
    else
        LOG_DEBUG("libwebsockets", LOG_TEXT("message", text));
}

bool websockets_init(unsigned descriptors)
{
    static const struct lws_protocols protocols[] = {
        {.name = "signalbox", .callback = on_lws, .rx_buffer_size = RX_CHUNK, .tx_packet_size = TX_MAX}, {0}};
    /* Pings and their time-outs are the sessions': lws would keep a timer for each connection, in one sorted list. */
    static const lws_retry_bo_t no_pings = {.secs_since_valid_ping = 0};
    static void *loops[1];
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .foreign_loops = loops,
        .fd_limit_per_thread = descriptors,
        .max_http_header_pool = HEADS_MAX,
        .max_http_header_data = HEAD_MAX,
        .pt_serv_buf_size = READ_MAX,
        .timeout_secs = HANDSHAKE_SECONDS,
        .retry_and_idle_policy = &no_pings,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES,
    };

    connections = metric_family(METRIC_GAUGE, "signalbox_connections", "Open WebSockets", "path");
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    if (!websocket_io_init(on_ping, on_unread)) {
        LOG_ERROR("linked_wrongly", LOG_TEXT("reason", "recv(), send() and shutdown() are not the program's own"));
        return false;
    }
    loops[0] = loop_uv();
    context = lws_create_context(&info);
    vhost = context ? lws_get_vhost_by_name(context, "default") : NULL;
    return vhost != NULL;
}

void websockets_fini(void)
{
    if (context)
        lws_context_destroy(context);
    websocket_io_fini();
}
