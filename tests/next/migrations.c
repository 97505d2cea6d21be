/* SPDX-License-Identifier: MIT */
/* A version of the worker that is two layouts ahead: signalbox-next has this in the place of worker/redis/migrations.c.
   Layout 2 copies sb:{next}:old into sb:{next}:new, some entries at each step, and counts how often it did so for each;
   layout 3 is one step. Both leave what layout 1 has where it is. */
#include "scripts_data.h"
#include "signalbox/keys.h"
#include "signalbox/schema.h"

static const char copy[] = "local old, new, runs, cursor = KEYS[1], KEYS[2], KEYS[3], ARGV[1]\n"
                           "local from = cursor == '' and '-' or '(' .. cursor\n"
                           "local page = redis.call('ZRANGEBYLEX', old, from, '+', 'LIMIT', 0, 10)\n"
                           "for _, entry in ipairs(page) do\n"
                           "  redis.call('HSET', new, entry, 'new ' .. entry)\n"
                           "  redis.call('HINCRBY', runs, entry, 1)\n"
                           "end\n"
                           "return {page[10] or ''}\n";
static const char count[] = "redis.call('INCR', KEYS[1])\n"
                            "return {''}\n";

static const struct script second = {
    .name = "migrations/002", .source = copy, .source_len = sizeof(copy) - 1, .sha1 = "", .keys = 3, .args = 1};
static const struct script third = {
    .name = "migrations/003", .source = count, .source_len = sizeof(count) - 1, .sha1 = "", .keys = 1, .args = 1};

const struct migration migrations[] = {
    {&script_migrations_001, {KEY_SCHEMA}},
    {&second, {"sb:{next}:old", "sb:{next}:new", "sb:{next}:runs"}},
    {&third, {"sb:{next}:third"}},
};
const size_t migrations_count = sizeof(migrations) / sizeof(migrations[0]);
