/* SPDX-License-Identifier: MIT */
#include "signalbox/config.h"
#include "signalbox/bytes.h"
#include "signalbox/config_check.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_MAX_BYTES 64
#define ALLOWED_MAX_BYTES 96
#define SECRET_MAX_BYTES 65536
#define PROBLEM_BYTES 256

enum option_kind { OPTION_INT, OPTION_TEXT, OPTION_SECRET, OPTION_CHOICE };

struct option {
    const char *name;
    size_t field;
    const char *initial, *choices, *help;
    long long least, most;
    enum option_kind kind;
};

#define ROW_INT(member, NAME, value, low, high, about)                                                                 \
    {.kind = OPTION_INT,                                                                                               \
     .name = #NAME,                                                                                                    \
     .field = offsetof(struct config, member),                                                                         \
     .initial = #value,                                                                                                \
     .least = (low),                                                                                                   \
     .most = (high),                                                                                                   \
     .help = (about)},
#define ROW_TEXT(member, NAME, value, about)                                                                           \
    {.kind = OPTION_TEXT, .name = #NAME, .field = offsetof(struct config, member), .initial = (value), .help = (about)},
#define ROW_SECRET(member, NAME, about)                                                                                \
    {.kind = OPTION_SECRET, .name = #NAME, .field = offsetof(struct config, member), .initial = "", .help = (about)},
#define ROW_CHOICE(member, NAME, list, about)                                                                          \
    {.kind = OPTION_CHOICE,                                                                                            \
     .name = #NAME,                                                                                                    \
     .field = offsetof(struct config, member),                                                                         \
     .choices = (list),                                                                                                \
     .help = (about)},

static const struct option options[] = {CONFIG_OPTIONS(ROW_INT, ROW_TEXT, ROW_SECRET, ROW_CHOICE)};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

static struct config values;
const struct config *const config = &values;

bool protocol_is_served(const char *name)
{
    size_t len = strlen(name);

    for (const char *at = config->protocols; *at; at += strcspn(at, ", ")) {
        at += strspn(at, ", ");
        if (strncmp(at, name, len) == 0 && (!at[len] || strchr(", ", at[len])))
            return true;
    }
    return !*config->protocols;
}

__attribute__((format(printf, 2, 3))) static enum config_result bad(char *problem, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(problem, PROBLEM_BYTES, format, args);
    va_end(args);
    return CONFIG_BAD;
}

static enum config_result bad_value(char *problem, const struct option *o, const char *allowed, const char *value)
{
    if (o->kind == OPTION_SECRET)
        return bad(problem, "%s must be %s", o->name, allowed);
    return bad(problem, "%s must be %s, not \"%.64s\"", o->name, allowed, value);
}

static void flag_name(char out[static NAME_MAX_BYTES], const struct option *o)
{
    int len = snprintf(out, NAME_MAX_BYTES, "--%s", o->name);

    for (int i = 0; i < len; i++)
        out[i] = out[i] == '_' ? '-' : (char)tolower((unsigned char)out[i]);
}

static void *field_of(const struct option *o)
{
    return (char *)&values + o->field;
}

/* The choices of an option as "a, b or c". */
static void list_choices(char out[static ALLOWED_MAX_BYTES], const struct option *o)
{
    size_t used = 0;

    for (const char *at = o->choices; at;) {
        const char *bar = strchr(at, '|');
        size_t len = strcspn(at, "|");
        const char *between = !bar ? "" : strchr(bar + 1, '|') ? ", " : " or ";
        int put = snprintf(out + used, ALLOWED_MAX_BYTES - used, "%.*s%s", (int)len, at, between);
        used += (size_t)put;
        if (used >= ALLOWED_MAX_BYTES)
            return;
        at = bar ? bar + 1 : NULL;
    }
}

static enum config_result set_int(const struct option *o, const char *text, char *problem)
{
    char allowed[ALLOWED_MAX_BYTES];
    const char *digits = text + (*text == '-');
    long long value;

    errno = 0;
    value = strtoll(text, NULL, 10);
    if (!*digits || digits[strspn(digits, "0123456789")] || errno || value < o->least || value > o->most) {
        snprintf(allowed, sizeof(allowed), "a whole number from %lld to %lld", o->least, o->most);
        return bad_value(problem, o, allowed, text);
    }
    *(long long *)field_of(o) = value;
    return CONFIG_OK;
}

static enum config_result set_choice(const struct option *o, const char *text, char *problem)
{
    char allowed[ALLOWED_MAX_BYTES];
    const char *at = o->choices;

    for (int index = 0; at; index++) {
        size_t len = strcspn(at, "|");
        if (strlen(text) == len && memcmp(at, text, len) == 0) {
            *(int *)field_of(o) = index;
            return CONFIG_OK;
        }
        at = at[len] ? at + len + 1 : NULL;
    }
    list_choices(allowed, o);
    return bad_value(problem, o, allowed, text);
}

/* In memory that is locked where that is possible, and wiped when it is freed. */
static char *locked_dup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = sodium_malloc(size);

    if (!copy)
        abort();
    return memcpy(copy, text, size);
}

static enum config_result set_value(const struct option *o, const char *text, char *problem)
{
    switch (o->kind) {
    case OPTION_INT:
        return set_int(o, text, problem);
    case OPTION_CHOICE:
        return set_choice(o, text, problem);
    case OPTION_TEXT:
        *(char **)field_of(o) = mem_dup(text);
        return CONFIG_OK;
    case OPTION_SECRET:
        *(char **)field_of(o) = locked_dup(text);
        return CONFIG_OK;
    }
    return CONFIG_BAD;
}

/* Reads a file into text as long as it fits, and ends it with a zero; false: errno says why. */
static bool read_secret(int fd, char *text, size_t room)
{
    size_t used = 0;
    ssize_t got;

    while ((got = read(fd, text + used, room - used)) > 0)
        used += (size_t)got;
    if (got < 0)
        return false;
    if (used == room || memchr(text, '\0', used)) {
        errno = used == room ? EFBIG : EILSEQ;
        return false;
    }
    while (used && (text[used - 1] == '\n' || text[used - 1] == '\r'))
        used--;
    text[used] = '\0';
    return true;
}

static enum config_result set_from_file(const struct option *o, const char *path, char *problem)
{
    char *text = mem_alloc(SECRET_MAX_BYTES);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum config_result result;

    if (fd < 0 || !read_secret(fd, text, SECRET_MAX_BYTES))
        result = bad(problem, "%s_FILE must name a file that can be read, not \"%.100s\": %s", o->name, path,
                     strerror(errno));
    else
        result = set_value(o, text, problem);
    if (fd >= 0)
        close(fd);
    sodium_memzero(text, SECRET_MAX_BYTES);
    free(text);
    return result;
}

/* NULL also for a variable that is empty: compose files and charts set those for "not given". */
static const char *environment_of(const char *name, const char *suffix)
{
    char whole[NAME_MAX_BYTES];
    const char *text;

    snprintf(whole, sizeof(whole), "%s%s", name, suffix);
    text = getenv(whole);
    return text && *text ? text : NULL;
}

static const char *initial_of(const struct option *o, char room[static ALLOWED_MAX_BYTES])
{
    if (o->kind != OPTION_CHOICE)
        return o->initial;
    snprintf(room, ALLOWED_MAX_BYTES, "%.*s", (int)strcspn(o->choices, "|"), o->choices);
    return room;
}

static enum config_result set_option(const struct option *o, const char *given, char *problem)
{
    char room[ALLOWED_MAX_BYTES];
    const char *path;

    if (!given)
        given = environment_of(o->name, "");
    if (!given && o->kind == OPTION_SECRET && (path = environment_of(o->name, "_FILE")))
        return set_from_file(o, path, problem);
    return set_value(o, given ? given : initial_of(o, room), problem);
}

static enum config_result run_checks(char *problem)
{
    const struct config_check *failed = config_check_failed();
    const struct option *o = options;
    char number[32];

    if (!failed)
        return CONFIG_OK;
    while (strcmp(o->name, failed->name) != 0)
        o++;
    if (failed->hidden)
        return bad(problem, "%s must be %s", o->name, failed->allowed);
    if (o->kind != OPTION_INT)
        return bad_value(problem, o, failed->allowed, *(const char **)field_of(o));
    snprintf(number, sizeof(number), "%lld", *(const long long *)field_of(o));
    return bad_value(problem, o, failed->allowed, number);
}

/* The option that a flag of this length names; NULL: none. */
static const struct option *find_flag(const char *arg, size_t len)
{
    char flag[NAME_MAX_BYTES];

    for (size_t i = 0; i < OPTION_COUNT; i++) {
        flag_name(flag, &options[i]);
        if (options[i].kind != OPTION_SECRET && strlen(flag) == len && memcmp(flag, arg, len) == 0)
            return &options[i];
    }
    return NULL;
}

/* Collects the values of the flags, one place for each option; the result is what else than running is wanted. */
static enum config_result read_flags(int argc, char **argv, const char **given, char *problem)
{
    enum config_result wanted = CONFIG_OK;

    for (int i = 1; i < argc; i++) {
        size_t len = strcspn(argv[i], "=");
        const struct option *o = find_flag(argv[i], len);

        if (strcmp(argv[i], "--help") == 0)
            return CONFIG_HELP;
        if (strcmp(argv[i], "--version") == 0)
            return CONFIG_VERSION;
        if (strcmp(argv[i], "--check-redis") == 0) {
            wanted = CONFIG_CHECK_REDIS;
            continue;
        }
        if (!o) /* without what follows =: it may be a secret */
            return bad(problem, "unknown option %.*s; see --help", len < 100 ? (int)len : 100, argv[i]);
        if (!argv[i][len] && i + 1 == argc)
            return bad(problem, "%s needs a value; see --help", argv[i]);
        given[o - options] = argv[i][len] ? argv[i] + len + 1 : argv[++i];
    }
    return wanted;
}

enum config_result config_load(int argc, char **argv, char problem[static PROBLEM_BYTES])
{
    const char *given[OPTION_COUNT] = {0};
    enum config_result wanted = read_flags(argc, argv, given, problem), result = wanted;

    if (wanted == CONFIG_CHECK_REDIS)
        result = CONFIG_OK;
    if (sodium_init() < 0) /* secrets are kept in its memory */
        abort();
    config_fini();
    for (size_t i = 0; i < OPTION_COUNT && result == CONFIG_OK; i++)
        result = set_option(&options[i], given[i], problem);
    if (result == CONFIG_OK)
        result = run_checks(problem);
    return result == CONFIG_OK ? wanted : result;
}

void config_fini(void)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (options[i].kind == OPTION_TEXT)
            free(*(char **)field_of(&options[i]));
        else if (options[i].kind == OPTION_SECRET)
            sodium_free(*(char **)field_of(&options[i]));
    }
    values = (struct config){0};
}

static void describe_allowed(char out[static ALLOWED_MAX_BYTES], const struct option *o)
{
    switch (o->kind) {
    case OPTION_INT:
        snprintf(out, ALLOWED_MAX_BYTES, "%lld to %lld", o->least, o->most);
        return;
    case OPTION_CHOICE:
        list_choices(out, o);
        return;
    case OPTION_TEXT:
        snprintf(out, ALLOWED_MAX_BYTES, "text");
        return;
    case OPTION_SECRET:
        snprintf(out, ALLOWED_MAX_BYTES, "or file %s_FILE", o->name);
        return;
    }
}

static int longest_name(void)
{
    size_t longest = 0;

    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (strlen(options[i].name) > longest)
            longest = strlen(options[i].name);
    return (int)longest;
}

void config_help(FILE *out)
{
    char flag[NAME_MAX_BYTES], allowed[ALLOWED_MAX_BYTES], room[ALLOWED_MAX_BYTES];
    int width = longest_name();

    fprintf(out, "Usage: signalbox-worker [--option value]...\n\n"
                 "Every option has a flag and an environment variable; the flag wins. Secrets have no flag.\n"
                 "Defaults are in brackets.\n\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        const char *initial = initial_of(o, room);
        flag_name(flag, o);
        describe_allowed(allowed, o);
        fprintf(out, "  %-*s  %-*s  ", width + 2, o->kind == OPTION_SECRET ? "" : flag, width, o->name);
        if (*initial)
            fprintf(out, "[%s] ", initial);
        fprintf(out, "%s\n      %s\n", allowed, o->help);
    }
    fprintf(
        out,
        "  --help\n      prints this\n  --version\n      prints the version\n"
        "  --check-redis\n      says what of the Redis of REDIS_URL would hurt, and ends: 1 if data would be lost\n");
}

/* A bar would end the cell. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

void config_markdown(FILE *out)
{
    char flag[NAME_MAX_BYTES], allowed[ALLOWED_MAX_BYTES], room[ALLOWED_MAX_BYTES];

    fprintf(out, "| variable | flag | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        const char *initial = initial_of(o, room), *quote = *initial ? "`" : "";
        flag_name(flag, o);
        describe_allowed(allowed, o);
        fprintf(out, "| `%s` | ", o->name);
        if (o->kind != OPTION_SECRET)
            fprintf(out, "`%s`", flag);
        fprintf(out, " | %s%s%s | %s | ", quote, initial, quote, allowed);
        print_cell(out, o->help);
        fprintf(out, " |\n");
    }
}
