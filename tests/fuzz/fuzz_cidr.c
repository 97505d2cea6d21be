/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/cidr.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"
#include "signalbox/config.h"
#include "signalbox/limits.h"
#include "signalbox/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every address is that of a proxy that is trusted. */
static void trust_all(void)
{
    static char *no_flags[] = {"fuzz_cidr"};
    static bool done;
    char problem[256];

    if (done)
        return;
    done = true;
    setenv("TRUSTED_PROXIES", "0.0.0.0/0, ::/0", 1);
    assert(config_load(1, no_flags, problem) == CONFIG_OK);
    loop_init();
    limits_init();
}

/* Whatever X-Forwarded-For says, the client's address is one. */
static void check_forwarded(const struct cidr_list *all, const char *forwarded)
{
    char ip[IP_TEXT_MAX];

    trust_all();
    client_ip("127.0.0.1", forwarded, ip);
    assert(cidr_contains(all, ip));
}

/* The first line is a list, the rest an address, or a list of them. */
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
    check_forwarded(all, text);
    check_forwarded(all, ip);
    cidr_free(list);
    cidr_free(all);
    free(text);
    return 0;
}
