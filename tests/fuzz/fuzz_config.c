/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/config.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "signalbox/bytes.h"

#define LINES_MAX 64
#define MARK "!!" /* no sentence of ours has it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NO_SECRET(...)
#define IS_SECRET(field, NAME, ...) #NAME,
static const char *const secrets[] = {CONFIG_OPTIONS(NO_SECRET, NO_SECRET, IS_SECRET, NO_SECRET)};

/* One start of the program. */
struct start {
    char *argv[LINES_MAX + 2], *names[LINES_MAX];
    int argc, name_count, files[LINES_MAX], file_count;
    bool marked; /* a value that may be shown has the mark */
};

static bool is_secret(const char *name)
{
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
        if (strcmp(secrets[i], name) == 0)
            return true;
    return false;
}

/* Only variables that an option may have; NAME_FILE is given the value as the content of a file. */
static bool is_name(const char *name)
{
    return *name && name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")] == '\0' && !strstr(name, "SAN_OPTIONS");
}

static void set_file(struct start *s, const char *name, const char *content)
{
    char path[64] = "/nonexistent";
    int fd = *content ? memfd_create("secret", 0) : -1;

    if (fd >= 0) {
        assert(write(fd, content, strlen(content)) == (ssize_t)strlen(content));
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        s->files[s->file_count++] = fd;
    }
    setenv(name, path, 1);
}

/* --flag… is an argument, NAME=value a variable, and what begins with a blank an argument that is neither. */
static void take_line(struct start *s, char *line)
{
    char *sign = strchr(line, '=');

    if (*line == '-' || *line == ' ' || !sign) {
        s->argv[s->argc++] = line + (*line == ' ');
        s->marked |= strstr(line, MARK) != NULL;
        return;
    }
    *sign = '\0';
    if (!is_name(line))
        return;
    if (strlen(line) > 5 && strcmp(sign - 5, "_FILE") == 0) {
        set_file(s, line, sign + 1);
    } else {
        setenv(line, sign + 1, 1);
        s->marked |= !is_secret(line) && strstr(sign + 1, MARK);
    }
    s->names[s->name_count++] = line;
}

static void check(const struct start *s)
{
    char problem[256];
    enum config_result result;

    memset(problem, 'x', sizeof(problem));
    result = config_load(s->argc, (char **)(uintptr_t)s->argv, problem);
    if (result == CONFIG_BAD) {
        assert(memchr(problem, '\0', sizeof(problem)) && *problem);
        assert(s->marked || !strstr(problem, MARK));
    } else if (result == CONFIG_OK || result == CONFIG_CHECK_REDIS) {
        assert(config->host && config->redis_url && config->port >= 0 && config->port <= 65535);
    }
    config_fini();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = span_dup((struct span){(const char *)data, size}), *rest = text, *line;
    struct start s = {.argv = {"signalbox-worker"}, .argc = 1};

    while ((line = strsep(&rest, "\n")) && s.argc + s.name_count < LINES_MAX)
        if (*line)
            take_line(&s, line);
    check(&s);
    for (int i = 0; i < s.name_count; i++)
        unsetenv(s.names[i]);
    for (int i = 0; i < s.file_count; i++)
        close(s.files[i]);
    free(text);
    return 0;
}
