/* SPDX-License-Identifier: MIT */
#include "signalbox/requests.h"

#include <stdlib.h>

#include "scripts_data.h"
#include "signalbox/caller.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/index.h"
#include "signalbox/keys.h"
#include "signalbox/loop.h"
#include "signalbox/script.h"

struct request {
    char *entry;
    int64_t until_ms;
    TAILQ_ENTRY(request) next;
};

/* --- that it has made --- */

static void forget(struct requests *all, struct request *r)
{
    TAILQ_REMOVE(all, r, next);
    free(r->entry);
    free(r);
}

void requests_note(struct session *s, struct requests *all, const char *entry)
{
    struct request *r = mem_alloc(sizeof(*r)), *oldest;

    while ((oldest = TAILQ_FIRST(all)) && oldest->until_ms <= loop_ms())
        forget(all, oldest);
    r->entry = mem_dup(entry);
    r->until_ms = loop_ms() + config->pair_timeout_ms;
    TAILQ_INSERT_TAIL(all, r, next);
    index_note(s, 1, &(struct note){entry, config->pair_timeout_ms});
}

void requests_end(struct session *s, struct requests *all)
{
    struct address self = self_address(session_id_of(s));
    struct request *r;

    while ((r = TAILQ_FIRST(all))) {
        entry_undo(r->entry, &self);
        index_forget(s, 1, &(struct note){.entry = r->entry});
        forget(all, r);
    }
}

void requests_forget(struct requests *all)
{
    while (!TAILQ_EMPTY(all))
        forget(all, TAILQ_FIRST(all));
}

/* --- that it was asked --- */

struct abandoning {
    char *room;
    struct bytes *message;
};

static void tell(const struct abandoning *a, struct span code, struct span address)
{
    struct target t = {0};
    char entry[ENTRY_MAX];

    if (!address_parse(address, &t.address))
        return;
    code_entry(entry, CALLER_ANSWER, a->room, code.at);
    t.entry = entry;
    delivery_send(a->message, 1, &t, 0);
}

static void on_abandoned(const struct reply *r, void *arg)
{
    struct abandoning *a = arg;
    const struct reply *here;
    long long told;

    if (r && reply_read(r, "ir", &told, &here)) {
        delivery_count_remote((size_t)told);
        for (size_t i = 0; i + 1 < reply_count(here); i += 2)
            tell(a, reply_span(reply_at(here, i)), reply_span(reply_at(here, i + 1)));
    }
    bytes_unref(a->message);
    free(a->room);
    free(a);
}

static struct bytes *wire_end(const char *room, const char *code)
{
    struct builder w = {0};

    builder_text(&w, "{\"type\":\"pair_timeout\"");
    builder_member(&w, *room ? "from" : "peerCode", code);
    builder_text(&w, "}");
    return builder_take(&w);
}

void requests_abandon(const char *room, const char *code, const struct address *holder)
{
    struct abandoning *a = mem_alloc(sizeof(*a));
    struct call c = call_new(&script_signal_abandon);
    char key[KEY_MAX], address[ADDRESS_MAX], entry[ENTRY_MAX];

    a->room = mem_dup(room);
    a->message = wire_end(room, code);
    key_requests(key, room, code);
    call_key(&c, key);
    key_askers(key, room, code);
    call_key(&c, key);
    address_format(holder, address);
    call_text(&c, address);
    delivery_arguments(&c, 0);
    code_entry(entry, CALLER_ANSWER, room, "");
    call_text(&c, entry);
    call_span(&c, bytes_span(a->message));
    call_send(&c, on_abandoned, a);
}
