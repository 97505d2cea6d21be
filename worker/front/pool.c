/* SPDX-License-Identifier: MIT */
#include "signalbox/pool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/cidr.h"
#include "signalbox/config.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/resync.h"
#include "signalbox/ring.h"

#define READ_MS 1000 /* also where no change was heard of */
#define EXPIRE_MS 200
#define EXPIRE_BATCH "100"

struct entry {
    struct pool_member member; /* first: a member is found by its place in here */
    char *record;              /* as it was registered */
    bool listed, on_ring;
    UT_hash_handle hh;
};

static struct entry *pool; /* by id */
static struct ring *ring;
static long long version;
static long long born;        /* of the pool in Redis, its ms */
static int64_t kept_until_ms; /* till then members are kept that Redis has lost */
static bool known, reading, again;
static int64_t read_ms;
static void (*on_change)(void);
static struct metric *members_gauge, *changes;

static struct entry *find(const char *id, size_t len)
{
    struct entry *k;

    HASH_FIND(hh, pool, id, len, k);
    return k;
}

const struct pool_member *pool_find(const char *id)
{
    struct entry *k = find(id, strlen(id));

    return k ? &k->member : NULL;
}

size_t pool_choose(const char *ip, const char *region, size_t most, const struct pool_member **chosen)
{
    unsigned char range[ADDRESS_RANGE_MAX];
    size_t len = address_range(ip, range);

    return ring ? ring_choose(ring, (struct span){(const char *)range, len}, region, most, chosen) : 0;
}

long long pool_version(void)
{
    return version;
}

json_t *wire_pool_member(const struct pool_member *m)
{
    return json_pack("{ss ss ss? sI sI ss sI}", "id", m->id, "endpoint", m->endpoint, "region", m->region, "capacity",
                     (json_int_t)m->capacity, "load", (json_int_t)m->load, "status",
                     m->draining ? "draining" : "healthy", "lastSeen", (json_int_t)m->seen_ms);
}

static int by_id(const struct entry *a, const struct entry *b)
{
    return strcmp(a->member.id, b->member.id);
}

json_t *wire_pool(void)
{
    json_t *all = json_array();
    struct entry *k, *next;

    HASH_SORT(pool, by_id);
    HASH_ITER (hh, pool, k, next)
        json_array_append_new(all, wire_pool_member(&k->member));
    return all;
}

struct call pool_call(const struct script *script)
{
    static const char *const keys[] = {KEY_POOL,      KEY_POOL_AT,      KEY_POOL_LOADS,
                                       KEY_POOL_SEEN, KEY_POOL_VERSION, KEY_POOL_WATCH};
    struct call c = call_new(script);

    for (int i = 0; i < script->keys; i++)
        call_key(&c, keys[i]);
    return c;
}

/* --- the copy --- */

static void forget_record(struct entry *k)
{
    free(k->record);
    free(k->member.endpoint);
    free(k->member.region);
    k->record = k->member.endpoint = k->member.region = NULL;
}

/* What a member has registered is parsed where it has changed. */
static void note_record(struct span id, struct span record)
{
    struct entry *k = find(id.at, id.len);
    json_t *json;
    const char *region;

    if (k && span_is(record, k->record)) {
        k->listed = true;
        return;
    }
    json = json_loadb(record.at, record.len, 0, NULL);
    if (id.len > ID_MAX || !json_string_value(json_object_get(json, "endpoint"))) {
        LOG_WARNING("pool_entry_malformed");
        json_decref(json);
        return;
    }
    if (!k) {
        k = mem_alloc(sizeof(*k));
        k->member.id = span_dup(id);
        HASH_ADD_KEYPTR(hh, pool, k->member.id, id.len, k);
    }
    forget_record(k);
    k->listed = true;
    k->record = span_dup(record);
    k->member.endpoint = mem_dup(json_string_value(json_object_get(json, "endpoint")));
    region = json_string_value(json_object_get(json, "region"));
    k->member.region = region ? mem_dup(region) : NULL;
    k->member.capacity = json_integer_value(json_object_get(json, "capacity"));
    json_decref(json);
}

static void note_status(struct entry *k, const struct reply *value)
{
    struct span at = reply_span(value);
    const char *status = memchr(at.at, ' ', at.len);

    k->member.draining = status && strncmp(status, " draining ", 10) == 0;
}

static void note_load(struct entry *k, const struct reply *value)
{
    k->member.load = reply_int(value);
}

static void note_seen(struct entry *k, const struct reply *value)
{
    k->member.seen_ms = reply_int(value);
}

static void note_each(const struct reply *list, void (*note)(struct entry *k, const struct reply *value))
{
    for (size_t i = 0; i + 1 < reply_count(list); i += 2) {
        struct span id = reply_span(reply_at(list, i));
        struct entry *k = find(id.at, id.len);

        if (k)
            note(k, reply_at(list, i + 1));
    }
}

static bool takes_clients(const struct entry *k)
{
    return k->listed && !k->member.draining && k->member.load < k->member.capacity;
}

/* The ring is made anew only where those on it are others; true: they are. */
static bool renew_ring(void)
{
    struct pool_member **members = mem_alloc((HASH_COUNT(pool) + 1) * sizeof(struct pool_member *));
    struct entry *k, *next;
    bool changed = false;
    size_t count = 0;

    HASH_ITER (hh, pool, k, next) {
        changed |= takes_clients(k) != k->on_ring;
        k->on_ring = takes_clients(k);
        if (k->on_ring)
            members[count++] = &k->member;
    }
    if (changed || !ring) {
        ring_free(ring);
        ring = ring_new(members, count, (int)config->consistent_hash_replicas);
        metric_set(members_gauge, (double)count);
    }
    free(members);
    return changed;
}

/* A Redis that was emptied knows nobody until the members have sent their next heartbeats: who was here stays so long,
   and its clients hear nothing of it. */
static void note_birth(long long when)
{
    if (born && when != born) {
        LOG_WARNING("pool_lost");
        kept_until_ms = loop_ms() + config->worker_health_timeout;
        resync_all();
    }
    born = when;
}

static bool drop_unlisted(void)
{
    struct entry *k, *next;
    bool dropped = false;

    HASH_ITER (hh, pool, k, next) {
        if (k->listed)
            continue;
        HASH_DEL(pool, k);
        forget_record(k);
        free(k->member.id);
        free(k);
        dropped = true;
    }
    return dropped;
}

static void apply(long long number, const struct reply *records, const struct reply *at, const struct reply *loads,
                  const struct reply *seen)
{
    size_t before = HASH_COUNT(pool);
    bool changed = number != version;
    struct entry *k, *next;

    HASH_ITER (hh, pool, k, next)
        k->listed = loop_ms() < kept_until_ms;
    for (size_t i = 0; i + 1 < reply_count(records); i += 2)
        note_record(reply_span(reply_at(records, i)), reply_span(reply_at(records, i + 1)));
    changed |= HASH_COUNT(pool) != before;
    note_each(at, note_status);
    note_each(loads, note_load);
    note_each(seen, note_seen);
    changed |= renew_ring();
    changed |= drop_unlisted();
    version = number;
    if (!changed)
        return;
    metric_add(changes, 1);
    LOG_INFO("pool_change", LOG_INT("ring_version", version), LOG_INT("members", HASH_COUNT(pool)));
    on_change();
}

struct asking {
    void (*done)(bool ok, void *arg);
    void *arg;
    STAILQ_ENTRY(asking) next;
};
STAILQ_HEAD(askers, asking);

static struct askers waiting = STAILQ_HEAD_INITIALIZER(waiting); /* for the reading after the one under way */
static struct askers served = STAILQ_HEAD_INITIALIZER(served);   /* by the one under way */

static void answer_all(struct askers *all, bool ok)
{
    struct asking *a;

    while ((a = STAILQ_FIRST(all))) {
        STAILQ_REMOVE_HEAD(all, next);
        a->done(ok, a->arg);
        free(a);
    }
}

static void on_read(const struct reply *r, void *arg)
{
    const struct reply *records, *at, *loads, *seen;
    long long number, when;
    bool ok = r && reply_read(r, "iirrrr", &number, &when, &records, &at, &loads, &seen);

    (void)arg;
    reading = false;
    if (ok) {
        read_ms = loop_ms();
        known = true;
    }
    if (ok && when) {
        note_birth(when);
        apply(number, records, at, loads, seen);
    }
    answer_all(&served, ok);
    if (!ok)
        answer_all(&waiting, false);
    else if (again)
        pool_follow();
}

/* Many changes at once are one: while it is being read, it will be read once more. */
void pool_follow(void)
{
    struct call c;

    again = reading;
    if (reading)
        return;
    reading = true;
    STAILQ_CONCAT(&served, &waiting);
    c = pool_call(&script_pool_read);
    call_send(&c, on_read, NULL);
}

void pool_read(void (*done)(bool ok, void *arg), void *arg)
{
    struct asking *a = mem_alloc(sizeof(*a));

    *a = (struct asking){.done = done, .arg = arg};
    STAILQ_INSERT_TAIL(&waiting, a, next);
    pool_follow();
}

bool pool_known(void)
{
    return known;
}

/* --- following it --- */

static void on_expired(const struct reply *r, void *arg)
{
    const struct reply *silent;
    long long number, when;

    (void)arg;
    if (!r || !reply_read(r, "iir", &number, &when, &silent))
        return;
    for (size_t i = 0; i < reply_count(silent); i++)
        LOG_WARNING("pool_member_silent", LOG_TEXT("id", reply_span(reply_at(silent, i)).at));
    if (number != version || when != born)
        pool_follow();
}

static long long expire_ms(void)
{
    long long fine = config->worker_health_timeout / 4;

    return fine < 5 ? 5 : fine < EXPIRE_MS ? fine : EXPIRE_MS;
}

/* Any worker may be the one that is left: each of them looks for members whose own has died. */
static void on_tick(void *arg)
{
    struct call c;

    (void)arg;
    if (!redis_up() || (!pool && !*config->worker_shared_key))
        return;
    c = pool_call(&script_pool_expire);
    call_int(&c, config->worker_health_timeout);
    call_int(&c, config->worker_health_timeout / 2);
    call_text(&c, EXPIRE_BATCH);
    call_text(&c, CHANNEL_POOL);
    call_send(&c, on_expired, NULL);
    if (loop_ms() - read_ms >= READ_MS)
        pool_follow();
}

static void on_message(const char *channel, struct span message)
{
    (void)channel;
    (void)message;
    pool_follow();
}

static void on_live(const char *channel, bool live)
{
    (void)channel;
    if (live && redis_up())
        pool_follow();
}

void pool_init(void (*when_changed)(void))
{
    on_change = when_changed;
    members_gauge = metric_gauge("signalbox_ring_members", "Members of the pool that take new clients");
    changes = metric_counter("signalbox_pool_changes_total", "Changes of the pool that this worker has followed");
    redis_subscribe(CHANNEL_POOL, on_message, on_live);
    timer_every(expire_ms(), on_tick, NULL);
}

void pool_fini(void)
{
    struct entry *k, *next;

    ring_free(ring);
    ring = NULL;
    HASH_ITER (hh, pool, k, next)
        k->listed = false;
    drop_unlisted();
}
