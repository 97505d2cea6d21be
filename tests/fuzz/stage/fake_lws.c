/* SPDX-License-Identifier: MIT */
/* In the place of libwebsockets, for those of its functions that sessions call, and of net/websocket.c. */
#undef NDEBUG /* the asserts are what is tested */
#include <assert.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/dialect.h"
#include "signalbox/json_scan.h"
#include "signalbox/limits.h"
#include "signalbox/loop.h"
#include "signalbox/server.h"
#include "signalbox/session.h"
#include "signalbox/transport.h"
#include "signalbox/websocket.h"
#include "stage.h"

int lws_callback_on_writable(struct lws *wsi)
{
    wsi->wants_write = true;
    return 1;
}

void lws_set_timeout(struct lws *wsi, enum pending_timeout reason, int seconds)
{
    (void)reason;
    assert(seconds == LWS_TO_KILL_SYNC);
    fake_lws_close(wsi);
}

int lws_partial_buffered(struct lws *wsi)
{
    return wsi->blocked;
}

int lws_rx_flow_control(struct lws *wsi, int on)
{
    wsi->paused = !on;
    return 0;
}

lws_sockfd_type lws_get_socket_fd(struct lws *wsi)
{
    return (int)(wsi - stage_clients);
}

struct lws_context *lws_get_context(const struct lws *wsi)
{
    (void)wsi;
    return NULL;
}

/* It is hung up. */
int lws_service_fd(struct lws_context *none, struct lws_pollfd *poll)
{
    assert(!none && poll->revents == LWS_POLLHUP);
    fake_lws_close(&stage_clients[poll->fd]);
    return 0;
}

void lws_close_reason(struct lws *wsi, enum lws_close_status status, unsigned char *text, size_t len)
{
    (void)wsi;
    assert(status >= 1000 && len <= 123 && memchr(text, '\0', len + 1));
}

static void note_nonce(struct lws *wsi, struct span message)
{
    static const char head[] = "{\"type\":\"challenge\",\"nonce\":\"";

    if (message.len < sizeof(head) - 1 + 64 || memcmp(message.at, head, sizeof(head) - 1) != 0)
        return;
    memcpy(wsi->nonce, message.at + sizeof(head) - 1, 64);
}

/* Whatever a client is sent is JSON, unless Redis gave us what is none: that is passed on as it is. */
static void check_json(struct span text)
{
    static struct json_members members;

    if (json_scan(text, &members) || !stage_trusted)
        return;
    fprintf(stderr, "this is no JSON: %.*s\n", (int)text.len, text.at);
    abort();
}

int lws_write(struct lws *wsi, unsigned char *buf, size_t len, enum lws_write_protocol protocol)
{
    struct span text = {(const char *)buf, len};

    if (protocol == LWS_WRITE_TEXT)
        check_json(text);
    if (protocol == LWS_WRITE_TEXT)
        note_nonce(wsi, text);
    return (int)len;
}

/* --- the connection --- */

/* As net/websocket.c does it; what came behind the head is dropped. */
void websocket_open(struct transport *t, const struct websocket_opening *o)
{
    struct transport taken = transport_take(t);
    struct lws *wsi = &stage_clients[taken.fd];

    assert(strlen(o->key) == WEBSOCKET_KEY_LEN);
    fake_wire_drop(taken.fd);
    fake_lws_close(wsi);
    wsi->session = dialect_open(o->path->dialect, wsi, o->ip);
    dialect_opened(wsi->session, &(struct opening){o->rest, o->ip, o->argument}, o->tokens);
    ip_close(o->ip);
}

void websocket_io_resume(int fd)
{
    (void)fd;
}

bool websockets_init(unsigned descriptors)
{
    return descriptors > 0;
}

void websockets_fini(void)
{
}

void fake_lws_close(struct lws *wsi)
{
    struct session *s = wsi->session;

    wsi->session = NULL;
    if (s)
        session_ended(s);
    *wsi = (struct lws){0};
}

bool fake_lws_write(struct lws *wsi)
{
    if (!wsi->wants_write || wsi->blocked)
        return false;
    wsi->wants_write = false;
    if (wsi->session && !session_writable(wsi->session))
        fake_lws_close(wsi);
    return true;
}
