/* SPDX-License-Identifier: MIT */
#include "signalbox/schema.h"

#include <stdio.h>

#include "scripts_data.h"
#include "signalbox/address.h"
#include "signalbox/keys.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/script.h"
#include "signalbox/version.h"

#define STEP_MS 3000           /* after which another worker goes on with a migration */
#define TRUST_MS (STEP_MS / 2) /* the rest is for what is sent to reach Redis */
#define WAIT_MS 100            /* while another worker migrates */
#define RETRY_MS 1000          /* after an error */

static void (*on_refused)(const char *problem);
static struct timer *next_look;
static bool asking; /* an answer is to come, and the next question follows from it */
static int64_t asked_ms;
static long long making; /* the layout to which a step is being made */

static void ask(long long made, struct span cursor);

const char *schema_wrong(long long layout, char problem[static SCHEMA_PROBLEM_MAX])
{
    if (layout < 0) {
        snprintf(problem, SCHEMA_PROBLEM_MAX, "%s in Redis is not the number of a key layout", KEY_SCHEMA);
        return "no worker writes that: find out what did, then set it to the layout of the version that ran last";
    }
    if (layout > (long long)migrations_count) {
        snprintf(problem, SCHEMA_PROBLEM_MAX,
                 "the keys in Redis have layout %lld, and version " SIGNALBOX_VERSION " knows none after %zu", layout,
                 migrations_count);
        return "run the version that made it, or a later one";
    }
    return NULL;
}

static void on_time(void *arg)
{
    (void)arg;
    next_look = NULL;
    schema_look();
}

static void look_later(int64_t ms)
{
    if (redis_connected())
        next_look = timer_once(ms, on_time, NULL);
}

/* true: such a layout, and nothing goes to Redis any more. */
static bool refuse(long long layout)
{
    char problem[SCHEMA_PROBLEM_MAX], sentence[2 * SCHEMA_PROBLEM_MAX];
    const char *mend = schema_wrong(layout, problem);

    if (!mend)
        return false;
    snprintf(sentence, sizeof(sentence), "%s: %s", problem, mend);
    LOG_ERROR("schema_refused", LOG_TEXT("reason", sentence));
    redis_shut();
    if (on_refused)
        on_refused(sentence);
    return true;
}

static void on_step(const struct reply *r, void *arg)
{
    struct span cursor;

    (void)arg;
    asking = false;
    if (r && reply_read(r, "s", &cursor))
        ask(making, cursor);
    else
        look_later(RETRY_MS);
}

static void step(long long layout, struct span cursor)
{
    const struct migration *m = &migrations[layout];
    struct call c = call_new(m->script);

    for (size_t i = 0; i < MIGRATION_KEYS_MAX && m->keys[i]; i++)
        call_key(&c, m->keys[i]);
    call_span(&c, cursor);
    making = layout + 1;
    asking = true;
    call_send_first(&c, on_step, NULL);
}

/* A worker that stood still may have lost the migration to another since it asked. */
static void go_on(long long layout, bool ours, struct span cursor)
{
    if (ours && loop_ms() - asked_ms < TRUST_MS)
        step(layout, cursor);
    else if (ours || !redis_up())
        look_later(WAIT_MS);
}

static void on_answer(const struct reply *r, void *arg)
{
    long long layout, completed, ours;
    struct span cursor;

    (void)arg;
    asking = false;
    if (!r || !reply_read(r, "iiis", &layout, &completed, &ours, &cursor)) {
        look_later(RETRY_MS);
        return;
    }
    if (completed)
        LOG_INFO("schema_migrated", LOG_INT("layout", making));
    if (refuse(layout))
        return;
    if (layout == (long long)migrations_count)
        redis_open();
    else
        go_on(layout, ours, cursor);
}

static void ask(long long made, struct span cursor)
{
    struct call c = call_new(&script_schema_migrate);

    call_key(&c, KEY_SCHEMA);
    call_key(&c, KEY_MIGRATION);
    call_text(&c, self_wid());
    call_int(&c, (long long)migrations_count);
    call_int(&c, STEP_MS);
    call_int(&c, made);
    call_span(&c, cursor);
    asked_ms = loop_ms();
    asking = true;
    call_send_first(&c, on_answer, NULL);
}

void schema_look(void)
{
    if (asking)
        return;
    timer_free(next_look);
    next_look = NULL;
    ask(0, SPAN(""));
}

void schema_init(void (*refused)(const char *problem))
{
    on_refused = refused;
}
