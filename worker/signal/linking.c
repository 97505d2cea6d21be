/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scripts_data.h"
#include "signalbox/app.h"
#include "signalbox/config.h"
#include "signalbox/delivery.h"
#include "signalbox/guess.h"
#include "signalbox/json_read.h"
#include "signalbox/schedule.h"
#include "signalbox/script.h"
#include "signalbox/storage.h"
#include "signalbox/turn.h"

#define LOOK_AGAIN_MS 1000
#define KEPT_MS 60000  /* in Redis, beyond its end (signal/link) */
#define LINK_BYTES 750 /* what Redis needs for a request, beside the key and the name in it */
#define NOT_PROCESSED "Link request could not be processed"

/* A request of a web client to be linked to a device, or the device's answer to it. */
struct linking {
    struct turn turn;
    struct guess guess;
    char *web, *device, *public_key, *device_name; /* the last two are JSON */
    bool accepted;
    struct bytes *message; /* to the web client */
};

static void linking_clear(void *arg)
{
    struct linking *l = arg;

    guess_end(&l->guess, false);
    free(l->web);
    free(l->device);
    free(l->public_key);
    free(l->device_name);
    bytes_unref(l->message);
}

/* In the index of the web client's socket: link TAB device TAB web client. */
static void link_entry(char out[static ENTRY_MAX], const char *device, const char *web)
{
    snprintf(out, ENTRY_MAX, "link\t%s\t%s", device, web);
}

static struct bytes *wire_link_error(const char *text)
{
    struct builder w = {0};

    builder_text(&w, "{\"type\":\"link_error\"");
    builder_member(&w, "error", text);
    builder_text(&w, "}");
    return builder_take(&w);
}

static void send_to_web(struct span address, const char *web, struct bytes *b, session_id from)
{
    char entry[ENTRY_MAX];
    struct target t = {.entry = entry};

    code_entry(entry, CALLER_ANSWER, APP_ROOM, web);
    if (address_parse(address, &t.address))
        delivery_send(b, 1, &t, from);
}

static void wire_link(struct builder *w, const char *type, const char *device)
{
    builder_printf(w, "{\"type\":\"%s\"", type);
    builder_member(w, "linkCode", device);
}

static struct bytes *wire_link_end(const char *type, const char *device)
{
    struct builder w = {0};

    wire_link(&w, type, device);
    builder_text(&w, "}");
    return builder_take(&w);
}

/* --- the web client asks --- */

static void deliver(const struct linking *l, struct span address, long long until_ms)
{
    char entry[ENTRY_MAX];
    struct target t = {.entry = entry};
    struct builder w = {0};
    struct bytes *b;

    if (!address_parse(address, &t.address))
        return;
    code_entry(entry, CALLER, APP_ROOM, l->device);
    guess_found(l->turn.session, entry);
    link_entry(entry, l->device, l->web);
    schedule_set(KEY_LINKS, entry + sizeof("link"), until_ms);
    wire_link(&w, "link_request", l->device);
    builder_printf(&w, ",\"publicKey\":%s,\"deviceName\":%s,\"expiresIn\":%lld}", l->public_key, l->device_name,
                   config->pair_timeout_ms);
    b = builder_take(&w);
    delivery_send(b, 1, &t, l->turn.session);
    bytes_unref(b);
}

/* Its request was to a socket that has lost the device's code: nobody can answer it. */
static void end_former(const char *device, struct span web, struct span address)
{
    struct bytes *b = wire_link_end("link_timeout", device);

    if (web.len)
        send_to_web(address, web.at, b, 0);
    bytes_unref(b);
}

static struct storing storing(const struct linking *l)
{
    return (struct storing){LINK_BYTES + stored_text(l->public_key) + stored_text(l->device_name),
                            config->pair_timeout_ms + KEPT_MS, .small = true};
}

static void on_asked(const struct reply *r, void *arg)
{
    struct linking *l = arg;
    struct storing what = storing(l);
    struct span address, former, former_address;
    long long until_ms;
    bool read = r && reply_read(r, "siss", &address, &until_ms, &former, &former_address);

    guess_end(&l->guess, read && !address.len);
    if (!read) {
        turn_fail(&l->turn, ERR_UNAVAILABLE, NULL);
    } else if (address.len) {
        end_former(l->device, former, former_address);
        deliver(l, address, until_ms);
    } else {
        storage_give_back(&l->turn, &what);
        turn_send(&l->turn, wire_link_error(NOT_PROCESSED));
    }
    turn_end(&l->turn);
}

static void ask(struct turn *t, enum err e)
{
    struct session *s = turn_session(t);
    struct linking *l = (struct linking *)t;
    char key[KEY_MAX], address[ADDRESS_MAX], entry[ENTRY_MAX];
    struct call call;

    if (!s || e != ERR_NONE) {
        turn_fail(t, e, NULL);
        turn_end(t);
        return;
    }
    link_entry(entry, l->device, l->web);
    requests_note(s, &caller_of(s)->requests, entry);
    call = call_new(&script_signal_link);
    key_code(key, APP_ROOM, l->device);
    call_key(&call, key);
    key_link(key, l->device);
    call_key(&call, key);
    call_text(&call, l->web);
    self_address_text(l->turn.session, address);
    call_text(&call, address);
    call_text(&call, l->public_key);
    call_text(&call, l->device_name);
    call_int(&call, config->pair_timeout_ms);
    call_send(&call, on_asked, l);
}

enum err handle_link_request(struct session *s, const struct message *m)
{
    struct caller *c = caller_of(s);
    char device[7], entry[ENTRY_MAX];
    struct storing what;
    struct guess guess;
    struct linking *l;

    if (!c->code)
        return ERR_REGISTER_FIRST;
    if (!is_pairing_code(m->values[0].raw, device))
        return ERR_CODE_FORMAT;
    if (!is_public_key(m->values[1].raw))
        return ERR_KEY_FORMAT;
    if (!caller_may_ask(c))
        return ERR_PAIR_RATE;
    if (strcmp(device, c->code) == 0) {
        session_send(s, wire_link_error(NOT_PROCESSED));
        return ERR_NONE;
    }
    code_entry(entry, CALLER, APP_ROOM, device);
    if (!guess_begin(&guess, s, entry))
        return ERR_NONE;
    l = turn_begin(s, sizeof(*l), linking_clear);
    l->guess = guess;
    l->web = mem_dup(c->code);
    l->device = mem_dup(device);
    l->public_key = span_dup(m->values[1].raw);
    l->device_name = m->values[2].present ? span_dup(m->values[2].raw) : mem_dup("null");
    what = storing(l);
    storage_take(&l->turn, &what, ask);
    return ERR_NONE;
}

/* --- the device answers --- */

static void call_unlink(const char *device, const char *why, const char *web, const char *address,
                        struct bytes *message, redis_callback callback, void *arg)
{
    struct call c = call_new(&script_signal_unlink);
    char key[KEY_MAX], entry[ENTRY_MAX];

    key_link(key, device);
    call_key(&c, key);
    call_text(&c, why);
    call_text(&c, web);
    call_text(&c, address);
    delivery_arguments(&c, 0);
    code_entry(entry, "code", APP_ROOM, "");
    call_text(&c, entry);
    call_span(&c, message ? bytes_span(message) : (struct span){"", 0});
    call_send(&c, callback, arg);
}

static struct bytes *wire_matched_web(const struct caller *device, const char *device_id)
{
    struct builder w = {0};

    wire_link(&w, "link_matched", device->code);
    builder_printf(&w, ",\"peerPublicKey\":%s,\"isInitiator\":true,\"deviceId\":%s}", device->public_key, device_id);
    return builder_take(&w);
}

static struct bytes *wire_matched_device(const char *device, const char *web, const char *public_key,
                                         const char *device_name)
{
    struct builder w = {0};

    wire_link(&w, "link_matched", device);
    builder_printf(&w, ",\"peerPublicKey\":%s,\"isInitiator\":false", public_key);
    builder_member(&w, "webClientCode", web);
    builder_printf(&w, ",\"deviceName\":%s}", device_name);
    return builder_take(&w);
}

/* The web client hears of it whether or not the device is still there. */
static void on_unlinked(const struct reply *r, void *arg)
{
    struct linking *l = arg;
    struct span word, web, address, public_key, device_name;
    bool read = r && reply_read(r, "sssss--", &word, &web, &address, &public_key, &device_name);

    if (read && span_is(word, "here"))
        send_to_web(address, web.at, l->message, l->turn.session);
    else if (read && span_is(word, "told"))
        delivery_count_remote(1);
    if (!read)
        turn_fail(&l->turn, ERR_UNAVAILABLE, NULL);
    else if (span_is(word, "unheard"))
        turn_fail(&l->turn, ERR_PEER_NOT_FOUND, web.at);
    else if (span_is(word, "none"))
        turn_send(&l->turn, wire_link_error("No pending link request"));
    else if (l->accepted)
        turn_send(&l->turn, wire_matched_device(l->device, web.at, public_key.at, device_name.at));
    turn_end(&l->turn);
}

enum err handle_link_response(struct session *s, const struct message *m)
{
    struct caller *c = caller_of(s);
    struct span accepted = m->values[1].raw;
    char device[7], self[ADDRESS_MAX], *device_id;
    struct linking *l;

    if (!c->code)
        return ERR_REGISTER_FIRST;
    if (!is_pairing_code(m->values[0].raw, device))
        return ERR_CODE_FORMAT;
    if (strcmp(device, c->code) != 0)
        return ERR_LINK_OTHER;
    if (json_kind(accepted) != JSON_KIND_BOOL) {
        session_fail(s, ERR_INVALID_FIELD, "accepted");
        return ERR_NONE;
    }
    device_id = m->values[2].present ? span_dup(m->values[2].raw) : mem_dup("null");
    l = turn_begin(s, sizeof(*l), linking_clear);
    l->device = mem_dup(device);
    l->accepted = span_is(accepted, "true");
    l->message = l->accepted ? wire_matched_web(c, device_id) : wire_link_end("link_rejected", device);
    free(device_id);
    self_address_text(l->turn.session, self);
    call_unlink(device, "answer", "", self, l->message, on_unlinked, l);
    return ERR_NONE;
}

/* --- the end of what was not answered --- */

static void on_time(const struct reply *r, void *arg)
{
    char *rest = arg, device[ID_MAX + 1];
    struct span word, web, address;
    const char *asked_by;
    long long now, until;

    if (r && reply_read(r, "sss--ii", &word, &web, &address, &now, &until) && code_split(rest, device, &asked_by)) {
        if (span_is(word, "open"))
            schedule_set(KEY_LINKS, rest, until);
        else if (!span_is(word, "unheard"))
            schedule_drop(KEY_LINKS, rest, now + LOOK_AGAIN_MS, 0);
        if (span_is(word, "here")) {
            struct bytes *b = wire_link_end("link_timeout", device);

            send_to_web(address, web.at, b, 0);
            bytes_unref(b);
        } else if (span_is(word, "told")) {
            delivery_count_remote(1);
        }
    }
    free(rest);
}

static void on_due(const char *rest)
{
    char device[ID_MAX + 1];
    struct bytes *message;
    const char *web;

    if (!code_split(rest, device, &web))
        return;
    message = wire_link_end("link_timeout", device);
    call_unlink(device, "time", web, "", message, on_time, mem_dup(rest));
    bytes_unref(message);
}

static void on_ended(const struct reply *r, void *arg)
{
    struct span word;
    long long now, until;

    if (r && reply_read(r, "s----ii", &word, &now, &until) && !span_is(word, "none"))
        schedule_drop(KEY_LINKS, arg, now, until);
    free(arg);
}

/* why: "gone" with the web client's address, "unheard" with the device's. */
static void end(const char *rest, const char *why, const struct address *at)
{
    char device[ID_MAX + 1], address[ADDRESS_MAX];
    const char *web;

    if (!code_split(rest, device, &web))
        return;
    address_format(at, address);
    call_unlink(device, why, web, address, NULL, on_ended, mem_dup(rest));
}

static void undo(const char *rest, const struct address *holder)
{
    end(rest, "gone", holder);
}

/* The device did not get the request, or too much waits for it: it is not open. */
static void on_not_found(const char *rest, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    if (holder)
        end(rest, "unheard", holder);
    if (s)
        session_send(s, wire_link_error(NOT_PROCESSED));
}

const struct entry_kind linking_kind = {"link", undo, .on_not_found = on_not_found, .on_busy = on_not_found};
const struct schedule linking_schedule = {KEY_LINKS, .due = on_due, .again_ms = LOOK_AGAIN_MS};
