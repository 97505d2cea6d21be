/* SPDX-License-Identifier: MIT */
#include "signalbox/leader.h"

#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/address.h"
#include "signalbox/config.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/script.h"

#define ASK_MS 500
#define TRUST_MS (LEAD_MS - ASK_MS) /* the rest is for what a leader sends to reach Redis */

struct question {
    int64_t asked_ms;
    long long number; /* with which this worker led when it asked to confirm that; 0: it did not */
    void (*work)(void *arg);
    void (*dropped)(void *arg);
    void *arg;
};

/* The last answer of Redis. Its age counts from the question: it may have lain unread while this process stood still.
 */
static struct {
    char wid[WID_LEN + 1];
    long long number;
    int64_t asked_ms;
} known;

static long long leads_as; /* the number under which the log says that this worker leads; 0: it does not */
static bool resigned;
static struct metric *leads, *changes;

static bool stands(void)
{
    return config->leader_election == LEADER_ELECTION_ON && !resigned;
}

const char *leader_wid(void)
{
    return loop_ms() - known.asked_ms < LEAD_MS ? known.wid : "";
}

bool leader_is_self(void)
{
    return stands() && loop_ms() - known.asked_ms < TRUST_MS && strcmp(known.wid, self_wid()) == 0;
}

/* Tells the log and the metrics what has changed; the passing of time does so, too. */
static void report(void)
{
    long long number = leader_is_self() ? known.number : 0;

    metric_set(leads, number != 0);
    if (number == leads_as)
        return;
    if (leads_as && resigned)
        LOG_INFO("leader_resigned", LOG_INT("number", leads_as));
    else if (leads_as)
        LOG_WARNING("leader_lost", LOG_INT("number", leads_as));
    if (number)
        LOG_INFO("leader_elected", LOG_INT("number", number));
    leads_as = number;
}

static bool is_self(struct span wid)
{
    return wid.len == WID_LEN && memcmp(wid.at, self_wid(), WID_LEN) == 0;
}

/* Answers come on two connections: one to an older question says nothing new. */
static void note_answer(struct span wid, long long number, int64_t asked_ms)
{
    if (asked_ms < known.asked_ms)
        return;
    if (known.number && wid.len && number != known.number)
        metric_add(changes, 1);
    memset(known.wid, 0, sizeof(known.wid));
    if (wid.len == WID_LEN && !(is_self(wid) && resigned))
        memcpy(known.wid, wid.at, WID_LEN);
    if (number)
        known.number = number;
    known.asked_ms = asked_ms;
    report();
}

static void on_answer(const struct reply *r, void *arg)
{
    struct question *q = arg;
    struct span wid;
    long long number;
    bool confirmed = false;

    if (r && reply_read(r, "si", &wid, &number)) {
        note_answer(wid, number, q->asked_ms);
        confirmed = number && number == q->number && is_self(wid) && loop_ms() - q->asked_ms < TRUST_MS;
    }
    if (confirmed && leader_is_self() && q->work)
        q->work(q->arg);
    else if (q->dropped)
        q->dropped(q->arg);
    free(q);
}

typedef void (*sender)(struct call *c, redis_callback callback, void *arg);

static void ask(struct question *q, sender send)
{
    struct call c = call_new(&script_fleet_lead);

    q->asked_ms = loop_ms();
    call_key(&c, KEY_LEADER);
    call_text(&c, stands() ? self_wid() : "");
    call_int(&c, LEAD_MS);
    send(&c, on_answer, q);
}

void leader_confirm(void (*work)(void *arg), void (*dropped)(void *arg), void *arg)
{
    struct question *q = mem_alloc(sizeof(*q));

    *q = (struct question){.number = leader_is_self() ? known.number : 0, .work = work, .dropped = dropped, .arg = arg};
    ask(q, call_send); /* in one order with the work: a late answer shows that it would be late, too */
}

static void call_resign(sender send)
{
    struct call c = call_new(&script_fleet_resign);

    call_key(&c, KEY_LEADER);
    call_text(&c, self_wid());
    send(&c, NULL, NULL);
}

/* Behind each question that is under way, on either connection: it asks to lead. */
void leader_resign(void)
{
    if (!stands())
        return;
    resigned = true;
    if (strcmp(known.wid, self_wid()) == 0)
        known.wid[0] = '\0';
    report();
    call_resign(call_send);
    call_resign(call_send_urgent);
}

void leader_look(void)
{
    ask(mem_alloc(sizeof(struct question)), call_send);
}

static void on_tick(void *arg)
{
    (void)arg;
    report();
    if (redis_up())
        ask(mem_alloc(sizeof(struct question)), call_send_urgent);
}

void leader_init(void)
{
    leads = metric_gauge("signalbox_leader", "Whether this worker leads the fleet");
    changes = metric_counter("signalbox_leader_changes_total", "Changes of leader that this worker has seen");
    metrics_on_collect(report);
    timer_every(ASK_MS, on_tick, NULL);
}
