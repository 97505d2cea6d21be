/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/redis_connection.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *url = span_dup((struct span){(const char *)data, size}), problem[256] = "";
    struct redis_target t;

    if (redis_target_parse(&t, url, problem)) {
        assert(!t.host != !t.path);
        assert(t.path || (*t.host && t.port >= 1 && t.port <= 65535));
        assert(t.host || (*t.path == '/' && strlen(t.path) <= 107));
        assert(t.db >= 0 && t.db <= 1000000);
        assert(!t.user || t.password);
        redis_target_free(&t);
    } else {
        assert(strncmp(problem, "REDIS_URL ", 10) == 0 && strlen(problem) < sizeof(problem));
    }
    assert(!t.host && !t.path && !t.user && !t.password);
    free(url);
    return 0;
}
