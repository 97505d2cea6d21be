/* SPDX-License-Identifier: MIT */
#include "signalbox/lease.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/address.h"
#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/formers.h"
#include "signalbox/inbox.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/schema.h"
#include "signalbox/script.h"
#include "signalbox/session.h"
#include "signalbox/version.h"

#define LOOK_MS 100
#define FORGET_MS 3600000 /* nothing names a worker any more that left the roster so long ago */

struct worker {
    char wid[WID_LEN + 1];
    int64_t lease_ends_ms, listed_ms; /* loop_ms() */
    UT_hash_handle hh;
};

static struct worker *known;
static const char **roster;
static size_t roster_count;
static int64_t roster_ms, doubtful_until_ms;
static struct timer *beat_timer, *look_timer;
static int64_t started_ms;
static char node[HOST_NAME_MAX + 1];
static struct metric *workers_gauge, *lease_losses;
static int64_t beaten_ms; /* loop_ms() when the last beat was sent that Redis has answered; 0: none has */

static struct worker *find_or_add(const char *wid)
{
    struct worker *w;

    HASH_FIND_STR(known, wid, w);
    if (!w) {
        w = mem_alloc(sizeof(*w));
        memcpy(w->wid, wid, WID_LEN);
        w->lease_ends_ms = loop_ms() + LEASE_MS;
        w->listed_ms = loop_ms();
        HASH_ADD_STR(known, wid, w);
    }
    return w;
}

/* After a pause, or while Redis is away, this worker does not know the others' beats: then it calls nobody dead. */
static bool is_out_of_date(int64_t now)
{
    return now - roster_ms > 2 * BEAT_MS || now < doubtful_until_ms;
}

bool worker_alive(const char *wid)
{
    int64_t now = loop_ms();

    return strcmp(wid, self_wid()) == 0 || is_out_of_date(now) || find_or_add(wid)->lease_ends_ms > now;
}

size_t workers_count(void)
{
    return roster_count;
}

const char *workers_wid(size_t i)
{
    return roster[i];
}

void workers_drop(const char *wid)
{
    for (size_t i = 0; i < roster_count; i++) {
        if (strcmp(roster[i], wid) == 0) {
            roster[i] = roster[--roster_count];
            return;
        }
    }
}

bool workers_alive(size_t i)
{
    return worker_alive(roster[i]);
}

/* Forgets who left the roster FORGET_MS ago. Until then its lease says whether it is alive: it was cleaned up after, or
   Redis came back empty and it has yet to beat. */
static void forget_unlisted(int64_t now)
{
    struct worker *w, *next;

    HASH_ITER (hh, known, w, next) {
        if (now - w->listed_ms > FORGET_MS) {
            HASH_DEL(known, w);
            free(w);
        }
    }
}

static void note_roster(const struct reply *list, long long redis_now)
{
    int64_t now = loop_ms();
    size_t alive = 0;

    if (roster_ms && now - roster_ms > 2 * BEAT_MS) /* what held this worker up may have held up all: they beat first */
        doubtful_until_ms = now + 2 * BEAT_MS;
    roster = mem_grow(roster, reply_count(list) / 2 * sizeof(*roster));
    roster_count = 0;
    roster_ms = now;
    for (size_t i = 0; i + 1 < reply_count(list); i += 2) {
        struct span wid = reply_span(reply_at(list, i));
        struct worker *w;
        if (wid.len != WID_LEN)
            continue;
        w = find_or_add(wid.at);
        w->listed_ms = now;
        w->lease_ends_ms = now + LEASE_MS - (redis_now - reply_int(reply_at(list, i + 1)));
        roster[roster_count++] = w->wid;
        alive += w->lease_ends_ms > now;
    }
    forget_unlisted(now);
    metric_set(workers_gauge, (double)alive);
}

/* Redis answers in its time: the worker may have another name by then. */
struct beat {
    char wid[WID_LEN + 1];
    int64_t sent_ms;
    bool held; /* an earlier beat under that name had been answered */
};

static struct beat *beat_new(void)
{
    struct beat *b = mem_alloc(sizeof(*b));

    memcpy(b->wid, self_wid(), sizeof(b->wid));
    b->sent_ms = loop_ms();
    b->held = beaten_ms != 0;
    return b;
}

static bool is_of_now(const struct beat *b)
{
    return strcmp(b->wid, self_wid()) == 0;
}

static void on_roster(const struct reply *r, void *arg)
{
    struct beat *b = arg;
    const struct reply *list;
    long long redis_now;

    if (is_of_now(b) && r && reply_read(r, "ir", &redis_now, &list))
        note_roster(list, redis_now);
    free(b);
}

static void (*lost_callback)(void), (*renewed_callback)(void);

static void beat(void (*send)(struct call *c, redis_callback callback, void *arg));

/* Behind the last beat under that name, so that it stays ended. */
static void end_lease(const char *wid, redis_callback callback, void *arg)
{
    struct call c = call_new(&script_fleet_end);
    char key[KEY_MAX];

    key_worker(key, wid);
    call_key(&c, key);
    call_send_urgent(&c, callback, arg);
}

/* The leader cleans up under the former name after the resync, once more if need be: the last that was written under it
   may have reached Redis after the first clean-up. */
static void on_settled(void *arg)
{
    (void)arg;
    formers_settled();
    renewed_callback();
}

/* Goes on under another name: the lease may have lapsed, and then others remove what this worker owned. */
static void renew(void)
{
    char former[WID_LEN + 1];

    beaten_ms = 0;
    metric_add(lease_losses, 1);
    LOG_WARNING("lease_lost", LOG_INT("lease_ms", LEASE_MS));
    lost_callback();
    memcpy(former, self_wid(), sizeof(former));
    formers_add(former);
    self_wid_renew();
    log_worker(self_wid());
    LOG_INFO("lease_new");
    inbox_move();
    end_lease(former, NULL, NULL); /* its numbers are shown under the new name */
    beat(call_send_urgent);
    timer_once(SETTLED_MS, on_settled, NULL);
}

static bool may_have_lapsed(void)
{
    return beaten_ms && loop_ms() - beaten_ms >= LEASE_MS - LOOK_MS;
}

static bool refused;     /* Redis did not take the last beat */
static int64_t asked_ms; /* loop_ms() when Redis was last asked whether it can be written to again */

static void on_relisted(const struct reply *r, void *arg)
{
    (void)arg;
    if (r && beat_timer && may_have_lapsed())
        renew();
}

/* While Redis refuses to be written to, nobody can clean up after this worker, and its sockets can be reached under the
   present name alone. So it keeps that name until Redis takes it into the roster again. */
static void renew_or_ask(void)
{
    if (!refused) {
        renew();
    } else if (loop_ms() - asked_ms >= BEAT_MS) {
        asked_ms = loop_ms();
        redis_command(on_relisted, NULL, "ZADD", KEY_WORKERS, "NX", "0", self_wid(), NULL);
    }
}

/* If Redis had no lease of this worker, though that cannot have lapsed, Redis was emptied. */
static void on_beat(const struct reply *r, void *arg)
{
    struct beat *b = arg;
    long long held;

    if (is_of_now(b))
        refused = !r;
    if (is_of_now(b) && r && reply_read(r, "i", &held)) {
        bool forgotten = !held && b->held && !may_have_lapsed();

        if (!may_have_lapsed() && b->sent_ms > beaten_ms)
            beaten_ms = b->sent_ms;
        if (forgotten) {
            LOG_WARNING("redis_forgot");
            schema_look();
            renewed_callback();
        }
    }
    free(b);
}

static void add_metrics(struct call *c)
{
    for (const struct domain *const *d = domains; *d; d++) {
        for (const struct domain_metric *m = (*d)->metrics; m && m->name; m++) {
            call_text(c, m->name);
            call_int(c, m->read());
        }
    }
}

/* By the connection of commands only when Redis turns up: nothing waits on it yet, and the worker is listed before it
   owns anything. */
static void beat(void (*send)(struct call *c, redis_callback callback, void *arg))
{
    char key[KEY_MAX];
    struct call c = call_new(&script_fleet_beat);

    key_worker(key, self_wid());
    call_key(&c, key);
    call_int(&c, LEASE_MS);
    call_text(&c, node);
    call_int(&c, getpid());
    call_text(&c, SIGNALBOX_VERSION);
    call_int(&c, started_ms);
    call_int(&c, (long long)session_count());
    add_metrics(&c);
    send(&c, on_beat, beat_new());
    c = call_new(&script_fleet_roster);
    call_key(&c, KEY_WORKERS);
    call_text(&c, self_wid());
    formers_list(&c);
    send(&c, on_roster, beat_new());
}

void lease_beat_now(void)
{
    if (redis_up() && beat_timer && !may_have_lapsed())
        beat(call_send_urgent);
}

int64_t lease_beaten_ms(void)
{
    return beaten_ms;
}

static void on_timer(void *arg)
{
    (void)arg;
    lease_beat_now();
}

static void on_look(void *arg)
{
    (void)arg;
    if (redis_up() && may_have_lapsed())
        renew_or_ask();
}

void lease_on_redis_up(void)
{
    refused = false;
    if (may_have_lapsed())
        renew();
    beat(call_send);
}

void lease_init(void (*on_lost)(void), void (*on_renewed)(void))
{
    lost_callback = on_lost;
    renewed_callback = on_renewed;
    started_ms = clock_ms();
    if (*config->node_id)
        strncpy(node, config->node_id, sizeof(node) - 1);
    else
        gethostname(node, sizeof(node) - 1);
    workers_gauge = metric_gauge("signalbox_workers", "Workers of the fleet that hold their lease");
    lease_losses = metric_counter("signalbox_lease_losses_total", "Times this worker found its lease lapsed");
    look_timer = timer_every(LOOK_MS, on_look, NULL);
    beat_timer = timer_every(BEAT_MS, on_timer, NULL);
}

struct stopping {
    void (*done)(void);
};

static void on_stopped(const struct reply *r, void *arg)
{
    struct stopping *s = arg;

    (void)r;
    s->done();
    free(s);
}

void lease_give_up(bool owns_nothing, void (*done)(void))
{
    struct stopping *s = mem_alloc(sizeof(*s));
    struct call c = call_new(&script_fleet_unlist);

    s->done = done;
    timer_free(beat_timer);
    timer_free(look_timer);
    beat_timer = look_timer = NULL;
    if (owns_nothing) {
        call_key(&c, KEY_WORKERS);
        call_text(&c, self_wid());
        call_send_urgent(&c, NULL, NULL);
    }
    end_lease(self_wid(), on_stopped, s);
}

void lease_fini(void)
{
    struct worker *w, *next;

    HASH_ITER (hh, known, w, next) {
        HASH_DEL(known, w);
        free(w);
    }
    formers_fini();
    free(roster);
    roster = NULL;
    roster_count = 0;
}
