/* SPDX-License-Identifier: MIT */
#include "signalbox/config.h"
#include "signalbox/bytes.h"
#include "signalbox/cidr.h"
#include "signalbox/crypto.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define NAME_MAX_BYTES 64
#define ALLOWED_MAX_BYTES 96
#define SECRET_MAX_BYTES 65536
#define PROBLEM_BYTES 256
#define PROCESSES_MOST 256

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

static bool processes_is_count(void)
{
    const char *text = values.processes;
    size_t digits = strspn(text, "0123456789");

    if (strcmp(text, "auto") == 0)
        return true;
    if (digits < 1 || digits > 3 || text[digits] || text[0] == '0')
        return false;
    return atoi(text) <= PROCESSES_MOST;
}

/* Each worker would take another free port. */
static bool port_suits_processes(void)
{
    return values.port != 0 || strcmp(values.processes, "1") == 0;
}

static bool log_level_is_known(void)
{
    static const char *const known[] = {"", "debug", "info", "warning", "error"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(values.log_level, known[i]) == 0)
            return true;
    return false;
}

static bool are_ranges(const char *text)
{
    struct cidr_list *list = cidr_parse(text);

    cidr_free(list);
    return list != NULL;
}

static bool trusted_proxies_are_ranges(void)
{
    return are_ranges(values.trusted_proxies);
}

static bool tls_is_whole(void)
{
    return !*values.tls_cert == !*values.tls_key;
}

static bool worker_allow_is_ranges(void)
{
    return are_ranges(values.worker_allow);
}

/* Each is the scheme, perhaps with an s, a colon and a host (RFC 7064, RFC 7065); they are separated as clients are
   told of them. */
static bool have_scheme(const char *list, const char *scheme)
{
    size_t len = strlen(scheme);

    for (const char *at = list + strspn(list, ", "); *at; at += strspn(at, ", ")) {
        const char *rest = at + len + (strlen(at) > len && tolower((unsigned char)at[len]) == 's');

        if (strncasecmp(at, scheme, len) != 0 || *rest != ':' || !(rest[1] == '[' || isalnum((unsigned char)rest[1])))
            return false;
        at += strcspn(at, ", ");
    }
    return true;
}

static bool stun_servers_are_urls(void)
{
    return have_scheme(values.stun_servers, "stun");
}

static bool turn_servers_are_urls(void)
{
    return have_scheme(values.turn_servers, "turn");
}

static bool is_seed_or_empty(const char *text)
{
    struct signing_key *k = signing_key_new(text);
    bool ok = k || !*text;

    signing_key_free(k);
    return ok;
}

static bool bootstrap_key_is_seed(void)
{
    return is_seed_or_empty(values.bootstrap_signing_key);
}

static bool registration_has_secret(void)
{
    return values.server_registration != REGISTRATION_SECRET || *values.server_registration_secret;
}

static bool attestation_key_is_seed(void)
{
    return is_seed_or_empty(values.attestation_signing_key) &&
           (*values.attestation_signing_key || values.require_attestation == ATTESTATION_OFF);
}

static bool build_key_is_public_key(void)
{
    unsigned char key[PUBLIC_KEY_LEN];

    return !*values.build_token_verify_key || public_key_read(span_of(values.build_token_verify_key), key);
}

/* What a range or a list of choices cannot say; done in this order, when every option has its value. */
static const struct check {
    const char *name;
    bool (*holds)(void);
    const char *allowed;
    bool hidden; /* the value is not shown */
} checks[] = {
    {"PROCESSES", processes_is_count, "auto or a whole number from 1 to 256"},
    {"PORT", port_suits_processes, "from 1 to 65535 where PROCESSES is not 1"},
    {"LOG_LEVEL", log_level_is_known, "empty, debug, info, warning or error"},
    {"TRUSTED_PROXIES", trusted_proxies_are_ranges, "address ranges such as 10.0.0.0/8, separated by commas"},
    {"TLS_KEY", tls_is_whole, "given where TLS_CERT is, and only there", .hidden = true},
    {"BOOTSTRAP_SIGNING_KEY", bootstrap_key_is_seed, "64 hexadecimal digits"},
    {"SERVER_REGISTRATION_SECRET", registration_has_secret, "given where SERVER_REGISTRATION is secret"},
    {"ATTESTATION_SIGNING_KEY", attestation_key_is_seed,
     "64 hexadecimal digits, and given where REQUIRE_ATTESTATION is not off"},
    {"WORKER_ALLOW", worker_allow_is_ranges, "address ranges such as 10.0.0.0/8, separated by commas"},
    {"STUN_SERVERS", stun_servers_are_urls, "addresses such as stun:host:3478, separated by commas"},
    {"TURN_SERVERS", turn_servers_are_urls, "addresses such as turn:host:3478, separated by commas"},
    {"BUILD_TOKEN_VERIFY_KEY", build_key_is_public_key, "the base64 of 32 bytes", .hidden = true},
};

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
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
        const struct option *o = options;
        char number[32];

        if (checks[i].holds())
            continue;
        while (strcmp(o->name, checks[i].name) != 0)
            o++;
        if (checks[i].hidden)
            return bad(problem, "%s must be %s", o->name, checks[i].allowed);
        if (o->kind != OPTION_INT)
            return bad_value(problem, o, checks[i].allowed, *(const char **)field_of(o));
        snprintf(number, sizeof(number), "%lld", *(const long long *)field_of(o));
        return bad_value(problem, o, checks[i].allowed, number);
    }
    return CONFIG_OK;
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
