/* SPDX-License-Identifier: MIT */
#include "signalbox/probe.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "signalbox/config.h"
#include "signalbox/inbox.h"
#include "signalbox/lease.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/slots.h"

#define ASK_AGAIN_MS 100
#define ANSWER_SLACK_MS 200 /* for the socket's worker to report a time-out before we assume one */

#define NOTHING ((struct span){"", 0})
#define LATELY SPAN("lately")

/* What this worker asks. Its number is not given again, so an answer that comes too late finds nothing. */
struct question {
    uint64_t number;
    struct address at;
    bool lately;
    struct timer *patience, *again;
    probe_done done;
    void *arg;
};

/* What this worker, or another, asks about a socket of ours. */
struct probe {
    struct probed *of;
    struct address asker; /* wid and number of the question */
    bool heard;           /* of late, and that is enough */
    uint64_t taken;       /* of the bytes written to the socket, when it was pinged */
    struct timer *patience;
    LIST_ENTRY(probe) next;
};

/* A socket that is being probed, by one or more. */
struct probed {
    session_id session;
    LIST_HEAD(, probe) probes;
    UT_hash_handle hh;
};

static struct slots questions;
static struct probed *probed; /* by session */

static void send_to(const struct address *to, enum inbox_operation operation, uint64_t from, struct span entry,
                    inbox_unreached unreached)
{
    struct builder w = {0};

    inbox_frame_begin(&w, operation, self_address(from));
    inbox_frame_target(&w, (struct inbox_target){to->sid, entry});
    inbox_publish(to->wid, &w, 1, NOTHING, unreached);
}

/* --- who asks --- */

static void finish(struct question *q, enum probe_result result)
{
    timer_free(q->patience);
    timer_free(q->again);
    slots_drop(&questions, q->number);
    q->done(result, q->arg);
    free(q);
}

static void on_answer(uint64_t number, bool alive)
{
    struct question *q = slots_find(&questions, number);

    if (q)
        finish(q, alive ? PROBE_ALIVE : PROBE_ABSENT);
}

static void ask_again(void *arg);

static void on_unreached(struct inbox_frame *frame, const char *wid, bool lost)
{
    struct question *q = slots_find(&questions, frame->from.sid);

    if (!q)
        return;
    if (lost)
        finish(q, PROBE_LOST);
    else if (!worker_alive(wid))
        finish(q, PROBE_ABSENT);
    else if (!q->again)
        q->again = timer_once(ASK_AGAIN_MS, ask_again, q);
}

static void ask(const struct question *q)
{
    send_to(&q->at, INBOX_PROBE, q->number, q->lately ? LATELY : NOTHING, on_unreached);
}

/* The socket's worker has its lease but does not listen, perhaps only for a moment. */
static void ask_again(void *arg)
{
    struct question *q = arg;

    q->again = NULL;
    ask(q);
}

static void on_no_answer(void *arg)
{
    struct question *q = arg;

    q->patience = NULL;
    finish(q, PROBE_MUTE);
}

static void probe_start(session_id id, const struct address *asker, bool lately);

void probe_socket(const struct address *at, bool lately, probe_done done, void *arg)
{
    struct question *q = mem_alloc(sizeof(*q));
    struct address self;

    q->at = *at;
    q->lately = lately;
    q->done = done;
    q->arg = arg;
    q->number = slots_put(&questions, q);
    q->patience = timer_once(config->takeover_probe_ms + ANSWER_SLACK_MS, on_no_answer, q);
    self = self_address(q->number);
    if (address_is_self(at))
        probe_start(at->sid, &self, lately);
    else
        ask(q);
}

/* --- who is asked --- */

static void answer(const struct probe *p, bool alive)
{
    if (address_is_self(&p->asker))
        on_answer(p->asker.sid, alive);
    else
        send_to(&p->asker, alive ? INBOX_ALIVE : INBOX_ABSENT, p->of->session, NOTHING, NULL);
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

/* The ping waits behind what others have sent, and the client goes on taking that. */
static bool is_taking(const struct probe *p)
{
    const struct session *s = session_find(p->of->session);

    return s && !session_ping_taken(s) && session_taken(s) > p->taken;
}

static void on_patience_over(void *arg)
{
    struct probe *p = arg;

    p->patience = NULL;
    answer(p, p->heard || is_taking(p));
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

void probe_on_session_end(struct session *s)
{
    answer_probes_of(session_id_of(s), false);
}

static void probe_start(session_id id, const struct address *asker, bool lately)
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
    p->heard = s && lately && session_silent_ms(s) < config->takeover_probe_ms;
    LIST_INSERT_HEAD(&of->probes, p, next);
    p->patience = timer_once(s && !p->heard ? config->takeover_probe_ms : 0, on_patience_over, p);
    if (s && !p->heard) {
        p->taken = session_taken(s);
        session_watch(s);
        session_ping(s);
    }
}

/* --- who did not answer --- */

static void hang_up(session_id id)
{
    struct session *s = session_find(id);

    if (!s)
        return;
    LOG_INFO("silent", LOG_INT("sid", id));
    session_close(s, CLOSE_GOING_AWAY, "ping timeout");
}

void probe_hang_up(const struct address *at)
{
    if (address_is_self(at))
        hang_up(at->sid);
    else
        send_to(at, INBOX_SILENT, 0, NOTHING, NULL);
}

/* --- frames --- */

static void on_probe(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        probe_start(t.sid, &frame->from, span_equals(t.entry, LATELY));
}

/* Answers carry the number of the question where other frames carry a sid. */
static void on_alive(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        on_answer(t.sid, true);
}

static void on_absent(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        on_answer(t.sid, false);
}

static void on_silent(struct inbox_frame *frame)
{
    struct inbox_target t;

    while (inbox_next_target(frame, &t))
        hang_up(t.sid);
}

void probe_init(void)
{
    session_on_heard(on_heard);
    inbox_on(INBOX_PROBE, on_probe);
    inbox_on(INBOX_ALIVE, on_alive);
    inbox_on(INBOX_ABSENT, on_absent);
    inbox_on(INBOX_SILENT, on_silent);
}

static void lose(void *thing, void *arg)
{
    (void)arg;
    finish(thing, PROBE_LOST);
}

void probe_fini(void)
{
    while (probed)
        probe_free(LIST_FIRST(&probed->probes));
    slots_each(&questions, lose, NULL);
    slots_free(&questions);
}
