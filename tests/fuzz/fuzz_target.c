/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/redis_target.h"

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
        assert(t.places_count >= 1 && (t.master || t.places_count == 1));
        for (size_t i = 0; i < t.places_count; i++) {
            const struct redis_place *at = &t.places[i];

            assert(!at->host != !at->path);
            assert(at->path || (*at->host && at->port >= 1 && at->port <= 65535));
            assert(at->host || (*at->path == '/' && strlen(at->path) <= 107 && !t.tls && !t.master));
        }
        assert(!t.master || *t.master);
        assert(t.db >= 0 && t.db <= 1000000);
        assert(!t.login.user || t.login.password);
        redis_target_free(&t);
    } else {
        assert(strncmp(problem, "REDIS_URL ", 10) == 0 && strlen(problem) < sizeof(problem));
    }
    assert(!t.places && !t.master && !t.login.user && !t.login.password);
    free(url);
    return 0;
}
