/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_sentinels.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/doctor_client.h"
#include "signalbox/doctor_diagnosis.h"

#define SENTINELS_LEAST 3 /* fewer than that cannot agree when one is away */

static const char *value_of(const redisReply *r, const char *field)
{
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        if (r->element[i]->type == REDIS_REPLY_STRING && r->element[i + 1]->type == REDIS_REPLY_STRING &&
            strcmp(r->element[i]->str, field) == 0)
            return r->element[i + 1]->str;
    return "";
}

/* The newest configuration counts. */
static void note_state(struct doctor_sentinels *all, const redisReply *r)
{
    const char *host = value_of(r, "ip");
    int port = atoi(value_of(r, "port"));
    long long epoch = atoll(value_of(r, "config-epoch"));

    all->answered++;
    if (all->master.host && epoch == all->epoch && port == all->master.port && strcmp(host, all->master.host) == 0) {
        all->agreed++;
    } else if (!all->master.host || epoch > all->epoch) {
        free(all->master.host);
        all->master = (struct redis_place){.host = mem_dup(host), .port = port};
        all->epoch = epoch;
        all->agreed = 1;
        all->replicas = atoll(value_of(r, "num-slaves"));
        all->quorum = atoll(value_of(r, "quorum"));
    }
}

static void ask_one(struct doctor_sentinels *all, const struct redis_place *place, const struct redis_login *login,
                    const struct redis_target *t)
{
    struct doctor_client c = {.what = "Sentinel"};
    char words[128];
    redisReply *r = NULL;

    snprintf(words, sizeof(words), "SENTINEL MASTER %.100s", t->master);
    if (doctor_client_open(&c, place, login, t->tls, all->silent)) {
        r = doctor_client_ask(&c, words);
        if (!r && !doctor_client_lost(&c, all->silent))
            snprintf(all->silent, sizeof(all->silent), "no answer");
    }
    if (r && r->type == REDIS_REPLY_ARRAY)
        note_state(all, r);
    else if (r)
        snprintf(all->silent, sizeof(all->silent), "Sentinel at %.80s:%d says of %.60s: %.80s", place->host,
                 place->port, t->master, r->type == REDIS_REPLY_ERROR ? r->str : "nothing");
    freeReplyObject(r);
    doctor_client_close(&c);
}

bool doctor_sentinels_ask(struct doctor_sentinels *all, const struct redis_target *t, char problem[static 256])
{
    struct redis_login login = redis_login_new(config->redis_sentinel_user, config->redis_sentinel_password);

    *all = (struct doctor_sentinels){.listed = t->places_count};
    for (size_t i = 0; i < t->places_count; i++)
        ask_one(all, &t->places[i], &login, t);
    redis_login_free(&login);
    if (!all->master.host)
        snprintf(problem, 256, "%s", all->silent);
    return all->master.host;
}

void doctor_sentinels_free(struct doctor_sentinels *all)
{
    free(all->master.host);
    *all = (struct doctor_sentinels){0};
}

void check_sentinels(struct doctor_client *c, struct diagnosis *d)
{
    const struct doctor_sentinels *all = c->sentinels;

    if (!all) {
        diagnosis_say(d, LEVEL_OK, "none: workers wait for this server when it is away");
        return;
    }
    diagnosis_say(d, LEVEL_OK, "%zu of %zu name %.80s:%d, quorum %lld, %lld replicas", all->agreed, all->listed,
                  all->master.host, all->master.port, all->quorum, all->replicas);
    if (all->replicas == 0) {
        diagnosis_say(d, LEVEL_WARN, "the master has no replica, so there is nothing to fail over to");
        diagnosis_advise(d, "start a server with replicaof");
    } else if (all->agreed < all->listed) {
        diagnosis_say(d, LEVEL_WARN, "only %zu of %zu name the same master: %.120s", all->agreed, all->listed,
                      *all->silent ? all->silent : "the others know an older one");
        diagnosis_advise(d, "see that all are up and watch the same servers");
    } else if (all->listed < SENTINELS_LEAST) {
        diagnosis_say(d, LEVEL_WARN, "%zu Sentinels: none of them may be away when the master fails", all->listed);
        diagnosis_advise(d, "run three, on three machines, and list all of them");
    }
}
