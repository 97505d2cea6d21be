/* SPDX-License-Identifier: MIT */
#include "signalbox/server.h"

#include <errno.h>
#include <libwebsockets.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/dialect.h"
#include "signalbox/gate.h"
#include "signalbox/handshakes.h"
#include "signalbox/http.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/listener.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/request.h"
#include "signalbox/session.h"
#include "signalbox/tls.h"

#define PATH_TABLES_MAX 8
#define PATH_MAX_LEN 1024
#define HEADER_MAX 4096   /* of one header that we read */
#define HEADERS_MAX 16384 /* of a whole request */
#define RX_CHUNK 1536     /* kept for each connection by lws; longer messages come in several pieces */
#define RX_RECORD 16384   /* the same with TLS: the longest record, see make_context() */
#define READ_MAX 32768
#define TX_MAX (1 << 20)  /* of one write; without it lws writes no more than RX_CHUNK at a time */
#define REQUESTS_MAX 4096 /* whose heads are being read, or which are being answered; more wait for one of these */
#define HANDSHAKE_SECONDS 10
#define UPGRADE_IGNORED '-' /* what an upgrade that is not to a WebSocket is made to begin with */
#define KEEPALIVE_SECONDS 60

/* One connection, from its first request on. */
struct connection {
    struct handshake handshake;
    struct exchange *exchange;
    struct session *session;
    const struct socket_path *path;
    struct metric *gauge;
    char ip[IP_TEXT_MAX];
    char *tokens; /* session tokens that were shown at the upgrade */
    size_t tokens_len;
    char *rest, *argument; /* see struct opening */
    bool counted;
};

static struct {
    const struct socket_path *paths;
    size_t count;
} tables[PATH_TABLES_MAX];
static struct lws_context *context;
static struct lws_vhost *vhost;
static bool draining;
static struct metric_family *connections, *refused;

void server_add_paths(const struct socket_path *paths, size_t count)
{
    size_t i = 0;

    while (i < PATH_TABLES_MAX && tables[i].paths)
        i++;
    if (i == PATH_TABLES_MAX)
        abort();
    tables[i].paths = paths;
    tables[i].count = count;
    for (size_t p = 0; p < count; p++)
        dialect_add(paths[p].dialect);
}

const struct socket_path *server_path(size_t i)
{
    for (size_t t = 0; t < PATH_TABLES_MAX && tables[t].paths; t++) {
        if (i < tables[t].count)
            return &tables[t].paths[i];
        i -= tables[t].count;
    }
    return NULL;
}

static const struct socket_path *find_path(const char *path)
{
    const struct socket_path *p;

    for (size_t i = 0; (p = server_path(i)); i++) {
        size_t len = strlen(p->path);
        if (strncmp(path, p->path, len) == 0 && (path[len] == '\0' || path[len] == '/'))
            return p;
    }
    return NULL;
}

void server_refuse_sockets(void)
{
    draining = true;
}

bool server_draining(void)
{
    return draining;
}

static struct connection *connection_of(struct lws *wsi)
{
    struct connection *c = lws_get_opaque_user_data(wsi);

    if (!c) {
        c = mem_alloc(sizeof(*c));
        lws_set_opaque_user_data(wsi, c);
    }
    return c;
}

static const char *header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t room)
{
    *out = '\0';
    return lws_hdr_copy(wsi, out, (int)room, token) > 0 ? out : "";
}

/* name: in lower case, with its colon. */
static const char *custom_header(struct lws *wsi, const char *name, char *out, size_t room)
{
    *out = '\0';
    return lws_hdr_custom_copy(wsi, out, (int)room, name, (int)strlen(name)) > 0 ? out : "";
}

/* true: the client's address is over its rate of new connections. Behind a proxy that keeps its connections, another
   client on one of them counts as a new connection. */
static bool meet_client(struct lws *wsi, struct connection *c)
{
    char socket_ip[IP_TEXT_MAX] = "", forwarded[HEADERS_MAX], ip[IP_TEXT_MAX];

    lws_get_peer_simple(wsi, socket_ip, sizeof(socket_ip));
    client_ip(socket_ip, header(wsi, WSI_TOKEN_X_FORWARDED_FOR, forwarded, sizeof(forwarded)), ip);
    if (strcmp(ip, c->ip) == 0)
        return false;
    memcpy(c->ip, ip, sizeof(ip));
    if (ip_connect(ip))
        return false;
    metric_add(metric_series(refused, "rate"), 1);
    LOG_INFO("limit_hit", LOG_TEXT("limit", "IP_CONNECT_RATE"), LOG_TEXT("ip", ip));
    return true;
}

/* What follows "/signal/" in "/signal/room"; "" in "/signal" and "/signal/". */
static const char *rest_of(const char *path, const struct socket_path *p)
{
    const char *rest = path + strlen(p->path);

    return *rest == '/' ? rest + 1 : rest;
}

static int refuse(struct lws *wsi, const char *reason, unsigned status, const char *sentence, const char *origin)
{
    const struct connection *c = connection_of(wsi);
    char path[PATH_MAX_LEN];

    header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
    metric_add(metric_series(refused, reason), 1);
    LOG_INFO("handshake_refused", LOG_TEXT("reason", reason), LOG_INT("status", status), LOG_TEXT("ip", c->ip),
             LOG_TEXT("path", path));
    return http_refuse(wsi, status, sentence, origin, path);
}

/* In either header, or in the query, where a plus of base64 arrives as a space. All that are there, each ended by a
   zero, and an empty one behind them; the caller wipes and frees them. */
static char *tokens_of(struct lws *wsi, size_t *len)
{
    char text[HEADER_MAX];
    const char *token = header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, text, sizeof(text));
    struct builder all = {0};

    if (strncasecmp(token, "Bearer ", 7) == 0)
        builder_printf(&all, "%s%c", token + 7, '\0');
    if (*custom_header(wsi, "x-attestation-token:", text, sizeof(text)))
        builder_printf(&all, "%s%c", text, '\0');
    token = lws_get_urlarg_by_name(wsi, "attestation=", text, sizeof(text));
    for (char *at = text; token && (at = strchr(at, ' ')); at++)
        *at = '+';
    builder_printf(&all, "%s%c%c", token ? token : "", '\0', '\0');
    *len = builder_len(&all);
    token = span_dup(bytes_span(all.bytes));
    sodium_memzero(bytes_data(all.bytes), *len);
    sodium_memzero(text, sizeof(text));
    builder_free(&all);
    return (char *)token;
}

static void forget_tokens(struct connection *c)
{
    if (c->tokens)
        sodium_memzero(c->tokens, c->tokens_len);
    free(c->tokens);
    c->tokens = NULL;
}

/* The caller frees it. */
static char *argument_of(struct lws *wsi, const char *name)
{
    char text[HEADER_MAX], with_sign[32];
    const char *found = NULL;

    if (name) {
        snprintf(with_sign, sizeof(with_sign), "%s=", name);
        found = lws_get_urlarg_by_name(wsi, with_sign, text, sizeof(text));
    }
    return mem_dup(found ? found : "");
}

/* 0: go on with the upgrade; else it was refused. */
static int on_upgrade(struct lws *wsi)
{
    struct connection *c = connection_of(wsi);
    char path[PATH_MAX_LEN], origin_text[HEADER_MAX];
    const char *origin = header(wsi, WSI_TOKEN_ORIGIN, origin_text, sizeof(origin_text));
    bool over_rate = meet_client(wsi, c);
    const struct refusal *refusal;
    const char *rest;

    handshake_end(&c->handshake);
    c->path = find_path(header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path)));
    rest = c->path ? rest_of(path, c->path) : "";
    if (over_rate)
        return refuse(wsi, "rate", 429, "Too Many Requests", origin);
    if (!c->path || strlen(rest) > ID_MAX || has_control(span_of(rest)))
        return refuse(wsi, "path", 404, "Not Found", origin);
    if (draining)
        return refuse(wsi, "draining", 503, "Service temporarily unavailable", origin);
    if (*origin && !origin_listed(config->allowed_origins, origin))
        return refuse(wsi, "origin", 403, "Origin not allowed", origin);
    refusal = c->path->dialect->refuse ? c->path->dialect->refuse(c->ip) : NULL;
    if (refusal)
        return refuse(wsi, refusal->reason, refusal->status, refusal->sentence, origin);
    if (!ip_open_socket(c->ip))
        return refuse(wsi, "connections", 429, "Too Many Requests", origin);
    c->counted = true;
    c->rest = mem_dup(rest);
    c->argument = argument_of(wsi, c->path->dialect->argument);
    c->tokens = tokens_of(wsi, &c->tokens_len);
    return 0;
}

/* lws takes what follows for the body, if the request does not say how long that is. */
static bool may_have_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "OTHER") == 0;
}

static int on_request(struct lws *wsi, const char *path)
{
    static const struct {
        enum lws_token_indexes token;
        const char *name;
    } methods[] = {{WSI_TOKEN_GET_URI, "GET"},
                   {WSI_TOKEN_POST_URI, "POST"},
                   {WSI_TOKEN_DELETE_URI, "DELETE"},
                   {WSI_TOKEN_OPTIONS_URI, "OPTIONS"},
                   {WSI_TOKEN_HEAD_URI, "GET"}};
    struct connection *c = connection_of(wsi);
    char origin[HEADER_MAX], length[24], bearer[HEADER_MAX], signature[256], timestamp[32], accept[1024], etags[1024];
    bool has_length = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0;
    const struct socket_path *socket_path = find_path(path);
    struct http_request q = {.method = "OTHER", .path = path};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (lws_hdr_total_length(wsi, methods[i].token) > 0)
            q.method = methods[i].name;
    q.head = lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
    q.origin = header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof(origin));
    q.socket_path_name = socket_path ? socket_path->name : NULL;
    q.headers[HEADER_AUTHORIZATION] = header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, bearer, sizeof(bearer));
    q.headers[HEADER_SERVER_SIGNATURE] = custom_header(wsi, "x-server-signature:", signature, sizeof(signature));
    q.headers[HEADER_SERVER_TIMESTAMP] = custom_header(wsi, "x-server-timestamp:", timestamp, sizeof(timestamp));
    q.headers[HEADER_ACCEPT] = header(wsi, WSI_TOKEN_HTTP_ACCEPT, accept, sizeof(accept));
    q.headers[HEADER_IF_NONE_MATCH] = header(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, etags, sizeof(etags));
    q.over_rate = meet_client(wsi, c);
    q.ip = c->ip;
    q.chunked = lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0;
    q.unknown_end = q.chunked || (!has_length && may_have_body(q.method));
    q.content_length = strtoll(header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof(length)), NULL, 10);
    if (c->exchange)
        exchange_ended(c->exchange);
    c->exchange = exchange_new(wsi, &q);
    if (!exchange_wants_body(c->exchange))
        handshake_end(&c->handshake);
    return 0;
}

static void on_open(struct lws *wsi, struct connection *c)
{
    c->session = session_new(wsi, c->path->dialect);
    c->gauge = metric_series(connections, c->path->path);
    metric_add(c->gauge, 1);
    LOG_DEBUG("connection_open", LOG_TEXT("path", c->path->path), LOG_INT("sid", session_id_of(c->session)),
              LOG_TEXT("ip", c->ip));
    for (const char *token = c->tokens; *token; token += strlen(token) + 1)
        gate_open(c->session, token);
    forget_tokens(c);
    if (c->path->dialect->on_open)
        c->path->dialect->on_open(c->session, &(struct opening){c->rest, c->ip, c->argument});
    free(c->rest);
    free(c->argument);
    c->rest = c->argument = NULL;
}

static void on_closed(struct connection *c)
{
    if (!c->session)
        return;
    LOG_DEBUG("connection_close", LOG_TEXT("path", c->path->path), LOG_INT("sid", session_id_of(c->session)));
    session_ended(c->session);
    c->session = NULL;
    metric_add(c->gauge, -1);
}

static void on_destroyed(struct lws *wsi)
{
    struct connection *c = lws_get_opaque_user_data(wsi);

    if (!c)
        return;
    handshake_end(&c->handshake);
    on_closed(c);
    if (c->exchange)
        exchange_ended(c->exchange);
    if (c->counted)
        ip_close_socket(c->ip);
    lws_set_opaque_user_data(wsi, NULL);
    forget_tokens(c);
    free(c->rest);
    free(c->argument);
    free(c);
}

/* Upgrades to anything else, h2c above all, are ignored as RFC 9110 section 7.8 has it: lws reads the header's text
   again after CONFIRM_UPGRADE and goes on with HTTP/1.1 if it knows it no more. On a connection that was kept alive it
   would refuse by itself and then use freed memory: there the connection is closed. */
static int wants_other_upgrade(struct lws *wsi)
{
    char upgrade[16];
    const char *to = header(wsi, WSI_TOKEN_UPGRADE, upgrade, sizeof(upgrade));

    return lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) > 0 && strcasecmp(to, "websocket") != 0 &&
           *to != UPGRADE_IGNORED;
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct connection *c;

    if (!wsi)
        return 0;
    c = lws_get_opaque_user_data(wsi);
    switch (reason) {
    case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS: /* where the context of a port is made */
        tls_prepare(user);
        return 0;
    case LWS_CALLBACK_HTTP_BIND_PROTOCOL:
        return wants_other_upgrade(wsi);
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
        if (strcasecmp(in, "websocket") == 0)
            return on_upgrade(wsi);
        *(char *)in = UPGRADE_IGNORED;
        return 0;
    case LWS_CALLBACK_RAW_ADOPT: /* CONNECT */
        return -1;
    case LWS_CALLBACK_HTTP:
        return on_request(wsi, in);
    case LWS_CALLBACK_HTTP_BODY:
        exchange_body_part(c->exchange, (struct span){in, len});
        return 0;
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        handshake_end(&c->handshake);
        if (c->exchange && exchange_wants_body(c->exchange))
            exchange_body_end(c->exchange);
        return 0;
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return c && c->exchange ? exchange_write(c->exchange) : 0;
    case LWS_CALLBACK_ESTABLISHED:
        on_open(wsi, c);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        session_received(c->session, (struct span){in, len}, lws_is_final_fragment(wsi), lws_frame_is_binary(wsi),
                         lws_remaining_packet_payload(wsi));
        return 0;
    case LWS_CALLBACK_RECEIVE_PONG:
        session_heard(c->session);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return session_is_closing(c->session) ? -1 : 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return session_writable(c->session) ? 0 : -1;
    case LWS_CALLBACK_CLOSED:
        on_closed(c);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        on_destroyed(wsi);
        return 0;
    default:
        return 0;
    }
}

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

/* As many descriptors as the system gives; lws makes a table of that size, so not a million. */
static unsigned fd_limit(void)
{
    struct rlimit limit;
    rlim_t most = 262144;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < most ? limit.rlim_max : most;
    setrlimit(RLIMIT_NOFILE, &limit);
    return (unsigned)limit.rlim_cur;
}

static bool on_accepted(int fd)
{
    struct lws *wsi = lws_adopt_socket_vhost(vhost, fd);

    loop_poke();
    return !wsi || handshake_begin(&connection_of(wsi)->handshake, wsi);
}

static bool make_context(void)
{
    static struct lws_protocols protocols[] = {
        {.name = "signalbox", .callback = on_lws, .rx_buffer_size = RX_CHUNK, .tx_packet_size = TX_MAX}, {0}};
    /* Pings and their time-outs are the sessions': lws would keep a timer for each connection, in one sorted list. */
    static const lws_retry_bo_t no_pings = {.secs_since_valid_ping = 0};
    static void *loops[1];
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .foreign_loops = loops,
        .gid = -1,
        .uid = -1,
        .fd_limit_per_thread = fd_limit(),
        .max_http_header_pool = REQUESTS_MAX,
        .max_http_header_data = HEADERS_MAX,
        .headers = http_common_headers(),
        .pt_serv_buf_size = READ_MAX,
        .timeout_secs = HANDSHAKE_SECONDS,
        .keepalive_timeout = KEEPALIVE_SECONDS,
        .retry_and_idle_policy = &no_pings,
        .alpn = "http/1.1", /* what else clients offer is not taken up: we speak no HTTP/2 */
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_NO_LWS_SYSTEM_STATES,
    };

    if (tls_wanted()) {
        /* Where OpenSSL still holds a part of a record, lws reads on in a loop; if the client was made to wait, or is
           being closed, it takes nothing in, and the loop has no end. So no part is left. */
        protocols[0].rx_buffer_size = RX_RECORD;
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX |
                        LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
    }
    loops[0] = loop_uv();
    context = lws_create_context(&info);
    vhost = context ? lws_get_vhost_by_name(context, "default") : NULL;
    return vhost != NULL;
}

bool server_init(bool share_port)
{
    int port = -1;

    connections = metric_family(METRIC_GAUGE, "signalbox_connections", "Open WebSockets", "path");
    refused = metric_family(METRIC_COUNTER, "signalbox_handshakes_refused_total", "Refused connections and upgrades",
                            "reason");
    sessions_init();
    dialect_init();
    request_init();
    handshakes_init(listener_resume);
    gate_init();
    limits_init();
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    if (make_context())
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
    handshakes_fini();
    if (context)
        lws_context_destroy(context);
    sessions_fini();
    http_fini();
    limits_fini();
    dialect_fini();
    request_fini();
}
