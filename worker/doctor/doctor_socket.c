/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "signalbox/redis_target.h"
#include "signalbox/redis_tls.h"

#define PATIENCE_SECONDS 3
#define PROBLEM_BYTES 128
#define LATE "no answer in time"
#define TLS_ALERT 0x15 /* what a record of TLS that says why not begins with */
#define CLOSED "closed"

struct doctor_socket {
    int fd;
    SSL *ssl; /* NULL: plain */
    redisReader *reader;
    bool heard; /* anything of it */
    bool lost;
    char problem[REDIS_TLS_PROBLEM_MAX];
};

static const char *error_text(void)
{
    return errno == EAGAIN || errno == EINPROGRESS ? LATE : strerror(errno);
}

static void lose(struct doctor_socket *s, const char *why)
{
    bool hung_up = strcmp(why, CLOSED) == 0 || strcmp(why, strerror(ECONNRESET)) == 0;

    s->lost = true;
    if (!s->ssl && !s->heard && hung_up)
        why = "closed before it answered: does it want TLS (rediss://)?";
    snprintf(s->problem, sizeof(s->problem), "%s", why);
}

/* --- connecting --- */

/* Gives the kernel no more than PATIENCE_SECONDS. */
static bool connect_in_time(int fd, const struct sockaddr *at, socklen_t len)
{
    struct pollfd wait = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof(error);

    if (connect(fd, at, len) == 0)
        return true;
    if (errno != EINPROGRESS || poll(&wait, 1, PATIENCE_SECONDS * 1000) != 1)
        return false;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0;
}

/* -1: errno says why not. */
static int connect_to(const struct sockaddr *at, socklen_t len)
{
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int fd = socket(at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

    if (fd < 0)
        return -1;
    if (connect_in_time(fd, at, len)) {
        fcntl(fd, F_SETFL, 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        return fd;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int connect_by_name(const struct redis_place *place, char problem[static PROBLEM_BYTES])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char service[12];
    int fd = -1, error;

    snprintf(service, sizeof(service), "%d", place->port);
    error = getaddrinfo(place->host, service, &hints, &found);
    if (error) {
        snprintf(problem, PROBLEM_BYTES, "%s", gai_strerror(error));
        return -1;
    }
    for (const struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = connect_to(at->ai_addr, at->ai_addrlen);
    if (fd < 0)
        snprintf(problem, PROBLEM_BYTES, "%s", error_text());
    freeaddrinfo(found);
    return fd;
}

static int connect_by_path(const char *path, char problem[static PROBLEM_BYTES])
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd;

    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    fd = connect_to((const struct sockaddr *)&at, sizeof(at));
    if (fd < 0)
        snprintf(problem, PROBLEM_BYTES, "%s", error_text());
    return fd;
}

/* What a TLS call that returned n means for the socket. late: why it is lost if nothing came. */
static void judge_tls(struct doctor_socket *s, int n, const char *late)
{
    char problem[REDIS_TLS_PROBLEM_MAX];
    bool wants_write;
    const char *why = redis_tls_problem(s->ssl, n, &wants_write, problem);

    lose(s, why ? why : late);
}

struct doctor_socket *doctor_socket_open(const struct redis_place *place, const char *tls_name,
                                         char problem[static PROBLEM_BYTES])
{
    int fd = place->path ? connect_by_path(place->path, problem) : connect_by_name(place, problem), n;
    struct doctor_socket *s;

    if (fd < 0)
        return NULL;
    s = mem_alloc(sizeof(*s));
    *s = (struct doctor_socket){.fd = fd, .reader = redisReaderCreate()};
    if (!s->reader)
        abort();
    if (!tls_name)
        return s;
    s->ssl = redis_tls_new(fd, tls_name);
    SSL_set_mode(s->ssl, SSL_MODE_AUTO_RETRY);
    n = SSL_connect(s->ssl);
    if (n == 1)
        return s;
    judge_tls(s, n, LATE " while TLS was to be agreed on: does it speak TLS?");
    snprintf(problem, PROBLEM_BYTES, "%.127s", s->problem);
    doctor_socket_close(s);
    return NULL;
}

/* --- asking --- */

static void write_all(struct doctor_socket *s, struct span data)
{
    while (data.len > 0 && !s->lost) {
        ssize_t n = s->ssl ? SSL_write(s->ssl, data.at, (int)data.len) : send(s->fd, data.at, data.len, MSG_NOSIGNAL);

        if (n > 0)
            data = (struct span){data.at + n, data.len - (size_t)n};
        else if (s->ssl)
            judge_tls(s, (int)n, LATE);
        else
            lose(s, error_text());
    }
}

static void read_more(struct doctor_socket *s)
{
    char buf[16384];
    ssize_t n = s->ssl ? SSL_read(s->ssl, buf, sizeof(buf)) : recv(s->fd, buf, sizeof(buf), 0);

    s->heard |= n > 0 && *buf != TLS_ALERT;
    if (n > 0 && (s->ssl || s->heard))
        redisReaderFeed(s->reader, buf, (size_t)n);
    else if (s->ssl)
        judge_tls(s, (int)n, LATE);
    else
        lose(s, n >= 0 ? CLOSED : error_text());
}

struct redisReply *doctor_socket_ask(struct doctor_socket *s, struct span resp)
{
    void *r = NULL;

    write_all(s, resp);
    while (!r && !s->lost) {
        if (redisReaderGetReply(s->reader, &r) != REDIS_OK)
            lose(s, s->reader->errstr);
        else if (!r)
            read_more(s);
    }
    return r;
}

const char *doctor_socket_problem(const struct doctor_socket *s)
{
    return s->lost ? s->problem : NULL;
}

void doctor_socket_close(struct doctor_socket *s)
{
    if (!s)
        return;
    SSL_free(s->ssl);
    close(s->fd);
    redisReaderFree(s->reader);
    free(s);
}
