/* SPDX-License-Identifier: MIT */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "tls.h"

#define BUFFER_SIZE (1 << 20)
#define PORTS_PER_ADDRESS 10000 /* a source address has some 28,000 to give */

static int epoll_fd;
static bool speaks_tls;
static const struct client_events *events;
static const char *upgrade_path;

uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void client_init(int epoll, bool tls, const struct client_events *e)
{
    epoll_fd = epoll;
    speaks_tls = tls;
    events = e;
    if (tls)
        tls_init();
}

static void watch(const struct client *c, int operation, uint32_t what)
{
    struct epoll_event e = {what, {.ptr = (void *)c}};

    epoll_ctl(epoll_fd, operation, c->fd, &e);
}

/* Closes with a reset, which leaves no port in TIME_WAIT. */
void client_close(struct client *c)
{
    struct linger at_once = {1, 0};

    if (c->state == CLIENT_CLOSED)
        return;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    tls_free(c->ssl);
    close(c->fd);
    free(c->in);
    free(c->out);
    c->ssl = NULL;
    c->in = c->out = NULL;
    c->in_len = c->out_len = 0;
    c->state = CLIENT_CLOSED;
}

static void fail(struct client *c, const char *why)
{
    client_close(c);
    events->closed(c, why);
}

static void keep(char **at, size_t *len, const char *data, size_t size)
{
    free(*at);
    *at = NULL;
    *len = size;
    if (size == 0)
        return;
    *at = malloc(size);
    if (!*at)
        abort();
    memcpy(*at, data, size);
}

void client_open(struct client *c, int port, const char *path)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int on = 1;

    upgrade_path = path;
    c->port = port;
    c->opened_ns = clock_ns();
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        events->closed(c, strerror(errno));
        return;
    }
    c->state = CLIENT_CONNECTING;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(c->index / PORTS_PER_ADDRESS));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)port);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS)) {
        fail(c, strerror(errno));
        return;
    }
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static ssize_t write_some(const struct client *c, const char *data, size_t len)
{
    return c->ssl ? tls_send(c->ssl, data, len) : send(c->fd, data, len, MSG_NOSIGNAL);
}

static ssize_t read_some(const struct client *c, char *buffer, size_t room)
{
    return c->ssl ? tls_recv(c->ssl, buffer, room) : recv(c->fd, buffer, room, 0);
}

static void put(struct client *c, const char *data, size_t len)
{
    ssize_t n = c->out_len ? 0 : write_some(c, data, len);
    size_t taken = n > 0 ? (size_t)n : 0;

    if (taken == len)
        return;
    c->out = realloc(c->out, c->out_len + len - taken);
    if (!c->out)
        abort();
    memcpy(c->out + c->out_len, data + taken, len - taken);
    c->out_len += len - taken;
    watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void put_frame(struct client *c, unsigned opcode, const char *payload, size_t len)
{
    static char whole[BUFFER_SIZE];

    if (len > sizeof(whole) - FRAME_HEAD_MAX)
        abort();
    put(c, whole, frame_write(whole, opcode, payload, len));
}

void client_send(struct client *c, const char *text, size_t len)
{
    if (c->state == CLIENT_OPEN)
        put_frame(c, FRAME_TEXT, text, len);
}

static void flush(struct client *c)
{
    ssize_t n = write_some(c, c->out, c->out_len);

    if (n > 0) {
        c->out_len -= (size_t)n;
        memmove(c->out, c->out + n, c->out_len);
    }
    if (c->out_len == 0)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void ask_to_upgrade(struct client *c)
{
    char request[512];

    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             upgrade_path, c->port);
    c->state = CLIENT_UPGRADING;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    put(c, request, strlen(request));
}

static void shake_hands(struct client *c)
{
    int n = tls_shake_hands(c->ssl);

    if (n > 0)
        ask_to_upgrade(c);
    else if (n == 0)
        fail(c, "closed without a word");
    else if (errno == EAGAIN)
        watch(c, EPOLL_CTL_MOD, tls_wants_write(c->ssl) ? EPOLLOUT : EPOLLIN);
    else
        fail(c, strerror(errno));
}

static void connected(struct client *c)
{
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail(c, strerror(error));
    } else if (speaks_tls) {
        c->state = CLIENT_SHAKING_HANDS;
        c->ssl = tls_new(c->fd);
        shake_hands(c);
    } else {
        ask_to_upgrade(c);
    }
}

/* The answer to the upgrade: how many bytes it takes, 0 while it is not whole or when the client was closed. */
static size_t take_answer(struct client *c, const char *data, size_t len)
{
    const char *end = memmem(data, len, "\r\n\r\n", 4);
    char why[32];

    if (!end)
        return 0;
    if (len < 12 || memcmp(data + 8, " 101", 4) != 0) {
        snprintf(why, sizeof(why), "HTTP %.3s", data + 9);
        fail(c, why);
        return 0;
    }
    c->state = CLIENT_OPEN;
    events->opened(c);
    return (size_t)(end + 4 - data);
}

static size_t take_frame(struct client *c, const char *data, size_t len)
{
    struct frame f = {0};
    size_t n = frame_read(data, len, &f);
    char why[32];

    if (n == FRAME_BAD) {
        fail(c, "not a frame");
        return 0;
    }
    if (n == 0)
        return 0;
    if (f.opcode == FRAME_TEXT) {
        events->text(c, f.payload, f.len);
    } else if (f.opcode == FRAME_PING) {
        put_frame(c, FRAME_PONG, f.payload, f.len);
    } else if (f.opcode == FRAME_CLOSE) {
        snprintf(why, sizeof(why), "close %d",
                 f.len < 2 ? 1005 : (unsigned char)f.payload[0] << 8 | (unsigned char)f.payload[1]);
        fail(c, why);
    }
    return n;
}

static void take_in(struct client *c, const char *data, size_t len)
{
    size_t done = 0, n = 1;

    while (n > 0 && done < len) {
        n = c->state == CLIENT_OPEN ? take_frame(c, data + done, len - done) : take_answer(c, data + done, len - done);
        if (c->state < CLIENT_UPGRADING)
            return;
        done += n;
    }
    keep(&c->in, &c->in_len, data + done, len - done);
}

/* Whether anything came. */
static bool receive(struct client *c)
{
    static char buffer[BUFFER_SIZE];
    ssize_t n;

    if (c->in_len == sizeof(buffer)) {
        fail(c, "too big a frame");
        return false;
    }
    if (c->in_len)
        memcpy(buffer, c->in, c->in_len);
    n = read_some(c, buffer + c->in_len, sizeof(buffer) - c->in_len);
    if (n > 0)
        take_in(c, buffer, c->in_len + (size_t)n);
    else if (n == 0)
        fail(c, "closed without a word");
    else if (errno != EAGAIN && errno != EINTR)
        fail(c, strerror(errno));
    return n > 0;
}

void client_ready(struct client *c, uint32_t what)
{
    if (c->state == CLIENT_CONNECTING) {
        connected(c);
        return;
    }
    if (c->state == CLIENT_SHAKING_HANDS) {
        shake_hands(c);
        return;
    }
    if (c->state != CLIENT_CLOSED && what & EPOLLOUT && c->out_len)
        flush(c);
    if (c->state != CLIENT_CLOSED && what & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(c);
    while (c->ssl && tls_pending(c->ssl) && receive(c))
        ;
}
