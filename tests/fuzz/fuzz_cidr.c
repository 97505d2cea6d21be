/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/cidr.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first line is a list, the rest an address. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = span_dup((struct span){(const char *)data, size});
    char *line_end = strchr(text, '\n'), *ip = line_end ? line_end + 1 : text + strlen(text);
    struct cidr_list *list, *all = cidr_parse("0.0.0.0/0, ::/0"), *only;

    if (line_end)
        *line_end = '\0';
    list = cidr_parse(text);
    if (list && cidr_contains(list, ip))
        assert(cidr_contains(all, ip));
    if (cidr_contains(all, ip)) { /* an address is a list of itself */
        only = cidr_parse(ip);
        assert(only && cidr_contains(only, ip));
        cidr_free(only);
    }
    cidr_free(list);
    cidr_free(all);
    free(text);
    return 0;
}
