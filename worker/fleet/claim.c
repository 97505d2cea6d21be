/* SPDX-License-Identifier: MIT */
#include "signalbox/claim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/config.h"
#include "signalbox/inbox.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/script.h"
#include "signalbox/slots.h"

#define TRIES_MAX 4 /* each further one meets another holder, who was faster */
#define ASK_AGAIN_MS 100
#define ANSWER_SLACK_MS 200 /* for the holder's worker to report a time-out before we assume one */

struct claim {
    uint64_t number;
    session_id session;
    char *key;
    claim_done done;
    void *arg;
    struct address holder;
    long long since_ms;
    struct timer *patience, *again;
    int tries;
    bool patient; /* takes nothing from a holder that merely cannot be asked */
};

/* A claim, of another worker or of this one, asks whether a socket of ours still answers. */
struct probe {
    struct probed *of;
    struct address asker; /* wid and number of the claim */
    struct timer *patience;
    LIST_ENTRY(probe) next;
};

/* A socket that is being probed, by one or more. */
struct probed {
    session_id session;
    LIST_HEAD(, probe) probes;
    UT_hash_handle hh;
};

static struct slots claims;
static struct probed *probed; /* by session */
static struct metric_family *results;

static void take(struct claim *c, const struct address *replaceable);

static void claim_free(struct claim *c)
{
    timer_free(c->patience);
    timer_free(c->again);
    slots_drop(&claims, c->number);
    free(c->key);
    free(c);
}

static void finish(struct claim *c, enum claim_result result)
{
    static const char *const names[] = {"granted", "held", "unavailable"};

    metric_add(metric_series(results, names[result]), 1);
    c->done(session_find(c->session), result, c->since_ms, c->arg);
    claim_free(c);
}

static void send_to(const struct address *to, enum inbox_operation operation, uint64_t from, inbox_unreached unreached)
{
    struct builder w = {0};

    inbox_frame_begin(&w, operation, self_address(from));
    inbox_frame_target(&w, (struct inbox_target){.sid = to->sid});
    inbox_publish(to->wid, &w, 1, (struct span){"", 0}, unreached);
}

void claim_close_replaced(session_id id)
{
    struct session *s = session_find(id);

    if (!s)
        return;
    LOG_INFO("takeover", LOG_INT("sid", id));
    session_close(s, CLOSE_REPLACED, "replaced");
}

static void stop_asking(struct claim *c)
{
    timer_free(c->patience);
    timer_free(c->again);
    c->patience = c->again = NULL;
}

/* asked: the socket that was probed; an answer about an earlier holder comes too late to count. */
static void on_answer(uint64_t claim, bool alive, const struct address *asked)
{
    struct claim *c = slots_find(&claims, claim);
    struct address holder;

    if (!c || !c->patience || asked->sid != c->holder.sid || memcmp(asked->wid, c->holder.wid, WID_LEN) != 0)
        return;
    stop_asking(c);
    holder = c->holder;
    if (alive)
        finish(c, CLAIM_HELD);
    else
        take(c, &holder);
}

static void answer(const struct probe *p, bool alive)
{
    struct address self = self_address(p->of->session);

    if (address_is_self(&p->asker))
        on_answer(p->asker.sid, alive, &self);
    else
        send_to(&p->asker, alive ? INBOX_ALIVE : INBOX_ABSENT, p->of->session, NULL);
}

static void probe_free(struct probe *p)
{
    struct probed *of = p->of;

    timer_free(p->patience);
    LIST_REMOVE(p, next);
    free(p);
    if (LIST_EMPTY(&of->probes)) {
        HASH_DEL(probed, of);
        free(of);
    }
}

static void on_unanswered(void *arg)
{
    struct probe *p = arg;

    p->patience = NULL;
    answer(p, false);
    probe_free(p);
}

static struct probed *probed_find(session_id id)
{
    struct probed *of;

    HASH_FIND(hh, probed, &id, sizeof(id), of);
    return of;
}

/* To answer a probe may start another one of the same socket, so the socket's are looked up each time. */
static void answer_probes_of(session_id id, bool alive)
{
    for (struct probed *of; (of = probed_find(id));) {
        struct probe *p = LIST_FIRST(&of->probes);

        answer(p, alive);
        probe_free(p);
    }
}

static void on_heard(struct session *s)
{
    answer_probes_of(session_id_of(s), true);
}

void claim_on_session_end(struct session *s)
{
    answer_probes_of(session_id_of(s), false);
}

static void probe_start(session_id id, const struct address *asker)
{
    struct session *s = session_find(id);
    struct probed *of = probed_find(id);
    struct probe *p = mem_alloc(sizeof(*p));

    if (!of) {
        of = mem_alloc(sizeof(*of));
        of->session = id;
        HASH_ADD(hh, probed, session, sizeof(of->session), of);
    }
    p->of = of;
    p->asker = *asker;
    LIST_INSERT_HEAD(&of->probes, p, next);
    p->patience = timer_once(s ? config->takeover_probe_ms : 0, on_unanswered, p);
    if (s) {
        session_watch(s);
        session_ping(s);
    }
}

static void ask_again(void *arg);

static void on_probe_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    struct claim *c = slots_find(&claims, frame->from.sid);
    struct inbox_target t;
    struct address holder = {0};

    if (!c || !c->patience || !inbox_next_target(frame, &t))
        return; /* without patience its next take is under way, which will finish it */
    holder.sid = t.sid;
    memcpy(holder.wid, wid, WID_LEN);
    if (lost)
        finish(c, CLAIM_UNAVAILABLE);
    else if (!worker_alive(wid))
        on_answer(frame->from.sid, false, &holder);
    else if (!c->again)
        c->again = timer_once(ASK_AGAIN_MS, ask_again, c);
}

/* The holder's worker has its lease but does not listen, perhaps only for a moment. */
static void ask_again(void *arg)
{
    struct claim *c = arg;

    c->again = NULL;
    send_to(&c->holder, INBOX_PROBE, c->number, on_probe_unreached);
}

static void on_no_answer(void *arg)
{
    struct claim *c = arg;
    struct address holder = c->holder;

    c->patience = NULL;
    stop_asking(c);
    if (c->patient)
        finish(c, CLAIM_UNAVAILABLE);
    else
        take(c, &holder);
}

static void ask_holder(struct claim *c)
{
    struct address self = self_address(c->number);

    c->patience = timer_once(config->takeover_probe_ms + ANSWER_SLACK_MS, on_no_answer, c);
    if (address_is_self(&c->holder))
        probe_start(c->holder.sid, &self);
    else
        send_to(&c->holder, INBOX_PROBE, c->number, on_probe_unreached);
}

/* The holder is the claimer itself, under this worker's present wid or a former one. */
static bool is_own(const struct claim *c)
{
    return address_is_self(&c->holder) && c->holder.sid == c->session;
}

static void granted(struct claim *c)
{
    bool replaces = c->tries > 1 && !is_own(c);

    if (replaces && address_is_self(&c->holder))
        claim_close_replaced(c->holder.sid);
    else if (replaces)
        send_to(&c->holder, INBOX_REPLACED, 0, NULL);
    finish(c, CLAIM_GRANTED);
}

static void on_taken(const struct reply *r, void *arg)
{
    struct claim *c = arg;
    struct span holder;

    if (!r || !reply_read(r, "si", &holder, &c->since_ms)) {
        finish(c, CLAIM_UNAVAILABLE);
    } else if (holder.len == 0) {
        granted(c);
    } else if (c->tries == TRIES_MAX || !address_parse(holder, &c->holder)) {
        finish(c, c->patient ? CLAIM_UNAVAILABLE : CLAIM_HELD);
    } else if (!worker_alive(c->holder.wid) || is_own(c)) {
        struct address former = c->holder;
        take(c, &former);
    } else {
        ask_holder(c);
    }
}

static void take(struct claim *c, const struct address *replaceable)
{
    char self[ADDRESS_MAX], other[ADDRESS_MAX] = "";
    struct call call = call_new(&script_claim_take);

    if (!session_find(c->session)) {
        builder_free(&call.tail);
        finish(c, CLAIM_UNAVAILABLE);
        return;
    }
    c->tries++;
    self_address_text(c->session, self);
    if (replaceable)
        address_format(replaceable, other);
    call_key(&call, c->key);
    call_text(&call, self);
    call_text(&call, other);
    call_int(&call, IDENTITY_TTL_MS);
    call_send(&call, on_taken, c);
}

static void start(struct session *s, const char *key, bool patient, claim_done done, void *arg)
{
    struct claim *c = mem_alloc(sizeof(*c));

    c->patient = patient;
    c->session = session_id_of(s);
    c->key = mem_dup(key);
    c->done = done;
    c->arg = arg;
    c->number = slots_put(&claims, c);
    take(c, NULL);
}

void claim_start(struct session *s, const char *key, claim_done done, void *arg)
{
    start(s, key, false, done, arg);
}

void claim_contest(struct session *s, const char *key, claim_done done, void *arg)
{
    start(s, key, true, done, arg);
}

void claim_release(const char *key, const struct address *holder)
{
    struct call c = call_new(&script_claim_release);
    char address[ADDRESS_MAX];

    address_format(holder, address);
    call_key(&c, key);
    call_text(&c, address);
    call_send(&c, NULL, NULL);
}

static void on_probe(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        probe_start(t.sid, &frame->from);
}

/* Answers carry the number of the claim where other frames carry a sid. */
static void on_alive(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        on_answer(t.sid, true, &frame->from);
}

static void on_absent(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        on_answer(t.sid, false, &frame->from);
}

static void on_replaced(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        claim_close_replaced(t.sid);
}

void claim_init(void)
{
    results =
        metric_family(METRIC_COUNTER, "signalbox_claims_total", "Claims of an identity by their result", "result");
    session_on_heard(on_heard);
    inbox_on(INBOX_PROBE, on_probe);
    inbox_on(INBOX_ALIVE, on_alive);
    inbox_on(INBOX_ABSENT, on_absent);
    inbox_on(INBOX_REPLACED, on_replaced);
}

static void claim_drop(void *thing, void *arg)
{
    struct claim *c = thing;

    (void)arg;
    c->done(NULL, CLAIM_UNAVAILABLE, 0, c->arg);
    free(c->key);
    free(c);
}

/* Runs after redis_fini(): nobody else can finish these claims any more. */
void claim_fini(void)
{
    while (probed)
        probe_free(LIST_FIRST(&probed->probes));
    slots_each(&claims, claim_drop, NULL);
    slots_free(&claims);
}
