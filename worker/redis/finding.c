/* SPDX-License-Identifier: MIT */
#include "signalbox/finding.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/link.h"
#include "signalbox/probe.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,/:+@"

void finding_say(struct finding *f, enum level level, const char *format, ...)
{
    char text[512];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (f->level == LEVEL_OK)
        builder_free(&f->text);
    else
        builder_text(&f->text, "; ");
    f->level = level > f->level ? level : f->level;
    builder_text(&f->text, text);
}

void finding_advise(struct finding *f, const char *what)
{
    builder_text(&f->advice, what);
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

/* Who gives the command, and with which password, is not known here. */
void finding_mend(struct finding *f, const struct probe *p, const char *words)
{
    const struct redis_target *t = p->target;
    struct builder *w = &f->command;
    char port[16];

    builder_text(w, "redis-cli");
    if (t->path) {
        add_word(w, SPAN("-s"));
        add_word(w, span_of(t->path));
    } else {
        snprintf(port, sizeof(port), "%d", t->port);
        add_word(w, SPAN("-h"));
        add_word(w, span_of(t->host));
        add_word(w, SPAN("-p"));
        add_word(w, span_of(port));
    }
    add_words(w, span_of(words));
}

void finding_set(struct finding *f, const struct probe *p, const char *setting, const char *value)
{
    finding_mend(f, p, "config set");
    add_word(&f->command, span_of(setting));
    add_word(&f->command, span_of(value));
}

void finding_grant(struct finding *f, const struct probe *p, const char *user, struct span rights)
{
    finding_mend(f, p, "acl setuser");
    add_word(&f->command, span_of(user));
    add_words(&f->command, rights);
}

void finding_grant_us(struct finding *f, struct probe *p, const char *rights)
{
    char *user = probe_user(p);

    finding_grant(f, p, user, span_of(rights));
    free(user);
}

/* CONFIG is often renamed or left out where Redis is hosted; then no right would help. */
void finding_unread(struct finding *f, struct probe *p, const char *what)
{
    char error[PROBE_VALUE_MAX] = "";

    finding_say(f, LEVEL_WARN, "%s cannot be read by this user, so it is not known whether it would hurt", what);
    if ((probe_refused(p, "CONFIG GET maxmemory", error) || probe_refused(p, "INFO server", error)) &&
        strncmp(error, "NOPERM", 6) == 0)
        finding_grant_us(f, p, "+info +config|get");
    else
        finding_advise(f, "ask whoever runs this Redis, which does not tell");
}

static struct span shown(const struct builder *w)
{
    return w->bytes ? bytes_span(w->bytes) : SPAN("");
}

void finding_print(const struct finding *f, const char *name, FILE *out)
{
    static const char *const levels[LEVELS] = {"ok", "warn", "bad"};
    struct span text = shown(&f->text), advice = shown(&f->advice), command = shown(&f->command);

    fprintf(out, "%-4s  %s: %.*s", levels[f->level], name, (int)text.len, text.at);
    if (advice.len)
        fprintf(out, "; mend: %.*s", (int)advice.len, advice.at);
    if (command.len)
        fprintf(out, "; mend with: %.*s", (int)command.len, command.at);
    fprintf(out, "\n");
}

void finding_fini(struct finding *f)
{
    builder_free(&f->text);
    builder_free(&f->command);
    builder_free(&f->advice);
}
