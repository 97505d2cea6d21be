/* SPDX-License-Identifier: MIT */
/* In the place of libwebsockets, for those of its functions that sessions and exchanges call. */
#undef NDEBUG /* the asserts are what is tested */
#include <assert.h>
#include <ctype.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/http.h"
#include "signalbox/json.h"
#include "signalbox/loop.h"
#include "signalbox/session.h"
#include "stage.h"

int lws_callback_on_writable(struct lws *wsi)
{
    wsi->wants_write = true;
    return 1;
}

void lws_set_timeout(struct lws *wsi, enum pending_timeout reason, int seconds)
{
    if (seconds == LWS_TO_KILL_SYNC)
        fake_lws_close(wsi);
    else
        wsi->kill_ms = reason == NO_PENDING_TIMEOUT ? 0 : loop_ms() + seconds * 1000;
}

int lws_partial_buffered(struct lws *wsi)
{
    return wsi->blocked;
}

int lws_send_pipe_choked(struct lws *wsi)
{
    return wsi->blocked;
}

int lws_rx_flow_control(struct lws *wsi, int on)
{
    wsi->paused = !on;
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

    if (protocol == LWS_WRITE_TEXT || (protocol == LWS_WRITE_HTTP_FINAL && wsi->json))
        check_json(text);
    if (protocol == LWS_WRITE_TEXT)
        note_nonce(wsi, text);
    return (int)len;
}

/* --- the head of an answer --- */

static int put(struct span text, unsigned char **at, unsigned char *end)
{
    if ((size_t)(end - *at) < text.len)
        return 1;
    memcpy(*at, text.at, text.len);
    *at += text.len;
    return 0;
}

int lws_add_http_header_status(struct lws *wsi, unsigned int code, unsigned char **at, unsigned char *end)
{
    assert(code >= 200 && code < 600);
    wsi->json = false;
    return put(SPAN("HTTP/1.1 200 OK\r\n"), at, end);
}

int lws_add_http_header_by_name(struct lws *wsi, const unsigned char *name, const unsigned char *value, int length,
                                unsigned char **at, unsigned char *end)
{
    struct span text = {(const char *)value, (size_t)length};

    for (size_t i = 0; i < text.len; i++)
        assert(text.at[i] != '\r' && text.at[i] != '\n' && text.at[i] != '\0');
    if (strcmp((const char *)name, "content-type:") == 0)
        wsi->json = span_is(text, "application/json");
    return put(span_of((const char *)name), at, end) || put(text, at, end) || put(SPAN("\r\n"), at, end);
}

int lws_add_http_header_content_length(struct lws *wsi, lws_filepos_t length, unsigned char **at, unsigned char *end)
{
    (void)wsi;
    (void)length;
    return put(SPAN("content-length:0\r\n"), at, end);
}

int lws_finalize_http_header(struct lws *wsi, unsigned char **at, unsigned char *end)
{
    (void)wsi;
    return put(SPAN("\r\n"), at, end);
}

int lws_http_transaction_completed(struct lws *wsi)
{
    (void)wsi;
    return 0;
}

/* --- the request --- */

static int hex(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

char *percent_decode(struct span text)
{
    char *out = mem_alloc(text.len + 1), *to = out;

    for (size_t i = 0; i < text.len; i++) {
        bool coded = text.at[i] == '%' && i + 2 < text.len && isxdigit((unsigned char)text.at[i + 1]) &&
                     isxdigit((unsigned char)text.at[i + 2]);

        *to++ = coded ? (char)(hex(text.at[i + 1]) * 16 + hex(text.at[i + 2])) : text.at[i];
        i += coded ? 2 : 0;
    }
    return out;
}

/* As libwebsockets: the whole argument is written, and what is behind its name is returned. */
const char *lws_get_urlarg_by_name(struct lws *wsi, const char *name, char *buf, int len)
{
    for (const char *at = wsi->query; *at; at += strcspn(at, "&"), at += *at == '&') {
        char *argument = percent_decode((struct span){at, strcspn(at, "&")});
        bool found = strncmp(argument, name, strlen(name)) == 0 && strlen(argument) < (size_t)len;

        if (found)
            memcpy(buf, argument, strlen(argument) + 1);
        free(argument);
        if (found)
            return buf + strlen(name);
    }
    return NULL;
}

/* --- the connection --- */

void fake_lws_close(struct lws *wsi)
{
    struct session *s = wsi->session;
    struct exchange *x = wsi->exchange;

    wsi->session = NULL;
    wsi->exchange = NULL;
    if (s)
        session_ended(s);
    if (x)
        exchange_ended(x);
    free(wsi->query);
    *wsi = (struct lws){0};
}

bool fake_lws_write(struct lws *wsi)
{
    if (!wsi->wants_write || wsi->blocked)
        return false;
    wsi->wants_write = false;
    if ((wsi->session && !session_writable(wsi->session)) || (wsi->exchange && exchange_write(wsi->exchange) != 0))
        fake_lws_close(wsi);
    return true;
}
