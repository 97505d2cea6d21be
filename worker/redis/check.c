/* SPDX-License-Identifier: MIT */
#include "signalbox/check.h"

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "signalbox/bytes.h"
#include "signalbox/finding.h"
#include "signalbox/keys.h"
#include "signalbox/link.h"
#include "signalbox/probe.h"
#include "signalbox/rights.h"
#include "signalbox/schema.h"
#include "signalbox/settings.h"

#define PINGS 100
#define PINGS_PATIENCE_US 2000000
#define SLOW_PING_MS 2.0
#define CLOCKS_APART_US 1000000

/* --- what it is --- */

static void check_version(struct probe *p, struct finding *f)
{
    char version[PROBE_VALUE_MAX];
    int major = 0, minor = 0;

    if (!probe_info(p, "redis_version", version)) {
        finding_unread(f, p, "the version");
        return;
    }
    sscanf(version, "%d.%d", &major, &minor);
    if (major < 5)
        finding_say(f, LEVEL_BAD, "Redis %.32s: before 5.0 a script that has read the time may not write, so all fail",
                    version);
    else if (major * 100 + minor < 602)
        finding_say(f, LEVEL_WARN, "Redis %.32s: before 6.2 nothing was tried, and rights for channels do not exist",
                    version);
    else
        finding_say(f, LEVEL_OK, "Redis %.32s", version);
    if (f->level != LEVEL_OK)
        finding_advise(f, "install Redis 6.2 or later");
}

static void check_mode(struct probe *p, struct finding *f)
{
    char mode[PROBE_VALUE_MAX];

    if (!probe_info(p, "redis_mode", mode)) {
        finding_unread(f, p, "whether it is part of a cluster");
    } else if (strcmp(mode, "standalone") == 0) {
        finding_say(f, LEVEL_OK, "one server, no cluster");
    } else {
        finding_say(f, LEVEL_BAD, "it is a %.16s: workers do not follow it to where keys are, so messages are refused",
                    mode);
        finding_advise(f, "point REDIS_URL at a Redis with cluster-enabled no that is no Sentinel");
    }
}

static void is_replica(struct probe *p, struct finding *f)
{
    char host[PROBE_VALUE_MAX], port[PROBE_VALUE_MAX], where[PROBE_VALUE_MAX] = "the master that it copies";

    if (probe_info(p, "master_host", host) && probe_info(p, "master_port", port))
        snprintf(where, sizeof(where), "its master, %.180s:%.8s", host, port);
    finding_say(f, LEVEL_BAD, "it is a replica: what is written to it is refused, or lost at its next full copy");
    finding_advise(f, "point REDIS_URL at");
    builder_printf(&f->advice, " %s", where);
}

static void check_writes(struct probe *p, struct finding *f)
{
    char role[PROBE_VALUE_MAX] = "", error[PROBE_VALUE_MAX] = "";
    bool known = probe_info(p, "role", role), refused = probe_refused(p, "SET KEY x PX 1000", error);

    if (strcmp(role, "slave") == 0 || strncmp(error, "READONLY", 8) == 0) {
        is_replica(p, f);
    } else if (refused && strncmp(error, "NOPERM", 6) != 0) {
        finding_say(f, LEVEL_BAD, "it refuses to be written to, so nobody can register: %.120s", error);
        finding_advise(f, "see what the lines on memory, disk and mode say");
    } else if (known || !refused) {
        finding_say(f, LEVEL_OK, "%s", refused ? "it is a master" : "it takes them");
    } else {
        finding_unread(f, p, "whether it is a master");
    }
}

static long long layout_of(const redisReply *r)
{
    size_t digits = r && r->type == REDIS_REPLY_STRING ? strspn(r->str, "0123456789") : 0;

    if (!r || r->type == REDIS_REPLY_NIL)
        return 0;
    return digits > 0 && digits < 10 && digits == r->len && *r->str != '0' ? atoll(r->str) : -1;
}

static void say_layout(struct finding *f, long long layout)
{
    char problem[SCHEMA_PROBLEM_MAX];
    const char *mend = schema_wrong(layout, problem);

    if (mend) {
        finding_say(f, LEVEL_BAD, "no worker starts: %s", problem);
        finding_advise(f, mend);
    } else if (layout == (long long)migrations_count) {
        finding_say(f, LEVEL_OK, "%lld, that of this version", layout);
    } else if (layout == 0) {
        finding_say(f, LEVEL_OK, "no number yet: the first worker makes it %zu", migrations_count);
    } else {
        finding_say(f, LEVEL_OK, "%lld: the first worker of this version makes it %zu", layout, migrations_count);
    }
}

static void check_layout(struct probe *p, struct finding *f)
{
    redisReply *r = probe_ask(p, "GET " KEY_SCHEMA);

    if (r && r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOPERM", 6) == 0) {
        finding_say(f, LEVEL_WARN, "it cannot be read by this user");
        finding_grant_us(f, p, "+get ~sb:*");
    } else {
        say_layout(f, layout_of(r));
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

static void check_latency(struct probe *p, struct finding *f)
{
    int64_t took[PINGS], begun = now_us(CLOCK_MONOTONIC), before = begun, median;
    size_t count = 0;
    double ms;

    do {
        int64_t after;

        freeReplyObject(probe_ask(p, "PING"));
        after = now_us(CLOCK_MONOTONIC);
        took[count++] = after - before;
        before = after;
    } while (count < PINGS && before - begun < PINGS_PATIENCE_US);
    qsort(took, count, sizeof(took[0]), by_size);
    median = took[count / 2];
    ms = (double)median / 1000;
    if (ms <= SLOW_PING_MS) {
        finding_say(f, LEVEL_OK, "it answers within %.2f ms", ms);
        return;
    }
    finding_say(f, LEVEL_WARN, "it answers within %.2f ms: whatever clients ask for takes some times as long", ms);
    finding_advise(f, "run it next to the workers, and look for what keeps it busy");
    finding_mend(f, p, "slowlog get 10");
}

static void check_clock(struct probe *p, struct finding *f)
{
    int64_t before = now_us(CLOCK_REALTIME), theirs = 0, apart;
    redisReply *r = probe_ask(p, "TIME");
    bool known = r && r->type == REDIS_REPLY_ARRAY && r->elements == 2;

    if (known)
        theirs = atoll(r->element[0]->str) * 1000000 + atoll(r->element[1]->str);
    freeReplyObject(r);
    if (!known) {
        finding_say(f, LEVEL_WARN, "TIME cannot be read by this user");
        finding_grant_us(f, p, "+time");
        return;
    }
    apart = theirs - (before + now_us(CLOCK_REALTIME)) / 2;
    if (llabs(apart) <= CLOCKS_APART_US) {
        finding_say(f, LEVEL_OK, "less than a second from this machine's");
        return;
    }
    finding_say(f, LEVEL_WARN,
                "%.1f s %s of this machine's: some times that clients are told are Redis', others a worker's",
                (double)llabs(apart) / 1e6, apart > 0 ? "ahead" : "behind");
    finding_advise(f, "run an NTP client on both machines");
}

static void check_rights(struct probe *p, struct finding *f)
{
    char *user = probe_user(p); /* rights_of() leaves a connection that answers no such question */
    struct rights r = rights_of(p);

    finding_say(f, LEVEL_OK, "this user has all that workers need");
    if (builder_len(&r.missing) > 0) {
        finding_say(f, LEVEL_BAD, "this user lacks some, so scripts fail or workers hear nothing");
        finding_grant(f, p, user, bytes_span(r.missing.bytes));
    }
    if (builder_len(&r.unknown) > 0) {
        finding_say(f, LEVEL_BAD, "commands that scripts need are not known to this Redis");
        finding_advise(f, "use one in which these are not renamed or left out:");
        builder_add(&f->advice, bytes_span(r.unknown.bytes));
    }
    free(user);
    rights_free(&r);
}

/* --- all of it --- */

static const struct {
    const char *name;
    void (*look)(struct probe *p, struct finding *f);
} checks[] = {
    {"version", check_version},   {"mode", check_mode},           {"writes", check_writes},
    {"eviction", check_eviction}, {"memory", check_memory},       {"persistence", check_persistence},
    {"fsync", check_fsync},       {"disk", check_disk},           {"output buffers", check_buffers},
    {"timeout", check_timeout},   {"keepalive", check_keepalive}, {"clients", check_clients},
    {"layout", check_layout},     {"latency", check_latency},     {"clock", check_clock},
    {"rights", check_rights}, /* the last: see rights.h */
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

static enum check_result run_checks(struct probe *p, FILE *out, char problem[static 256])
{
    int counts[LEVELS] = {0};
    bool commands = false;

    for (size_t i = 0; i < CHECKS; i++) {
        struct finding f = {0};
        bool lost;

        checks[i].look(p, &f);
        lost = probe_lost(p, problem);
        if (!lost)
            finding_print(&f, checks[i].name, out);
        counts[f.level]++;
        commands = commands || builder_len(&f.command) > 0;
        finding_fini(&f);
        if (lost)
            return CHECK_FAILED;
    }
    print_summary(out, counts, commands);
    return counts[LEVEL_BAD] ? CHECK_LOSES : CHECK_FINE;
}

enum check_result check_redis(const char *url, FILE *out, char problem[static 256])
{
    struct redis_target target;
    struct probe p;
    enum check_result result = CHECK_FAILED;

    if (!redis_target_parse(&target, url, problem))
        return CHECK_FAILED;
    if (probe_open(&p, &target, problem))
        result = run_checks(&p, out, problem);
    probe_close(&p);
    redis_target_free(&target);
    return result;
}
