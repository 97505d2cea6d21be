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
static void (*ping_callback)(struct websocket_io *io, struct span payload);
static void (*unread_callback)(struct websocket_io *io);

bool websocket_io_init(void (*on_ping)(struct websocket_io *io, struct span payload),
                       void (*on_unread)(struct websocket_io *io))
{
    ping_callback = on_ping;
    unread_callback = on_unread;
    return dlsym(RTLD_DEFAULT, "recv") == (void *)(uintptr_t)recv &&
           dlsym(RTLD_DEFAULT, "send") == (void *)(uintptr_t)send &&
           dlsym(RTLD_DEFAULT, "shutdown") == (void *)(uintptr_t)shutdown;
}

void websocket_io_fini(void)
{
    free(by_descriptor);
    by_descriptor = NULL;
    room = 0;
}

static void make_room(size_t fd)
{
    size_t more = room ? room : ROOM_LEAST;

    while (more <= fd)
        more *= 2;
    if (more == room)
        return;
    by_descriptor = mem_grow(by_descriptor, more * sizeof(struct websocket_io *));
    memset(by_descriptor + room, 0, (more - room) * sizeof(struct websocket_io *));
    room = more;
}

void websocket_io_attach(struct websocket_io *io, struct transport transport, struct span head, struct span early)
{
    struct builder kept = {0};

    builder_add(&kept, head);
    builder_add(&kept, early);
    *io = (struct websocket_io){.transport = transport, .kept = builder_take(&kept), .kept_head = (unsigned)head.len};
    make_room((size_t)transport.fd);
    by_descriptor[transport.fd] = io;
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
    bytes_unref(io->kept);
    io->kept = NULL;
}

bool websocket_io_unread(const struct websocket_io *io)
{
    return io->kept || transport_pending(&io->transport);
}

void websocket_io_resume(int fd)
{
    struct websocket_io *io = find(fd);

    if (io && websocket_io_unread(io))
        unread_callback(io);
}

static ssize_t again(void)
{
    errno = EAGAIN;
    return -1;
}

/* Up to that place of what is kept; there is some. */
static size_t read_kept(struct websocket_io *io, size_t end, void *buf, size_t len)
{
    size_t left = end - io->kept_read;

    len = len < left ? len : left;
    memcpy(buf, bytes_data(io->kept) + io->kept_read, len);
    io->kept_read += (unsigned)len;
    if (io->kept_read == bytes_len(io->kept)) {
        bytes_unref(io->kept);
        io->kept = NULL;
    }
    return len;
}

static void on_ping(struct span payload, void *io)
{
    ping_callback(io, payload);
}

static ssize_t read_frames(struct websocket_io *io, char *buf, size_t len)
{
    bool was_violated = io->watch.violated;
    ssize_t n =
        io->kept ? (ssize_t)read_kept(io, bytes_len(io->kept), buf, len) : transport_read(&io->transport, buf, len);

    if (n == TRANSPORT_WAIT)
        return again();
    if (n <= 0)
        return 0;
    n = (ssize_t)frame_watch_pass(&io->watch, buf, (size_t)n, on_ping, io);
    if (websocket_io_unread(io) || io->watch.violated != was_violated)
        unread_callback(io);
    return n ? n : again();
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    struct websocket_io *io = find(fd);

    if (!io || flags)
        return recvfrom(fd, buf, len, flags, NULL, NULL);
    if (io->kept && io->kept_read < io->kept_head)
        return (ssize_t)read_kept(io, io->kept_head, buf, len);
    return read_frames(io, buf, len);
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
