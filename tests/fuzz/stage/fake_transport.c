/* SPDX-License-Identifier: MIT */
/* In the place of net/transport.c: what a client has sent lies ready, and each answer is looked at. */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/transport.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/json_scan.h"
#include "stage.h"

struct wire {
    struct builder in;
    size_t read;
    bool open, ended, blocked, again;
    struct transport_watch *watch;
    enum transport_event awaited;
};

static struct wire wires[STAGE_CLIENTS];

static struct wire *wire_of(const struct transport *t)
{
    assert(t->fd >= 0 && t->fd < STAGE_CLIENTS && wires[t->fd].open);
    return &wires[t->fd];
}

/* --- what is answered --- */

static struct span field_of(struct span head, const char *name)
{
    const char *at = memmem(head.at, head.len, name, strlen(name)), *end;

    if (!at)
        return (struct span){"", 0};
    at += strlen(name);
    end = memmem(at, (size_t)(head.at + head.len - at), "\r\n", 2);
    return (struct span){at, (size_t)(end - at)};
}

static void check_head(struct span head)
{
    assert(head.len > 15 && memcmp(head.at, "HTTP/1.1 ", 9) == 0 && head.at[9] >= '1' && head.at[9] <= '5');
    for (size_t i = 0; i < head.len; i++) {
        unsigned char c = (unsigned char)head.at[i];

        assert(c != '\0' && (c >= ' ' || c == '\r' || c == '\n'));
        assert(c != '\n' || head.at[i - 1] == '\r');
    }
}

/* An answer is written in one piece, unless its client reads nothing. JSON is JSON, unless Redis gave us none. */
static void check_answer(struct span text)
{
    static struct json_members members;
    const char *end = memmem(text.at, text.len, "\r\n\r\n", 4);
    struct span head, length, body;

    assert(end);
    head = (struct span){text.at, (size_t)(end - text.at) + 2};
    check_head(head);
    body = (struct span){end + 4, text.len - head.len - 2};
    length = field_of(head, "\r\ncontent-length: ");
    if (body.len > 0) {
        assert(length.len > 0 && strtoul(length.at, NULL, 10) == body.len);
        assert(!span_is(field_of(head, "\r\ncontent-type: "), "application/json") || !stage_trusted ||
               json_scan(body, &members));
    }
}

/* --- the transport --- */

void transport_open(struct transport *t, int fd)
{
    *t = (struct transport){.fd = fd};
}

ssize_t transport_read(struct transport *t, void *buf, size_t len)
{
    struct wire *w = wire_of(t);
    size_t left = builder_len(&w->in) - w->read;

    len = len < left ? len : left;
    if (len == 0)
        return w->ended ? TRANSPORT_END : TRANSPORT_WAIT;
    memcpy(buf, bytes_data(w->in.bytes) + w->read, len);
    w->read += len;
    return (ssize_t)len;
}

ssize_t transport_write(struct transport *t, const void *data, size_t len)
{
    struct wire *w = wire_of(t);

    if (w->blocked)
        return TRANSPORT_WAIT;
    check_answer((struct span){data, len});
    return (ssize_t)len;
}

bool transport_pending(const struct transport *t)
{
    (void)t;
    return false;
}

struct transport transport_take(struct transport *t)
{
    struct transport taken = *t;

    *t = (struct transport){.fd = -1};
    return taken;
}

void transport_say_end(struct transport *t)
{
    (void)t;
}

void transport_goodbye(struct transport *t)
{
    wire_of(t);
}

void transport_forget(struct transport *t)
{
    *t = (struct transport){.fd = -1};
}

void transport_close(struct transport *t)
{
    struct wire *w = t->fd >= 0 ? wire_of(t) : NULL;

    if (w) {
        builder_free(&w->in);
        *w = (struct wire){0};
    }
    transport_forget(t);
}

/* --- waiting --- */

void transport_watch_init(struct transport_watch *w, void (*on_ready)(void *arg), void *arg)
{
    *w = (struct transport_watch){.on_ready = on_ready, .arg = arg};
}

void transport_await(struct transport_watch *watch, const struct transport *t, enum transport_event what)
{
    struct wire *w = wire_of(t);

    w->watch = watch;
    w->awaited = what;
}

void transport_again(struct transport_watch *watch)
{
    for (size_t i = 0; i < STAGE_CLIENTS; i++)
        wires[i].again |= wires[i].watch == watch;
}

void transport_watch_free(struct transport_watch *watch)
{
    for (size_t i = 0; i < STAGE_CLIENTS; i++)
        if (wires[i].watch == watch)
            wires[i].watch = NULL;
}

/* --- for the stage --- */

bool fake_wire_open(int fd)
{
    if (wires[fd].open)
        return false;
    wires[fd].open = true;
    return true;
}

bool fake_wire_is_open(int fd)
{
    return wires[fd].open;
}

void fake_wire_send(int fd, struct span bytes)
{
    if (wires[fd].open && !wires[fd].ended)
        builder_add(&wires[fd].in, bytes);
}

void fake_wire_end(int fd)
{
    wires[fd].ended = true;
}

void fake_wire_block(int fd, bool blocked)
{
    wires[fd].blocked = blocked;
}

void fake_wire_drop(int fd)
{
    builder_free(&wires[fd].in);
    wires[fd] = (struct wire){0};
}

bool fake_wire_turn(int fd)
{
    struct wire *w = &wires[fd];
    bool readable = w->awaited == TRANSPORT_READABLE && (builder_len(&w->in) > w->read || w->ended);
    bool due = w->again || readable || (w->awaited == TRANSPORT_WRITABLE && !w->blocked);

    if (!w->open || !w->watch || !due)
        return false;
    w->again = false;
    w->watch->on_ready(w->watch->arg);
    return true;
}
