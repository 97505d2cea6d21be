/* SPDX-License-Identifier: MIT */
#include "signalbox/storage_address.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "scripts_data.h"
#include "signalbox/address.h"
#include "signalbox/config.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/script.h"

#define UNTOLD_MAX 16384      /* bytes that Redis is not told of: most clients store less */
#define STEP 65536            /* in which it is told of more */
#define AHEAD_MAX 1048576     /* bytes that are stored before Redis has said whether they may */
#define COUNTS_MS 600000      /* if they are not told again: then this worker has died */
#define REFRESH_MS 200000     /* three times in it */
#define REFRESHED_A_TIME 1000 /* after Redis was lost */

/* What this worker knows of an address. */
struct account {
    struct ip *ip;             /* held */
    size_t open;               /* bytes that sockets here store, which end with them */
    size_t kept;               /* bytes that outlive their socket, of which Redis has yet to hear */
    size_t told;               /* of open, as it was told last, rounded */
    char told_as[WID_LEN + 1]; /* this worker's name then */
    size_t ahead;              /* as long as open and kept are no more than that, nobody waits */
    bool answered;             /* Redis has said how much the fleet stores for it */
    unsigned asked;            /* answers to come */
    TAILQ_ENTRY(account) next;
    UT_hash_handle hh;
};

struct telling {
    struct account *account;
    size_t open, told, kept; /* at that time; and what was added to kept by it */
    storage_told done;
    void *arg;
};

static struct account *accounts;                                    /* by ip */
static TAILQ_HEAD(, account) turns = TAILQ_HEAD_INITIALIZER(turns); /* the first is refreshed next */
static size_t hurried;                                              /* of them, that are to be told at once */

static size_t limit(void)
{
    return (size_t)config->store_address_max;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct account *account_of(struct ip *ip)
{
    struct account *a;

    HASH_FIND_PTR(accounts, &ip, a);
    if (!a) {
        a = mem_alloc(sizeof(*a));
        a->ip = ip;
        a->ahead = least(UNTOLD_MAX, limit() / 2);
        ip_hold(ip);
        HASH_ADD_PTR(accounts, ip, a);
        TAILQ_INSERT_TAIL(&turns, a, next);
    }
    return a;
}

static void account_free(struct account *a)
{
    HASH_DEL(accounts, a);
    TAILQ_REMOVE(&turns, a, next);
    ip_let_go(a->ip);
    free(a);
}

static bool is_idle(const struct account *a)
{
    return a->open == 0 && a->told == 0 && a->asked == 0;
}

/* --- telling --- */

/* Others may have stored more since the last answer: so nobody goes far ahead of it, and nobody where half of the limit
   is reached. */
static void note_total(struct account *a, const struct telling *t, size_t all)
{
    a->answered = true;
    a->ahead = all < limit() / 2 ? t->open + least(AHEAD_MAX, limit() / 2 - all) : 0;
}

static void on_told(const struct reply *r, void *arg)
{
    struct telling *t = arg;
    struct account *a = t->account;
    enum err e = ERR_UNAVAILABLE;
    long long total;
    size_t all;

    a->asked--;
    a->kept -= t->kept;
    a->answered = false;
    if (r && reply_read(r, "i", &total)) {
        all = (size_t)total - least((size_t)total, t->told) + t->open; /* not as it was rounded */
        e = all > limit() ? ERR_STORAGE_LIMIT : ERR_NONE;
        note_total(a, t, all);
    }
    if (t->done)
        t->done(e, t->arg);
    free(t);
}

static size_t rounded(size_t open)
{
    return open < UNTOLD_MAX ? 0 : (open + STEP - 1) / STEP * STEP;
}

static struct call tell_call(struct account *a, long long kept_ms, long long kept)
{
    struct call c = call_new(&script_storage_tell);
    char key[KEY_MAX];

    key_stored(key, ip_range(a->ip), "");
    call_key(&c, key);
    key_stored(key, ip_range(a->ip), ":workers");
    call_key(&c, key);
    key_stored(key, ip_range(a->ip), ":kept");
    call_key(&c, key);
    call_text(&c, self_wid());
    call_int(&c, (long long)a->told);
    call_int(&c, COUNTS_MS);
    call_text(&c, strcmp(a->told_as, self_wid()) == 0 ? "" : a->told_as);
    call_int(&c, kept_ms);
    call_int(&c, kept);
    return c;
}

/* kept: bytes to be kept more, or fewer. */
static void tell(struct account *a, long long kept_ms, long long kept, storage_told done, void *arg)
{
    struct telling *t = mem_alloc(sizeof(*t));
    struct call c;

    a->told = rounded(a->open);
    c = tell_call(a, kept_ms, kept);
    memcpy(a->told_as, self_wid(), sizeof(a->told_as));
    a->asked++;
    *t = (struct telling){a, a->open, a->told, kept > 0 ? (size_t)kept : 0, done, arg};
    call_send(&c, on_told, t);
}

/* What has become less is told late, unless it has become nothing: it may become more again. */
static bool is_to_be_told(const struct account *a)
{
    size_t now = rounded(a->open);

    return now > a->told || (a->told > 0 && (a->open == 0 || a->told - now > STEP));
}

/* --- counting --- */

static bool may_go_ahead(const struct account *a, bool kept)
{
    return a->open + a->kept <= a->ahead && (a->answered || !kept);
}

bool storage_address_take(struct ip *ip, size_t bytes, long long kept_ms, storage_told told, void *arg)
{
    struct account *a;
    bool ahead;

    if (limit() == 0)
        return true;
    a = account_of(ip);
    *(kept_ms ? &a->kept : &a->open) += bytes;
    ahead = may_go_ahead(a, kept_ms > 0);
    if (!ahead || kept_ms || is_to_be_told(a))
        tell(a, kept_ms, kept_ms ? (long long)bytes : 0, ahead ? NULL : told, arg);
    return ahead;
}

void storage_address_give_back(struct ip *ip, size_t bytes, long long kept_ms)
{
    struct account *a;

    if (limit() == 0)
        return;
    a = account_of(ip);
    if (!kept_ms)
        a->open -= least(a->open, bytes);
    if (kept_ms || is_to_be_told(a))
        tell(a, kept_ms, kept_ms ? -(long long)bytes : 0, NULL, NULL);
    else if (is_idle(a) && !a->answered)
        account_free(a);
}

/* --- telling again --- */

/* Who stores no more is remembered until its turn, with what the fleet stores for it. */
static void refresh_next(void)
{
    struct account *a = TAILQ_FIRST(&turns);

    if (is_idle(a)) {
        account_free(a);
        return;
    }
    TAILQ_REMOVE(&turns, a, next);
    TAILQ_INSERT_TAIL(&turns, a, next);
    if (a->told > 0 || rounded(a->open) > 0)
        tell(a, 0, 0, NULL, NULL);
}

void storage_address_refresh(long long each_ms)
{
    size_t count = HASH_COUNT(accounts), share = (count * (size_t)each_ms + REFRESH_MS - 1) / REFRESH_MS;
    size_t hurry = least(hurried, REFRESHED_A_TIME);

    hurried -= hurry;
    for (size_t left = least(count, share + hurry); left > 0; left--)
        refresh_next();
}

void storage_address_tell_again(void)
{
    hurried = HASH_COUNT(accounts);
}

void storage_address_fini(void)
{
    for (struct account *a; (a = TAILQ_FIRST(&turns));)
        account_free(a);
    hurried = 0;
}
