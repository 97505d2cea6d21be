/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor.h"

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/doctor_client.h"
#include "signalbox/doctor_diagnosis.h"
#include "signalbox/doctor_rights.h"
#include "signalbox/doctor_sentinels.h"
#include "signalbox/doctor_settings.h"
#include "signalbox/keys.h"
#include "signalbox/redis_target.h"
#include "signalbox/redis_tls.h"
#include "signalbox/schema.h"

#define PINGS 100
#define PINGS_PATIENCE_US 2000000
#define SLOW_PING_MS 2.0
#define CLOCKS_APART_US 1000000

/* --- what it is --- */

static void check_version(struct doctor_client *c, struct diagnosis *d)
{
    char version[DOCTOR_VALUE_MAX], valkey[DOCTOR_VALUE_MAX];
    int major = 0, minor = 0;

    if (doctor_client_info(c, "valkey_version", valkey)) {
        diagnosis_say(d, LEVEL_OK, "Valkey %.32s", valkey);
        return;
    }
    if (!doctor_client_info(c, "redis_version", version)) {
        diagnosis_unread(d, c, "the version");
        return;
    }
    sscanf(version, "%d.%d", &major, &minor);
    if (major < 5)
        diagnosis_say(d, LEVEL_BAD,
                      "Redis %.32s: before 5.0 a script that has read the time may not write, so all fail", version);
    else if (major * 100 + minor < 602)
        diagnosis_say(d, LEVEL_WARN, "Redis %.32s: before 6.2 nothing was tried, and rights for channels do not exist",
                      version);
    else
        diagnosis_say(d, LEVEL_OK, "Redis %.32s", version);
    if (d->level != LEVEL_OK)
        diagnosis_advise(d, "install Redis 6.2 or later");
}

static void check_mode(struct doctor_client *c, struct diagnosis *d)
{
    char mode[DOCTOR_VALUE_MAX];

    if (!doctor_client_info(c, "redis_mode", mode) && !doctor_client_info(c, "server_mode", mode)) { /* of Valkey */
        diagnosis_unread(d, c, "whether it is part of a cluster");
    } else if (strcmp(mode, "standalone") == 0) {
        diagnosis_say(d, LEVEL_OK, "one server, no cluster");
    } else {
        diagnosis_say(d, LEVEL_BAD,
                      "it is a %.16s: workers do not follow it to where keys are, so messages are refused", mode);
        diagnosis_advise(d, "point REDIS_URL at a Redis with cluster-enabled no that is no Sentinel");
    }
}

static void is_replica(struct doctor_client *c, struct diagnosis *d)
{
    char host[DOCTOR_VALUE_MAX], port[DOCTOR_VALUE_MAX], where[DOCTOR_VALUE_MAX] = "the master that it copies";

    if (doctor_client_info(c, "master_host", host) && doctor_client_info(c, "master_port", port))
        snprintf(where, sizeof(where), "its master, %.180s:%.8s", host, port);
    diagnosis_say(d, LEVEL_BAD, "it is a replica: what is written to it is refused, or lost at its next full copy");
    diagnosis_advise(d, "point REDIS_URL at");
    builder_printf(&d->advice, " %s", where);
}

static void check_writes(struct doctor_client *c, struct diagnosis *d)
{
    char role[DOCTOR_VALUE_MAX] = "", error[DOCTOR_VALUE_MAX] = "";
    bool known = doctor_client_info(c, "role", role), refused = doctor_client_refused(c, "SET KEY x PX 1000", error);

    if (strcmp(role, "slave") == 0 || strncmp(error, "READONLY", 8) == 0) {
        is_replica(c, d);
    } else if (refused && strncmp(error, "NOPERM", 6) != 0) {
        diagnosis_say(d, LEVEL_BAD, "it refuses to be written to, so nobody can register: %.120s", error);
        diagnosis_advise(d, "see what the lines on memory, disk and mode say");
    } else if (known || !refused) {
        diagnosis_say(d, LEVEL_OK, "%s", refused ? "it is a master" : "it takes them");
    } else {
        diagnosis_unread(d, c, "whether it is a master");
    }
}

static long long layout_of(const redisReply *r)
{
    size_t digits = r && r->type == REDIS_REPLY_STRING ? strspn(r->str, "0123456789") : 0;

    if (!r || r->type == REDIS_REPLY_NIL)
        return 0;
    return digits > 0 && digits < 10 && digits == r->len && *r->str != '0' ? atoll(r->str) : -1;
}

static void say_layout(struct diagnosis *d, long long layout)
{
    char problem[SCHEMA_PROBLEM_MAX];
    const char *mend = schema_wrong(layout, problem);

    if (mend) {
        diagnosis_say(d, LEVEL_BAD, "no worker starts: %s", problem);
        diagnosis_advise(d, mend);
    } else if (layout == (long long)migrations_count) {
        diagnosis_say(d, LEVEL_OK, "%lld, that of this version", layout);
    } else if (layout == 0) {
        diagnosis_say(d, LEVEL_OK, "no number yet: the first worker makes it %zu", migrations_count);
    } else {
        diagnosis_say(d, LEVEL_OK, "%lld: the first worker of this version makes it %zu", layout, migrations_count);
    }
}

static void check_layout(struct doctor_client *c, struct diagnosis *d)
{
    redisReply *r = doctor_client_ask(c, "GET SCHEMA");
    char rights[REDIS_PREFIX_MAX + 8];

    if (r && r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOPERM", 6) == 0) {
        diagnosis_say(d, LEVEL_WARN, "it cannot be read by this user");
        snprintf(rights, sizeof(rights), "+get ~%s*", config->redis_prefix);
        diagnosis_grant_us(d, c, rights);
    } else if (r && r->type == REDIS_REPLY_ERROR && strncmp(r->str, "WRONGTYPE", 9) != 0) {
        diagnosis_say(d, LEVEL_WARN, "it cannot be read: %.120s", r->str);
        diagnosis_advise(d, "see what the lines on mode and writes say");
    } else {
        say_layout(d, layout_of(r));
    }
    freeReplyObject(r);
}

/* --- how far away it is --- */

static int64_t now_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void check_latency(struct doctor_client *c, struct diagnosis *d)
{
    int64_t took[PINGS], begun = now_us(CLOCK_MONOTONIC), before = begun, median;
    size_t count = 0;
    double ms;

    do {
        int64_t after;

        freeReplyObject(doctor_client_ask(c, "PING"));
        after = now_us(CLOCK_MONOTONIC);
        took[count++] = after - before;
        before = after;
    } while (count < PINGS && before - begun < PINGS_PATIENCE_US);
    qsort(took, count, sizeof(took[0]), by_size);
    median = took[count / 2];
    ms = (double)median / 1000;
    if (ms <= SLOW_PING_MS) {
        diagnosis_say(d, LEVEL_OK, "it answers within %.2f ms", ms);
        return;
    }
    diagnosis_say(d, LEVEL_WARN, "it answers within %.2f ms: whatever clients ask for takes some times as long", ms);
    diagnosis_advise(d, "run it next to the workers, and look for what keeps it busy");
    diagnosis_mend(d, c, "slowlog get 10");
}

static void check_clock(struct doctor_client *c, struct diagnosis *d)
{
    int64_t before = now_us(CLOCK_REALTIME), theirs = 0, apart;
    redisReply *r = doctor_client_ask(c, "TIME");
    bool known = r && r->type == REDIS_REPLY_ARRAY && r->elements == 2;

    if (known)
        theirs = atoll(r->element[0]->str) * 1000000 + atoll(r->element[1]->str);
    freeReplyObject(r);
    if (!known) {
        diagnosis_say(d, LEVEL_WARN, "TIME cannot be read by this user");
        diagnosis_grant_us(d, c, "+time");
        return;
    }
    apart = theirs - (before + now_us(CLOCK_REALTIME)) / 2;
    if (llabs(apart) <= CLOCKS_APART_US) {
        diagnosis_say(d, LEVEL_OK, "less than a second from this machine's");
        return;
    }
    diagnosis_say(d, LEVEL_WARN,
                  "%.1f s %s of this machine's: some times that clients are told are Redis', others a worker's",
                  (double)llabs(apart) / 1e6, apart > 0 ? "ahead" : "behind");
    diagnosis_advise(d, "run an NTP client on both machines");
}

static void check_rights(struct doctor_client *c, struct diagnosis *d)
{
    char *user = doctor_client_user(c); /* rights_of() leaves a connection that answers no such question */
    struct rights r = rights_of(c);

    diagnosis_say(d, LEVEL_OK, "this user has all that workers need");
    if (builder_len(&r.helpful) > 0)
        diagnosis_say(d, LEVEL_WARN, "this user cannot ask whether it is a master, or another than before");
    if (builder_len(&r.missing) > 0)
        diagnosis_say(d, LEVEL_BAD, "this user lacks some, so scripts fail or workers hear nothing");
    if (builder_len(&r.helpful) > 0)
        builder_add(&r.missing, bytes_span(r.helpful.bytes));
    if (builder_len(&r.missing) > 0)
        diagnosis_grant(d, c, user, bytes_span(r.missing.bytes));
    if (builder_len(&r.unknown) > 0) {
        diagnosis_say(d, LEVEL_BAD, "commands that scripts need are not known to this Redis");
        diagnosis_advise(d, "use one in which these are not renamed or left out:");
        builder_add(&d->advice, bytes_span(r.unknown.bytes));
    }
    free(user);
    rights_free(&r);
}

/* --- all of it --- */

static const struct {
    const char *name;
    void (*look)(struct doctor_client *c, struct diagnosis *d);
} checks[] = {
    {"version", check_version},
    {"mode", check_mode},
    {"writes", check_writes},
    {"sentinels", check_sentinels},
    {"replicas", check_replicas},
    {"eviction", check_eviction},
    {"memory", check_memory},
    {"persistence", check_persistence},
    {"fsync", check_fsync},
    {"disk", check_disk},
    {"output buffers", check_buffers},
    {"timeout", check_timeout},
    {"keepalive", check_keepalive},
    {"clients", check_clients},
    {"layout", check_layout},
    {"latency", check_latency},
    {"clock", check_clock},
    {"rights", check_rights}, /* the last: see doctor_rights.h */
};
#define CHECKS (sizeof(checks) / sizeof(checks[0]))

static void print_summary(FILE *out, const int counts[static LEVELS], bool commands)
{
    int bad = counts[LEVEL_BAD], warned = counts[LEVEL_WARN];

    if (bad)
        fprintf(out, "%d of %zu would lose data or refuse clients", bad, CHECKS);
    else
        fprintf(out, warned ? "nothing would lose data" : "all is well");
    if (bad || warned)
        fprintf(out, ", %d warning%s", warned, warned == 1 ? "" : "s");
    if (commands) /* whether Redis has a file to write them to is for whoever runs it */
        fprintf(out, "; what redis-cli sets is gone at Redis' next start unless kept (config rewrite, acl save)");
    fprintf(out, "\n");
}

static enum doctor_verdict run_checks(struct doctor_client *c, FILE *out, char problem[static 256])
{
    int counts[LEVELS] = {0};
    bool commands = false;

    for (size_t i = 0; i < CHECKS; i++) {
        struct diagnosis d = {0};
        bool lost;

        checks[i].look(c, &d);
        lost = doctor_client_lost(c, problem);
        if (!lost)
            diagnosis_print(&d, checks[i].name, out);
        counts[d.level]++;
        commands = commands || builder_len(&d.command) > 0;
        diagnosis_fini(&d);
        if (lost)
            return DOCTOR_FAILED;
    }
    print_summary(out, counts, commands);
    return counts[LEVEL_BAD] ? DOCTOR_LOSES : DOCTOR_FINE;
}

static enum doctor_verdict look_at(const struct redis_place *place, const struct redis_target *t,
                                   const struct doctor_sentinels *sentinels, FILE *out, char problem[static 256])
{
    struct doctor_client c = {.what = "Redis", .sentinels = sentinels};
    enum doctor_verdict verdict = DOCTOR_FAILED;

    if (doctor_client_open(&c, place, &t->login, t->tls, problem) && doctor_client_begin(&c, t->db, problem))
        verdict = run_checks(&c, out, problem);
    doctor_client_close(&c);
    return verdict;
}

enum doctor_verdict doctor_run(const char *url, FILE *out, char problem[static 256])
{
    struct redis_target t;
    struct doctor_sentinels sentinels = {0};
    enum doctor_verdict verdict = DOCTOR_FAILED;

    if (!redis_target_parse(&t, url, problem))
        return DOCTOR_FAILED;
    keys_init(config->redis_prefix, t.db);
    if (t.tls && !redis_tls_load(problem))
        verdict = DOCTOR_FAILED;
    else if (!t.master)
        verdict = look_at(t.places, &t, NULL, out, problem);
    else if (doctor_sentinels_ask(&sentinels, &t, problem))
        verdict = look_at(&sentinels.master, &t, &sentinels, out, problem);
    doctor_sentinels_free(&sentinels);
    redis_target_free(&t);
    return verdict;
}
