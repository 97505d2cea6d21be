/* SPDX-License-Identifier: MIT */
/* How the tests of config load one: from the words of a line, the environment and files. */
#pragma once

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "signalbox/config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ARGS_MAX 8

static char problem[256];

#define OPEN(field, NAME, ...) {#NAME, false},
#define HIDDEN(field, NAME, ...) {#NAME, true},
static const struct {
    const char *name;
    bool secret;
} options[] = {CONFIG_OPTIONS(OPEN, OPEN, HIDDEN, OPEN)};

/* Secrets are kept in its memory. */
static int begin_sodium(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : 0;
}

static int clear_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(options); i++) {
        char file[64];
        snprintf(file, sizeof(file), "%s_FILE", options[i].name);
        unsetenv(options[i].name);
        unsetenv(file);
    }
    problem[0] = '\0';
    return 0;
}

static int forget_config(void **state)
{
    (void)state;
    config_fini();
    return 0;
}

/* Loads from flags, the words of a line. */
static enum config_result load(const char *line)
{
    char words[512], *argv[ARGS_MAX + 1] = {"signalbox-worker"}, *rest = NULL;
    int argc = 1;

    snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word && argc < ARGS_MAX; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    return config_load(argc, argv, problem);
}

static char *write_file(char path[static 32], const char *content, size_t len)
{
    snprintf(path, 32, "/tmp/test_config.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), len);
    close(fd);
    return path;
}

#define CLEAN(test) cmocka_unit_test_setup_teardown(test, clear_environment, forget_config)
