/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"

static const char here[] = "tests/unit/test_readme.c";

/* README.md of the source folder, wherever the test is run. The caller frees it. */
static char *read_readme(void)
{
    char path[4096], *text = NULL;
    size_t room = 0;
    FILE *in;
    ssize_t len;

    snprintf(path, sizeof(path), "%.*sREADME.md", (int)(strlen(__FILE__) - strlen(here)), __FILE__);
    in = fopen(path, "r");
    if (!in)
        fail_msg("%s cannot be read", path);
    len = getdelim(&text, &room, '\0', in);
    assert_true(len > 0);
    fclose(in);
    return text;
}

static char *print_table(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    config_markdown(out);
    fclose(out);
    return text;
}

/* From its first line to the end of the last one that begins with a bar. NULL: there is none. */
static char *cut_table(const char *readme, const char *first_line, size_t first_len)
{
    const char *begin = strstr(readme, first_line), *end;

    if (!begin)
        return NULL;
    for (end = begin + first_len; *end == '|'; end += *end == '\n')
        end += strcspn(end, "\n");
    return span_dup((struct span){begin, (size_t)(end - begin)});
}

static void the_table_of_options_is_what_the_program_prints(void **state)
{
    char *readme = read_readme(), *wanted = print_table(), *first_line, *found;
    size_t first_len = strcspn(wanted, "\n") + 1;

    (void)state;
    first_line = span_dup((struct span){wanted, first_len});
    found = cut_table(readme, first_line, first_len);
    if (!found || strcmp(found, wanted) != 0) {
        fprintf(stderr, "the table of options in README.md is to be:\n%s", wanted);
        fail();
    }
    free(found);
    free(first_line);
    free(wanted);
    free(readme);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_table_of_options_is_what_the_program_prints)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
