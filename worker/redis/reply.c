/* SPDX-License-Identifier: MIT */
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/log.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"

static const redisReply *raw(const struct reply *r)
{
    return (const redisReply *)r;
}

struct span reply_span(const struct reply *r)
{
    const redisReply *q = raw(r);

    if (!q || (q->type != REDIS_REPLY_STRING && q->type != REDIS_REPLY_STATUS))
        return (struct span){"", 0};
    return (struct span){q->str, q->len};
}

long long reply_int(const struct reply *r)
{
    const redisReply *q = raw(r);

    if (q && q->type == REDIS_REPLY_INTEGER)
        return q->integer;
    return q && q->type == REDIS_REPLY_STRING ? strtoll(q->str, NULL, 10) : 0;
}

size_t reply_count(const struct reply *r)
{
    return r && raw(r)->type == REDIS_REPLY_ARRAY ? raw(r)->elements : 0;
}

const struct reply *reply_at(const struct reply *r, size_t i)
{
    return i < reply_count(r) ? (const struct reply *)raw(r)->element[i] : NULL;
}

static bool read_one(const redisReply *e, char shape, va_list *list)
{
    switch (shape) {
    case 's':
        if (e->type != REDIS_REPLY_STRING && e->type != REDIS_REPLY_NIL)
            return false;
        *va_arg(*list, struct span *) = reply_span((const struct reply *)e);
        return true;
    case 'i':
        if (e->type != REDIS_REPLY_INTEGER)
            return false;
        *va_arg(*list, long long *) = e->integer;
        return true;
    case 'r':
        *va_arg(*list, const struct reply **) = (const struct reply *)e;
        return true;
    default:
        return shape == '-';
    }
}

bool reply_read(const struct reply *r, const char *shape, ...)
{
    bool ok = r && reply_count(r) == strlen(shape);
    va_list list;

    va_start(list, shape);
    for (size_t i = 0; ok && shape[i]; i++)
        ok = read_one(raw(r)->element[i], shape[i], &list);
    va_end(list);
    if (r && !ok) {
        metric_add(metric_counter("signalbox_script_replies_malformed_total", "Replies of scripts that make no sense"),
                   1);
        LOG_ERROR("script_reply_malformed", LOG_TEXT("expected", shape));
    }
    return ok;
}
