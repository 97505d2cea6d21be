/* SPDX-License-Identifier: MIT */
#include "signalbox/websocket_io.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM_LEAST 64

static struct websocket_io **by_descriptor;
static size_t room;

bool websocket_io_works(void)
{
    return dlsym(RTLD_DEFAULT, "recv") == (void *)(uintptr_t)recv &&
           dlsym(RTLD_DEFAULT, "send") == (void *)(uintptr_t)send &&
           dlsym(RTLD_DEFAULT, "shutdown") == (void *)(uintptr_t)shutdown;
}

void websocket_io_attach(struct websocket_io *io)
{
    size_t fd = (size_t)io->transport.fd, more = room ? room : ROOM_LEAST;

    while (more <= fd)
        more *= 2;
    if (more > room) {
        by_descriptor = mem_grow(by_descriptor, more * sizeof(struct websocket_io *));
        memset(by_descriptor + room, 0, (more - room) * sizeof(struct websocket_io *));
        room = more;
    }
    by_descriptor[fd] = io;
}

static struct websocket_io *find(int fd)
{
    return fd >= 0 && (size_t)fd < room ? by_descriptor[fd] : NULL;
}

void websocket_io_detach(struct websocket_io *io)
{
    if (find(io->transport.fd) == io)
        by_descriptor[io->transport.fd] = NULL;
    transport_forget(&io->transport);
    frame_watch_free(&io->watch);
    bytes_unref(io->first);
    bytes_unref(io->early);
    io->first = io->early = NULL;
}

bool websocket_io_unread(const struct websocket_io *io)
{
    return io->early || transport_pending(&io->transport);
}

static ssize_t again(void)
{
    errno = EAGAIN;
    return -1;
}

/* Some of what was kept, in its order; 0: none is left. */
static size_t read_kept(struct bytes **kept, size_t *read, void *buf, size_t len)
{
    size_t left;

    if (!*kept)
        return 0;
    left = bytes_len(*kept) - *read;
    len = len < left ? len : left;
    memcpy(buf, bytes_data(*kept) + *read, len);
    *read += len;
    if (len == left) {
        bytes_unref(*kept);
        *kept = NULL;
    }
    return len;
}

static ssize_t read_frames(struct websocket_io *io, char *buf, size_t len)
{
    bool was_violated = io->watch.violated;
    size_t n = read_kept(&io->early, &io->early_read, buf, len);
    ssize_t got = n ? (ssize_t)n : transport_read(&io->transport, buf, len);

    if (got == TRANSPORT_WAIT)
        return again();
    if (got <= 0)
        return 0;
    n = frame_watch_pass(&io->watch, buf, (size_t)got, io->on_ping, io->arg);
    if (websocket_io_unread(io) || io->watch.violated != was_violated)
        io->on_unread(io->arg);
    return n ? (ssize_t)n : again();
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    struct websocket_io *io = find(fd);
    size_t n;

    if (!io || flags)
        return recvfrom(fd, buf, len, flags, NULL, NULL);
    n = read_kept(&io->first, &io->first_read, buf, len);
    return n ? (ssize_t)n : read_frames(io, buf, len);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    struct websocket_io *io = find(fd);
    ssize_t n;

    if (!io || !io->transport.ssl)
        return sendto(fd, data, len, flags, NULL, 0);
    n = transport_write(&io->transport, data, len);
    if (n == TRANSPORT_WAIT)
        return again();
    if (n < 0)
        errno = EPIPE;
    return n < 0 ? -1 : n;
}

int shutdown(int fd, int how)
{
    struct websocket_io *io = find(fd);

    if (io && how != SHUT_RD)
        transport_say_end(&io->transport);
    return (int)syscall(SYS_shutdown, fd, how);
}
