/* SPDX-License-Identifier: MIT */
/* In the place of redis/client.c, redis/subscriber.c and redis/reply.c. An answer takes its shape from the question: it
   is what its reader asks for, made of the words of the play's line as they are read. */
#undef NDEBUG /* the asserts are what is tested */
#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "signalbox/domain.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"
#include "signalbox/script.h"
#include "stage.h"

#define WORDS_MAX 64
#define ELEMENTS_MAX 40

/* --- replies --- */

struct reply {
    struct words *words;
    enum { UNREAD, TEXT, ARRAY, MALFORMED } is;
    char *text;
    struct reply *elements;
    size_t count;
};

/* Its readers have it as constant; here it is made by being read. */
static struct reply *own(const struct reply *r)
{
    return (struct reply *)(uintptr_t)r;
}

static void reply_fini(struct reply *r)
{
    for (size_t i = 0; i < r->count; i++)
        reply_fini(&r->elements[i]);
    free(r->elements);
    free(r->text);
}

static void become_array(struct reply *r, size_t count)
{
    r->is = ARRAY;
    r->count = count;
    r->elements = count ? mem_alloc(count * sizeof(*r->elements)) : NULL;
    for (size_t i = 0; i < count; i++)
        r->elements[i].words = r->words;
}

static const char *text_of(struct reply *r)
{
    if (r->is == UNREAD) {
        r->is = TEXT;
        r->text = words_take_stored(r->words);
    }
    return r->is == TEXT ? r->text : "";
}

struct span reply_span(const struct reply *r)
{
    struct span text = r ? span_of(text_of(own(r))) : (struct span){"", 0};

    stage_trusted &= text.len == 0;
    return text;
}

long long reply_int(const struct reply *r)
{
    return r ? strtoll(text_of(own(r)), NULL, 10) : 0;
}

size_t reply_count(const struct reply *r)
{
    char *word;

    if (r && r->is == UNREAD) {
        word = words_take(r->words);
        become_array(own(r), strtoul(word, NULL, 10) % (ELEMENTS_MAX + 1));
        free(word);
        stage_trusted &= r->count == 0;
    }
    return r && r->is == ARRAY ? r->count : 0;
}

const struct reply *reply_at(const struct reply *r, size_t i)
{
    return i < reply_count(r) ? &r->elements[i] : NULL;
}

static void read_one(const struct reply *e, char shape, va_list *list)
{
    if (shape == 's')
        *va_arg(*list, struct span *) = reply_span(e);
    else if (shape == 'i')
        *va_arg(*list, long long *) = reply_int(e);
    else if (shape == 'r')
        *va_arg(*list, const struct reply **) = e;
    else
        assert(shape == '-');
}

bool reply_read(const struct reply *r, const char *shape, ...)
{
    va_list list;

    if (!r)
        return false;
    if (r->is == UNREAD && words_take_if(r->words, "!"))
        own(r)->is = MALFORMED;
    if (r->is == UNREAD)
        become_array(own(r), strlen(shape));
    if (r->is != ARRAY || r->count != strlen(shape))
        return false;
    stage_trusted &= strchr(shape, 's') == strrchr(shape, 's'); /* no script answers with nothing but empty texts */
    va_start(list, shape);
    for (size_t i = 0; shape[i]; i++)
        read_one(&r->elements[i], shape[i], &list);
    va_end(list);
    return true;
}

/* --- commands --- */

struct pending {
    redis_raw_callback callback;
    void *arg;
    STAILQ_ENTRY(pending) next;
};

static STAILQ_HEAD(, pending) pending = STAILQ_HEAD_INITIALIZER(pending);
static size_t waiting;
static bool is_up;

bool redis_up(void)
{
    return is_up;
}

bool redis_subscriber_up(void)
{
    return is_up;
}

const char *redis_problem(void)
{
    return "";
}

bool redis_is_another(void)
{
    return true;
}

void redis_leave(const char *why)
{
    (void)why;
}

bool redis_connected(void)
{
    return is_up;
}

static void on_refused(void *arg)
{
    struct pending *p = arg;

    p->callback(NULL, NULL, p->arg);
    free(p);
}

void redis_send_raw(redis_raw_callback callback, void *arg, struct span resp)
{
    struct pending *p = mem_alloc(sizeof(*p));

    assert(resp.len > 0 && *resp.at == '*');
    p->callback = callback;
    p->arg = arg;
    if (!is_up) {
        loop_defer(on_refused, p);
        return;
    }
    STAILQ_INSERT_TAIL(&pending, p, next);
    waiting++;
}

/* Here it is open as soon as it is up: what asks for the layout does so again once Redis was emptied. */
void redis_send_urgent(redis_raw_callback callback, void *arg, struct span resp)
{
    redis_send_raw(callback, arg, resp);
}

void redis_send_first(redis_raw_callback callback, void *arg, struct span resp)
{
    redis_send_raw(callback, arg, resp);
}

void redis_open(void)
{
}

void redis_shut(void)
{
    is_up = false;
}

struct command {
    redis_callback callback;
    void *arg;
};

static void on_command(const struct reply *r, const char *error, void *arg)
{
    struct command *c = arg;

    (void)error;
    if (c->callback)
        c->callback(r, c->arg);
    free(c);
}

void redis_send(redis_callback callback, void *arg, size_t count, const struct span *words)
{
    struct command *c = mem_alloc(sizeof(*c));

    assert(count > 0 && words[0].len > 0);
    *c = (struct command){callback, arg};
    redis_send_raw(on_command, c, SPAN("*"));
}

void redis_command(redis_callback callback, void *arg, ...)
{
    struct span words[WORDS_MAX];
    size_t count = 0;
    va_list list;

    va_start(list, arg);
    for (const char *word; count < WORDS_MAX && (word = va_arg(list, const char *)); count++)
        words[count] = span_of(word);
    va_end(list);
    redis_send(callback, arg, count, words);
}

/* Only a script that Redis has forgotten asks for it, and none is forgotten here. */
void redis_hold(void (*idle)(void))
{
    (void)idle;
    abort();
}

static void answer(const struct reply *r, const char *error)
{
    struct pending *p = STAILQ_FIRST(&pending);

    if (!p)
        return;
    STAILQ_REMOVE_HEAD(&pending, next);
    waiting--;
    p->callback(r, error, p->arg);
    free(p);
}

void fake_redis_answer(struct words *w)
{
    struct reply r = {.words = w};

    answer(&r, NULL);
    reply_fini(&r);
}

void fake_redis_refuse(const char *error)
{
    answer(NULL, error);
}

size_t fake_redis_waiting(void)
{
    return waiting;
}

/* --- channels --- */

struct channel {
    char *name;
    redis_message on_message;
    redis_live on_live;
    bool live;
    TAILQ_ENTRY(channel) next;
};

static TAILQ_HEAD(, channel) channels = TAILQ_HEAD_INITIALIZER(channels);
static size_t channel_count;

static struct channel *find(const char *name)
{
    struct channel *c;

    TAILQ_FOREACH (c, &channels, next)
        if (strcmp(c->name, name) == 0)
            break;
    return c;
}

void redis_subscribe(const char *name, redis_message on_message, redis_live on_live)
{
    struct channel *c = find(name);

    if (!c) {
        c = mem_alloc(sizeof(*c));
        c->name = mem_dup(name);
        TAILQ_INSERT_TAIL(&channels, c, next);
        channel_count++;
    }
    c->on_message = on_message;
    c->on_live = on_live;
    c->live = false;
}

void redis_unsubscribe(const char *name)
{
    struct channel *c = find(name);

    if (!c)
        return;
    TAILQ_REMOVE(&channels, c, next);
    channel_count--;
    free(c->name);
    free(c);
}

bool redis_channel_live(const char *name)
{
    const struct channel *c = find(name);

    return c && c->live;
}

/* Those who are told may subscribe and unsubscribe: so it begins anew after each. */
static bool change_one(bool live)
{
    struct channel *c;

    TAILQ_FOREACH (c, &channels, next)
        if (c->live != live)
            break;
    if (!c)
        return false;
    c->live = live;
    if (c->on_live) {
        char *name = mem_dup(c->name);

        c->on_live(name, live);
        free(name);
    }
    return true;
}

bool fake_redis_confirm(void)
{
    return is_up && change_one(true);
}

void redis_subscribe_anew(const char *why)
{
    (void)why;
    while (change_one(false))
        ;
}

void fake_redis_publish(size_t channel, struct span message)
{
    struct channel *c = TAILQ_FIRST(&channels);
    char *name, *copy; /* of just that size, so that the sanitizer sees a step too far */

    while (c && channel-- > 0)
        c = TAILQ_NEXT(c, next);
    if (!c || !c->live)
        return;
    stage_trusted = false;
    name = mem_dup(c->name);
    copy = malloc(message.len + !message.len);
    memcpy(copy, message.at, message.len);
    c->on_message(name, (struct span){copy, message.len});
    free(copy);
    free(name);
}

size_t fake_redis_channels(void)
{
    return channel_count;
}

/* --- the connection --- */

void fake_redis_go(bool up)
{
    if (up == is_up)
        return;
    is_up = up;
    if (up) {
        scripts_load();
        domains_redis_up();
        return;
    }
    while (waiting)
        answer(NULL, NULL);
    redis_subscribe_anew("");
}
