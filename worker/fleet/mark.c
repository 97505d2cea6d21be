/* SPDX-License-Identifier: MIT */
#include "signalbox/mark.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/address.h"
#include "signalbox/index.h"
#include "signalbox/keys.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/resync.h"
#include "signalbox/script.h"

#define NONE (-1)
#define BEATS_MISSED_MS (2 * BEAT_MS + 1000)

struct mark {
    char wid[WID_LEN + 1];
    int64_t sent_ms;   /* loop_ms(), and what is noted */
    int64_t beaten_ms; /* lease_beaten_ms() at that time */
};

static struct mark last;  /* that Redis has answered */
static bool may_be_older; /* Redis is another since then */
static bool lease_gone;   /* so the last answer says */

/* What was stored before a mark was sent, and answered, is remembered with it. */
static void compare(const struct mark *m, long long remembered)
{
    long long known = strcmp(last.wid, m->wid) == 0 ? last.sent_ms : NONE;
    size_t sockets;

    if (!may_be_older && remembered >= known)
        return;
    sockets = index_lost(remembered);
    if (sockets == 0)
        return;
    LOG_WARNING("redis_went_back", LOG_INT("ms", remembered == NONE ? NONE : m->sent_ms - remembered),
                LOG_INT("sockets", sockets));
    resync_all();
}

/* Behind one address the connections may be to different servers for a while. Beats go to where the fleet is. */
static bool is_elsewhere(const struct mark *m, long long beat_age)
{
    bool answered = m->beaten_ms && m->sent_ms - m->beaten_ms <= 2 * BEAT_MS, gone_before = lease_gone;

    lease_gone = beat_age == NONE;
    return answered && (lease_gone ? gone_before : beat_age > BEATS_MISSED_MS);
}

static void on_marked(const struct reply *r, void *arg)
{
    struct mark *m = arg;
    long long remembered, beat_age;

    if (r && reply_read(r, "ii", &remembered, &beat_age) && strcmp(m->wid, self_wid()) == 0) {
        if (is_elsewhere(m, beat_age)) {
            lease_gone = false;
            redis_leave("beats are answered by another server");
        } else if (!lease_gone) {
            compare(m, remembered);
            last = *m;
            may_be_older = false;
        }
    }
    free(m);
}

static void send_mark(void)
{
    struct call c = call_new(&script_fleet_mark);
    struct mark *m = mem_alloc(sizeof(*m));
    char key[KEY_MAX];

    m->sent_ms = loop_ms();
    m->beaten_ms = lease_beaten_ms();
    memcpy(m->wid, self_wid(), sizeof(m->wid));
    key_worker(key, m->wid);
    call_key(&c, key);
    call_int(&c, m->sent_ms);
    call_int(&c, LEASE_MS);
    call_send(&c, on_marked, m);
}

void mark_on_redis_up(void)
{
    may_be_older |= redis_is_another();
    send_mark();
}

static void on_time(void *arg)
{
    (void)arg;
    if (redis_up())
        send_mark();
}

void mark_init(void)
{
    timer_every(BEAT_MS, on_time, NULL);
}
