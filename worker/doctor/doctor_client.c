/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_client.h"

#include <hiredis/hiredis.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/doctor_socket.h"
#include "signalbox/keys.h"
#include "signalbox/redis_target.h"
#include "signalbox/resp.h"

#define WORDS_MAX 16

static bool fail(const struct doctor_client *c, char problem[static 256], const char *what, const char *why)
{
    const struct redis_place *at = c->place;

    why = redis_login_hide(c->login, why);
    if (at->path)
        snprintf(problem, 256, "%s at %.100s %s: %.100s", c->what, at->path, what, why);
    else
        snprintf(problem, 256, "%s at %.80s:%d %s: %.100s", c->what, at->host, at->port, what, why);
    return false;
}

bool doctor_client_lost(const struct doctor_client *c, char problem[static 256])
{
    const char *why = doctor_socket_problem(c->socket);

    if (why)
        fail(c, problem, "cannot be reached", why);
    return why;
}

/* One step of the greeting. A right that is missing does not end it. */
static bool greet(struct doctor_client *c, const char *words, const char *refusal, char problem[static 256])
{
    redisReply *r = doctor_client_ask(c, words);
    bool ok = true;

    if (!r)
        return !doctor_client_lost(c, problem);
    if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOPERM", 6) != 0)
        ok = fail(c, problem, refusal, r->str);
    freeReplyObject(r);
    return ok;
}

static redisReply *ask(struct doctor_client *c, size_t count, const struct span *words)
{
    struct builder w = resp_command(count, words);
    redisReply *r = doctor_socket_ask(c->socket, bytes_span(w.bytes));

    builder_free(&w);
    return r;
}

static bool log_in(struct doctor_client *c, char problem[static 256])
{
    const struct redis_login *l = c->login;
    struct span words[3] = {SPAN("AUTH")};
    size_t count = 1;
    redisReply *r;
    bool ok = true;

    if (!l->password)
        return true;
    if (l->user)
        words[count++] = span_of(l->user);
    words[count++] = span_of(l->password);
    r = ask(c, count, words);
    if (!r)
        return !doctor_client_lost(c, problem);
    if (r->type == REDIS_REPLY_ERROR && strncmp(r->str, "NOPERM", 6) != 0)
        ok = fail(c, problem, l->user ? "refuses the user" : "refuses the password", r->str);
    freeReplyObject(r);
    return ok;
}

bool doctor_client_open(struct doctor_client *c, const struct redis_place *place, const struct redis_login *login,
                        bool tls, char problem[static 256])
{
    const char *name = *config->redis_server_name ? config->redis_server_name : place->host;
    char why[128];

    c->place = place;
    c->login = login;
    c->tls = tls;
    snprintf(c->id, sizeof(c->id), "check-%08x", (unsigned)randombytes_random());
    c->socket = doctor_socket_open(place, tls ? name : NULL, why);
    if (!c->socket)
        return fail(c, problem, "cannot be reached", why);
    return log_in(c, problem);
}

bool doctor_client_begin(struct doctor_client *c, int db, char problem[static 256])
{
    char select[24];

    c->db = db;
    snprintf(select, sizeof(select), "SELECT %d", db);
    return (!db || greet(c, select, "refuses the database", problem)) && greet(c, "PING", "does not serve us", problem);
}

void doctor_client_close(struct doctor_client *c)
{
    free(c->info);
    doctor_socket_close(c->socket);
    *c = (struct doctor_client){0};
}

static const struct {
    const char *word;
    void (*make)(char out[static KEY_MAX], const char *id);
} names[] = {{"KEY", key_check},   {"OTHER", key_check_other}, {"LEASE", key_worker},
             {"INBOX", key_inbox}, {"PRESENCE", key_presence}, {"ROOM", key_room_channel}};

static const struct {
    const char *word, *name;
} fixed_names[] = {{"SCHEMA", KEY_SCHEMA}, {"MIGRATION", KEY_MIGRATION}, {"WORKERS", KEY_WORKERS},
                   {"LEADER", KEY_LEADER}, {"POLICY", KEY_POLICY},       {"POOL", CHANNEL_POOL}};

/* A word as it is sent; the caller frees it. */
static char *spell(const struct doctor_client *c, struct span word)
{
    char name[KEY_MAX];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!span_is(word, names[i].word))
            continue;
        names[i].make(name, c->id);
        return mem_dup(name);
    }
    for (size_t i = 0; i < sizeof(fixed_names) / sizeof(fixed_names[0]); i++)
        if (span_is(word, fixed_names[i].word))
            return mem_dup(fixed_names[i].name);
    return span_dup(word);
}

struct redisReply *doctor_client_ask(struct doctor_client *c, const char *words)
{
    char *spelled[WORDS_MAX];
    struct span sent[WORDS_MAX] = {{0}};
    size_t count = 0;
    redisReply *r;

    while (*words && count < WORDS_MAX) {
        size_t len = strcspn(words, " ");

        spelled[count] = spell(c, (struct span){words, len});
        sent[count] = span_of(spelled[count]);
        count++;
        words += len + (words[len] == ' ');
    }
    r = ask(c, count, sent);
    while (count > 0)
        free(spelled[--count]);
    return r;
}

bool doctor_client_refused(struct doctor_client *c, const char *words, char error[static DOCTOR_VALUE_MAX])
{
    redisReply *r = doctor_client_ask(c, words);
    bool refused = r && r->type == REDIS_REPLY_ERROR;

    if (refused)
        snprintf(error, DOCTOR_VALUE_MAX, "%s", r->str);
    freeReplyObject(r);
    return refused;
}

static void read_info(struct doctor_client *c)
{
    redisReply *r = doctor_client_ask(c, "INFO");

    c->info = mem_dup(r && r->type == REDIS_REPLY_STRING ? r->str : "");
    freeReplyObject(r);
}

bool doctor_client_info(struct doctor_client *c, const char *field, char value[static DOCTOR_VALUE_MAX])
{
    size_t len = strlen(field);

    if (!c->info)
        read_info(c);
    for (const char *at = c->info; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        if (strncmp(at, field, len) != 0 || at[len] != ':')
            continue;
        at += len + 1;
        snprintf(value, DOCTOR_VALUE_MAX, "%.*s", (int)strcspn(at, "\r\n"), at);
        return true;
    }
    return false;
}

bool doctor_client_config(struct doctor_client *c, const char *name, char value[static DOCTOR_VALUE_MAX])
{
    char words[64];
    redisReply *r;
    bool known;

    snprintf(words, sizeof(words), "CONFIG GET %s", name);
    r = doctor_client_ask(c, words);
    known = r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[1]->str;
    if (known)
        snprintf(value, DOCTOR_VALUE_MAX, "%s", r->element[1]->str);
    freeReplyObject(r);
    return known;
}

bool doctor_client_setting(struct doctor_client *c, const char *field, const char *name,
                           char value[static DOCTOR_VALUE_MAX])
{
    return doctor_client_info(c, field, value) || doctor_client_config(c, name, value);
}

char *doctor_client_user(struct doctor_client *c)
{
    redisReply *r = doctor_client_ask(c, "ACL WHOAMI");
    const char *given = c->login->user ? c->login->user : "default";
    char *user = mem_dup(r && r->type == REDIS_REPLY_STRING ? r->str : given);

    freeReplyObject(r);
    return user;
}
