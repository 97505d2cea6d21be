/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_rights.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/doctor_client.h"
#include "signalbox/keys.h"

#define NO_SCRIPT "0000000000000000000000000000000000000000"

/* Every command that the scripts or the worker itself use, and the names that have no brace. The first makes a
   text, so that those behind it are refused for its type and change nothing; Redis asks about rights before that.
   Subscribing comes last: nothing else may follow it. */
static const char *const tries[] = {
    "SET KEY x PX 10000",
    "PING",
    "TIME",
    "ROLE",
    "INFO server",
    "CLIENT SETNAME signalbox-check",
    "GET KEY",
    "INCR KEY",
    "EXISTS KEY",
    "PTTL KEY",
    "PERSIST OTHER",
    "RENAME OTHER KEY",
    "HDEL KEY x",
    "HEXISTS KEY x",
    "HGET KEY x",
    "HGETALL KEY",
    "HINCRBY KEY x 1",
    "HLEN KEY",
    "HMGET KEY x",
    "HSET KEY x x",
    "HSETNX KEY x x",
    "HSTRLEN KEY x",
    "SADD KEY x",
    "SCAN 0 COUNT 1",
    "SCARD KEY",
    "SISMEMBER KEY x",
    "SRANDMEMBER KEY 1",
    "SREM KEY x",
    "SSCAN KEY 0",
    "ZADD KEY 0 x",
    "ZCARD KEY",
    "ZCOUNT KEY 0 0",
    "ZRANGE KEY 0 0",
    "ZRANGEBYLEX KEY - +",
    "ZRANGEBYSCORE KEY 0 0",
    "ZREM KEY x",
    "ZREMRANGEBYSCORE KEY 0 0",
    "ZREVRANGE KEY 0 0",
    "ZSCORE KEY x",
    "HDEL LEASE x",
    "HDEL LEADER x",
    "HDEL MIGRATION x",
    "HDEL POLICY x",
    "HDEL SCHEMA x",
    "HDEL WORKERS x",
    "SCRIPT LOAD return",
    "EVAL return 1 KEY",
    ("EVALSHA " NO_SCRIPT " 1 KEY"),
    "PEXPIRE KEY 10000",
    "UNLINK KEY",
    "DEL KEY",
    "PUBLISH INBOX x",
    "UNSUBSCRIBE INBOX",
    "SUBSCRIBE INBOX",
    "SUBSCRIBE PRESENCE",
    "SUBSCRIBE ROOM",
    "SUBSCRIBE POOL",
};

/* Behind a space, unless it is there already. */
static void add_once(struct builder *w, const char *word)
{
    struct span all = w->bytes ? bytes_span(w->bytes) : (struct span){0};
    size_t len = strlen(word);

    for (size_t at = 0; at < all.len;) {
        const char *begin = all.at + at + 1, *end = memchr(begin, ' ', all.len - at - 1);
        size_t size = end ? (size_t)(end - begin) : all.len - at - 1;

        if (size == len && memcmp(begin, word, len) == 0)
            return;
        at += size + 1;
    }
    builder_printf(w, " %s", word);
}

/* The command of a try as the ACL names it: script|load. */
static void name_command(char out[static 32], const char *words)
{
    size_t len = strcspn(words, " ");
    bool container = strncmp(words, "SCRIPT ", 7) == 0 || strncmp(words, "CLIENT ", 7) == 0;
    int n;

    if (container)
        len += 1 + strcspn(words + len + 1, " ");
    n = snprintf(out, 32, "%.*s", (int)len, words);
    for (int i = 0; i < n; i++)
        out[i] = out[i] == ' ' ? '|' : (char)tolower((unsigned char)out[i]);
}

/* Redis looks for the right to a command first, then for keys, then for channels. Each release has its own words. */
static void note(struct rights *r, const char *words, const char *error)
{
    char command[32], right[REDIS_PREFIX_MAX + 4];
    bool helps;

    name_command(command, words);
    helps = strcmp(command, "role") == 0 || strcmp(command, "info") == 0;
    if (strncmp(error, "ERR unknown command", 19) == 0 || strncmp(error, "ERR Unknown subcommand", 22) == 0)
        add_once(&r->unknown, command);
    if (strncmp(error, "NOPERM", 6) != 0)
        return;
    if (strstr(error, "run the"))
        snprintf(right, sizeof(right), "+%s", command);
    else
        snprintf(right, sizeof(right), "%c%s*", strstr(error, "channel") ? '&' : '~', config->redis_prefix);
    add_once(helps ? &r->helpful : &r->missing, right);
}

struct rights rights_of(struct doctor_client *c)
{
    struct rights r = {0};
    char error[DOCTOR_VALUE_MAX], select[24];

    snprintf(select, sizeof(select), "SELECT %d", c->db);
    if (c->db && doctor_client_refused(c, select, error))
        note(&r, select, error);
    for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++)
        if (doctor_client_refused(c, tries[i], error))
            note(&r, tries[i], error);
    return r;
}

void rights_free(struct rights *r)
{
    builder_free(&r->missing);
    builder_free(&r->helpful);
    builder_free(&r->unknown);
}
