/* SPDX-License-Identifier: MIT */
#include "signalbox/claim.h"

#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/inbox.h"
#include "signalbox/lease.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/metrics.h"
#include "signalbox/probe.h"
#include "signalbox/script.h"

#define TRIES_MAX 4 /* each further one meets another holder, who was faster */

struct claim {
    session_id session;
    char *key;
    claim_done done;
    void *arg;
    struct address holder;
    long long since_ms;
    int tries;
    bool patient; /* takes nothing from a holder that merely cannot be asked */
};

static struct metric_family *results;

static void take(struct claim *c, const struct address *replaceable);

static void finish(struct claim *c, enum claim_result result)
{
    static const char *const names[] = {"granted", "held", "unavailable"};

    metric_add(metric_series(results, names[result]), 1);
    c->done(session_find(c->session), result, c->since_ms, c->arg);
    free(c->key);
    free(c);
}

void claim_close_replaced(session_id id)
{
    struct session *s = session_find(id);

    if (!s)
        return;
    LOG_INFO("takeover", LOG_INT("sid", id));
    session_close(s, CLOSE_REPLACED, "replaced");
}

static void on_probed(enum probe_result result, void *arg)
{
    struct claim *c = arg;
    struct address holder = c->holder;

    if (result == PROBE_ALIVE)
        finish(c, CLAIM_HELD);
    else if (result == PROBE_LOST || (result == PROBE_MUTE && c->patient))
        finish(c, CLAIM_UNAVAILABLE);
    else
        take(c, &holder);
}

/* The holder is the claimer itself, under this worker's present wid or a former one. */
static bool is_own(const struct claim *c)
{
    return address_is_self(&c->holder) && c->holder.sid == c->session;
}

static void replace(const struct address *holder)
{
    struct builder w = {0};

    if (address_is_self(holder)) {
        claim_close_replaced(holder->sid);
        return;
    }
    inbox_frame_begin(&w, INBOX_REPLACED, self_address(0));
    inbox_frame_target(&w, (struct inbox_target){.sid = holder->sid});
    inbox_publish(holder->wid, &w, 1, (struct span){"", 0}, NULL);
}

static void granted(struct claim *c)
{
    if (c->tries > 1 && !is_own(c))
        replace(&c->holder);
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
    } else if (c->tries == TRIES_MAX || !address_parse(holder, &c->holder)) { /* no address: kept for another client */
        finish(c, c->patient ? CLAIM_UNAVAILABLE : CLAIM_HELD);
    } else if (!worker_alive(c->holder.wid) || is_own(c)) {
        struct address former = c->holder;
        take(c, &former);
    } else {
        probe_socket(&c->holder, false, on_probed, c);
    }
}

static void take(struct claim *c, const struct address *replaceable)
{
    char self[ADDRESS_MAX], other[ADDRESS_MAX] = "";
    struct call call = call_new(&script_claim_take);
    const struct session *s = session_find(c->session);

    if (!s) {
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
    call_text(&call, ip_range(session_ip(s)));
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

void claim_keep(const char *key, const struct session *s)
{
    struct call c = call_new(&script_claim_keep);
    char address[ADDRESS_MAX];

    self_address_text(session_id_of(s), address);
    call_key(&c, key);
    call_text(&c, address);
    call_text(&c, ip_range(session_ip(s)));
    call_int(&c, CLAIM_KEPT_MS);
    call_send(&c, NULL, NULL);
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
    inbox_on(INBOX_REPLACED, on_replaced);
}
