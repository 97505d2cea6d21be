/* SPDX-License-Identifier: MIT */
#include "signalbox/storage.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"
#include "signalbox/storage_address.h"
#include "signalbox/storage_brake.h"

#define REFRESH_MS 1000
#define REFRESH_PARTS 200
#define TELL_MS 1000
#define ENDS_IN_TTL 16 /* ends are rounded up to a power of two, of that part of the ttl or less: so there are few */

/* What a session stores that ends at the same time. */
struct part {
    int64_t ends_ms; /* loop_ms(); 0: with the session */
    size_t bytes;
    bool outlives;
};

struct stored {
    size_t count;
    struct part *parts;
};

static size_t slot; /* of a session: struct stored */
static struct metric_family *refused;

size_t stored_text(const char *text)
{
    return strlen(text) + strlen(text) / 4;
}

/* --- what a session stores --- */

static size_t total(const struct stored *st)
{
    size_t sum = 0;

    for (size_t i = 0; st && i < st->count; i++)
        sum += st->parts[i].bytes;
    return sum;
}

/* What outlives its socket ends in Redis by itself. */
static void end_part(struct session *s, struct stored *st, size_t i)
{
    if (!st->parts[i].outlives)
        storage_address_give_back(session_ip(s), st->parts[i].bytes, 0);
    st->parts[i] = st->parts[--st->count];
}

static void drop_ended(struct session *s, void *arg)
{
    struct stored *st = *session_slot(s, slot);

    (void)arg;
    for (size_t i = st ? st->count : 0; i-- > 0;)
        if (st->parts[i].ends_ms && st->parts[i].ends_ms <= loop_ms())
            end_part(s, st, i);
}

static int64_t end_of(long long ttl_ms)
{
    int64_t step = 1;

    if (ttl_ms == 0)
        return 0;
    while (step * 2 * ENDS_IN_TTL <= ttl_ms)
        step *= 2;
    return (loop_ms() + ttl_ms + step - 1) / step * step;
}

static void add(struct session *s, const struct storing *what)
{
    void **held = session_slot(s, slot);
    struct part new = {end_of(what->ttl_ms), what->bytes, what->outlives};
    struct stored *st;

    if (!*held)
        *held = mem_alloc(sizeof(*st));
    st = *held;
    for (size_t i = 0; i < st->count; i++) {
        if (st->parts[i].ends_ms == new.ends_ms && st->parts[i].outlives == new.outlives) {
            st->parts[i].bytes += new.bytes;
            return;
        }
    }
    st->parts = mem_grow(st->parts, (st->count + 1) * sizeof(new));
    st->parts[st->count++] = new;
}

/* The part that such a thing is in: of those that are big enough the one that ends first. NULL: it has ended. */
static struct part *find_part(struct stored *st, const struct storing *what)
{
    struct part *found = NULL;

    for (size_t i = 0; st && i < st->count; i++) {
        struct part *p = &st->parts[i];

        if (p->outlives == what->outlives && !p->ends_ms == !what->ttl_ms && p->bytes >= what->bytes &&
            (!found || p->ends_ms < found->ends_ms))
            found = p;
    }
    return found;
}

/* --- refusing --- */

/* Once a second: who is over a limit may be so thousands of times. */
static void tell_refused(struct turn *t, const char *limit)
{
    static int64_t told_ms = -TELL_MS;

    metric_add(metric_series(refused, limit), 1);
    if (loop_ms() - told_ms < TELL_MS)
        return;
    told_ms = loop_ms();
    LOG_INFO("limit_hit", LOG_TEXT("limit", limit), LOG_TEXT("ip", ip_range(t->ip)));
}

/* The option whose limit is reached; NULL: none is. */
static const char *refusing(struct session *s, const struct storing *what)
{
    size_t most = (size_t)config->store_socket_max;

    if (!storage_brake_lets(what->small))
        return "redis";
    if (!s || most == 0)
        return NULL;
    drop_ended(s, NULL);
    return total(*session_slot(s, slot)) + what->bytes > most ? "socket" : NULL;
}

/* --- taking, and giving back --- */

struct taking {
    struct turn *turn;
    struct storing what;
    void (*done)(struct turn *t, enum err e);
};

static void on_told(enum err e, void *arg)
{
    struct taking *k = arg;

    if (e != ERR_NONE)
        storage_give_back(k->turn, &k->what);
    if (e == ERR_STORAGE_LIMIT)
        tell_refused(k->turn, "address");
    k->done(k->turn, e);
    free(k);
}

void storage_take(struct turn *t, const struct storing *what, void (*done)(struct turn *t, enum err e))
{
    struct session *s = turn_session(t);
    const char *limit = refusing(s, what);
    struct taking *k;

    if (limit) {
        tell_refused(t, limit);
        done(t, ERR_STORAGE_LIMIT);
        return;
    }
    if (!s && !what->outlives) {
        done(t, ERR_NONE);
        return;
    }
    if (s)
        add(s, what);
    k = mem_alloc(sizeof(*k));
    *k = (struct taking){t, *what, done};
    if (storage_address_take(t->ip, what->bytes, what->outlives ? what->ttl_ms : 0, on_told, k)) {
        free(k);
        done(t, ERR_NONE);
    }
}

void storage_give_back_of(struct session *s, const struct storing *what)
{
    struct part *p = find_part(*session_slot(s, slot), what);

    if (!p)
        return;
    p->bytes -= what->bytes;
    storage_address_give_back(session_ip(s), what->bytes, what->outlives ? what->ttl_ms : 0);
}

/* Of a session that has left only what outlives it still counts. */
void storage_give_back(struct turn *t, const struct storing *what)
{
    struct session *s = turn_session(t);

    if (s)
        storage_give_back_of(s, what);
    else if (what->outlives)
        storage_address_give_back(t->ip, what->bytes, what->ttl_ms);
}

void storage_on_session_end(struct session *s)
{
    struct stored *st = *session_slot(s, slot);

    if (!st)
        return;
    while (st->count > 0)
        end_part(s, st, st->count - 1);
    free(st->parts);
    free(st);
    *session_slot(s, slot) = NULL;
}

void storage_tell_again(void)
{
    storage_address_tell_again();
}

static void on_refresh(void *arg)
{
    static unsigned part;

    (void)arg;
    session_each_part(part++ % REFRESH_PARTS, REFRESH_PARTS, drop_ended, NULL);
    if (redis_up())
        storage_address_refresh(REFRESH_MS);
}

void storage_init(void)
{
    slot = session_slot_new();
    refused =
        metric_family(METRIC_COUNTER, "signalbox_storage_refused_total",
                      "What clients were not let store, by the limit: of the socket, the address, or Redis", "limit");
    storage_brake_init();
    timer_every(REFRESH_MS, on_refresh, NULL);
}

void storage_fini(void)
{
    storage_address_fini();
}
