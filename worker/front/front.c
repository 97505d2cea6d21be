/* SPDX-License-Identifier: MIT */
#include "signalbox/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/claim.h"
#include "signalbox/entry.h"
#include "signalbox/forward.h"
#include "signalbox/keys.h"
#include "signalbox/pool.h"

static void key_of(const char *kind, const char *id, char out[static KEY_MAX])
{
    if (strcmp(kind, KIND_MEMBER) == 0)
        key_pool_member(out, id);
    else
        key_client(out, id);
}

void front_forward(struct session *s, const char *kind, const char *target, const char *type, const char *from,
                   struct span payload)
{
    char key[KEY_MAX], entry[ENTRY_MAX];
    struct builder w = {0};
    struct bytes *b;

    builder_text(&w, "{");
    builder_member(&w, "type", type);
    builder_member(&w, "from", from);
    builder_text(&w, ",\"payload\":");
    builder_add(&w, payload);
    builder_text(&w, "}");
    b = builder_take(&w);
    key_of(kind, target, key);
    snprintf(entry, sizeof(entry), "%s\t%s", kind, target);
    forward_send(key, entry, entry, b, session_id_of(s));
    bytes_unref(b);
}

void front_on_not_found(const char *id, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    (void)id;
    (void)holder;
    if (s)
        session_fail(s, ERR_TARGET_NOT_FOUND, NULL);
}

void front_on_busy(const char *id, const struct address *holder, session_id from)
{
    struct session *s = session_find(from);

    (void)id, (void)holder;
    if (s)
        session_fail(s, ERR_TARGET_BUSY, NULL);
}

void front_send(struct session *s, json_t *message)
{
    char *text = json_dumps(message, JSON_COMPACT);

    session_send(s, bytes_copy(span_of(text)));
    free(text);
    json_decref(message);
}

static void on_pool_change(void)
{
    worker_sync_on_pool_change();
    signaling_on_pool_change();
}

static void on_session_end(struct session *s)
{
    worker_sync_on_session_end(s);
    signaling_on_session_end(s);
}

static void init(void)
{
    pool_init(on_pool_change);
    worker_sync_init();
    signaling_init();
}

static void fini(void)
{
    worker_sync_fini();
    pool_fini();
}

static const struct socket_path paths[] = {
    {"/worker-sync", "worker_sync", &worker_sync_dialect}, {"/signaling", "signaling", &signaling_dialect}, {0}};
static const struct http_route *const routes[] = {bootstrap_routes, NULL};
static const struct entry_kind *const kinds[] = {&worker_sync_kind, &signaling_kind, NULL};

const struct domain front_domain = {
    .name = "front",
    .paths = paths,
    .routes = routes,
    .kinds = kinds,
    .on_redis_up = pool_follow,
    .on_session_end = on_session_end,
    .init = init,
    .fini = fini,
};
