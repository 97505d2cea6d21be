/* SPDX-License-Identifier: MIT */
/* signalbox-echo: the least that a WebSocket server can do, as a yardstick for the machine of the moment: one epoll
   loop that sends each message back to who sent it. Prints the port it listens on. It checks nothing. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_SIZE 16384

static const char switching[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct connection {
    int fd;
    bool open;
    size_t len;
    char in[BUFFER_SIZE];
};

static void watch(int epoll, int fd, void *who)
{
    struct epoll_event e = {EPOLLIN, {.ptr = who}};

    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

static int listener_new(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &size) != 0) {
        perror("signalbox-echo");
        exit(1);
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

/* One message back: the frame as it came, without the mask. How many bytes it took, 0: not whole yet. */
static size_t echo_one(const struct connection *c, char *at, size_t len)
{
    size_t head = 2, size;

    if (len < 2)
        return 0;
    size = (unsigned char)at[1] & 0x7f;
    if (size == 126) {
        head = 4;
        size = len < head ? BUFFER_SIZE : (size_t)(unsigned char)at[2] << 8 | (unsigned char)at[3];
    }
    if (len < head + 4 + size)
        return 0;
    for (size_t i = 0; i < size; i++)
        at[head + 4 + i] = (char)(at[head + 4 + i] ^ at[head + (i & 3)]);
    at[1] &= 0x7f;
    memmove(at + 4, at, head);
    if (send(c->fd, at + 4, head + size, MSG_NOSIGNAL) < 0)
        return 0;
    return head + 4 + size;
}

static void take_in(struct connection *c)
{
    size_t done = 0, n;

    if (!c->open) {
        c->open = memmem(c->in, c->len, "\r\n\r\n", 4) != NULL;
        if (c->open && send(c->fd, switching, sizeof(switching) - 1, MSG_NOSIGNAL) > 0)
            c->len = 0;
        return;
    }
    while ((n = echo_one(c, c->in + done, c->len - done)) > 0)
        done += n;
    c->len -= done;
    memmove(c->in, c->in + done, c->len);
}

static void on_connection(int epoll, int listener)
{
    struct connection *c = calloc(1, sizeof(*c));
    int on = 1;

    if (!c)
        abort();
    c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (c->fd < 0) {
        free(c);
        return;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(epoll, c->fd, c);
}

static void on_bytes(struct connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->len, sizeof(c->in) - c->len, 0);

    if (n > 0) {
        c->len += (size_t)n;
        take_in(c);
    } else {
        close(c->fd);
        free(c);
    }
}

int main(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), listener = listener_new();
    struct epoll_event got[256];
    struct rlimit files;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    watch(epoll, listener, NULL);
    while (true) {
        int n = epoll_wait(epoll, got, sizeof(got) / sizeof(got[0]), -1);

        for (int i = 0; i < n; i++) {
            if (got[i].data.ptr)
                on_bytes(got[i].data.ptr);
            else
                on_connection(epoll, listener);
        }
    }
}
