/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_diagnosis.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/doctor_client.h"
#include "signalbox/redis_target.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,/:+@"

void diagnosis_say(struct diagnosis *d, enum level level, const char *format, ...)
{
    char text[512];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (d->level == LEVEL_OK)
        builder_free(&d->text);
    else
        builder_text(&d->text, "; ");
    d->level = level > d->level ? level : d->level;
    builder_text(&d->text, text);
}

void diagnosis_advise(struct diagnosis *d, const char *what)
{
    builder_text(&d->advice, what);
}

/* A word as a shell takes it. */
static void add_word(struct builder *w, struct span word)
{
    bool plain = word.len > 0;

    for (size_t i = 0; i < word.len; i++)
        plain = plain && memchr(PLAIN, word.at[i], sizeof(PLAIN) - 1);
    builder_text(w, plain ? " " : " '");
    for (size_t i = 0; i < word.len; i++)
        builder_add(w, word.at[i] == '\'' ? SPAN("'\\''") : (struct span){word.at + i, 1});
    builder_text(w, plain ? "" : "'");
}

static void add_words(struct builder *w, struct span words)
{
    for (size_t at = 0, end; at < words.len; at = end + 1) {
        const char *space = memchr(words.at + at, ' ', words.len - at);

        end = space ? (size_t)(space - words.at) : words.len;
        if (end > at)
            add_word(w, (struct span){words.at + at, end - at});
    }
}

static void add_option(struct builder *w, const char *name, const char *value)
{
    if (!*value)
        return;
    add_word(w, span_of(name));
    add_word(w, span_of(value));
}

/* Who gives the command, and with which password, is not known here. */
void diagnosis_mend(struct diagnosis *d, const struct doctor_client *c, const char *words)
{
    const struct redis_place *at = c->place;
    struct builder *w = &d->command;
    char port[16];

    builder_text(w, "redis-cli");
    if (at->path) {
        add_word(w, SPAN("-s"));
        add_word(w, span_of(at->path));
    } else {
        snprintf(port, sizeof(port), "%d", at->port);
        add_word(w, SPAN("-h"));
        add_word(w, span_of(at->host));
        add_word(w, SPAN("-p"));
        add_word(w, span_of(port));
    }
    if (c->tls) {
        add_word(w, SPAN("--tls"));
        add_option(w, "--cacert", config->redis_ca_file);
        add_option(w, "--cert", config->redis_cert_file);
        add_option(w, "--key", config->redis_key_file);
    }
    add_words(w, span_of(words));
}

void diagnosis_set(struct diagnosis *d, const struct doctor_client *c, const char *setting, const char *value)
{
    diagnosis_mend(d, c, "config set");
    add_word(&d->command, span_of(setting));
    add_word(&d->command, span_of(value));
}

void diagnosis_grant(struct diagnosis *d, const struct doctor_client *c, const char *user, struct span rights)
{
    diagnosis_mend(d, c, "acl setuser");
    add_word(&d->command, span_of(user));
    add_words(&d->command, rights);
}

void diagnosis_grant_us(struct diagnosis *d, struct doctor_client *c, const char *rights)
{
    char *user = doctor_client_user(c);

    diagnosis_grant(d, c, user, span_of(rights));
    free(user);
}

/* CONFIG is often renamed or left out where Redis is hosted; then no right would help. */
void diagnosis_unread(struct diagnosis *d, struct doctor_client *c, const char *what)
{
    char error[DOCTOR_VALUE_MAX] = "";

    diagnosis_say(d, LEVEL_WARN, "%s cannot be read by this user, so it is not known whether it would hurt", what);
    if ((doctor_client_refused(c, "CONFIG GET maxmemory", error) || doctor_client_refused(c, "INFO server", error)) &&
        strncmp(error, "NOPERM", 6) == 0)
        diagnosis_grant_us(d, c, "+info +config|get");
    else
        diagnosis_advise(d, "ask whoever runs this Redis, which does not tell");
}

static struct span shown(const struct builder *w)
{
    return w->bytes ? bytes_span(w->bytes) : SPAN("");
}

void diagnosis_print(const struct diagnosis *d, const char *name, FILE *out)
{
    static const char *const levels[LEVELS] = {"ok", "warn", "bad"};
    struct span text = shown(&d->text), advice = shown(&d->advice), command = shown(&d->command);

    fprintf(out, "%-4s  %s: %.*s", levels[d->level], name, (int)text.len, text.at);
    if (advice.len)
        fprintf(out, "; mend: %.*s", (int)advice.len, advice.at);
    if (command.len)
        fprintf(out, "; mend with: %.*s", (int)command.len, command.at);
    fprintf(out, "\n");
}

void diagnosis_fini(struct diagnosis *d)
{
    builder_free(&d->text);
    builder_free(&d->command);
    builder_free(&d->advice);
}
