/* SPDX-License-Identifier: MIT */
#include "signalbox/address.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define FORMERS_MAX 16

static char wid[WID_LEN + 1], formers[FORMERS_MAX][WID_LEN + 1];
static size_t renewals; /* the last former one is formers[(renewals - 1) % FORMERS_MAX] */

const char *self_wid(void)
{
    if (!*wid)
        snprintf(wid, sizeof(wid), "%08" PRIx32, randombytes_random());
    return wid;
}

void self_wid_renew(void)
{
    memcpy(formers[renewals++ % FORMERS_MAX], self_wid(), sizeof(formers[0]));
    snprintf(wid, sizeof(wid), "%08" PRIx32, randombytes_random());
}

struct address self_address(uint64_t sid)
{
    struct address a = {.sid = sid};

    memcpy(a.wid, self_wid(), sizeof(a.wid));
    return a;
}

void self_address_text(uint64_t sid, char out[static ADDRESS_MAX])
{
    struct address a = self_address(sid);

    address_format(&a, out);
}

void self_former_text(uint64_t sid, char out[static ADDRESS_MAX])
{
    struct address a = {.sid = sid};

    *out = '\0';
    if (renewals == 0)
        return;
    memcpy(a.wid, formers[(renewals - 1) % FORMERS_MAX], sizeof(a.wid));
    address_format(&a, out);
}

bool address_is_self(const struct address *a)
{
    for (size_t i = 0; i < FORMERS_MAX && i < renewals; i++)
        if (memcmp(a->wid, formers[i], WID_LEN) == 0)
            return true;
    return memcmp(a->wid, self_wid(), WID_LEN) == 0;
}

bool address_equals(const struct address *a, const struct address *b)
{
    return a->sid == b->sid && memcmp(a->wid, b->wid, WID_LEN) == 0;
}

void address_format(const struct address *a, char out[static ADDRESS_MAX])
{
    snprintf(out, ADDRESS_MAX, "%s.%" PRIu64, a->wid, a->sid);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool address_parse(struct span text, struct address *out)
{
    if (text.len < WID_LEN + 2 || text.len >= ADDRESS_MAX || text.at[WID_LEN] != '.')
        return false;
    for (size_t i = 0; i < WID_LEN; i++)
        if (!is_hex(text.at[i]))
            return false;
    *out = (struct address){0};
    memcpy(out->wid, text.at, WID_LEN);
    for (size_t i = WID_LEN + 1; i < text.len; i++) {
        unsigned digit = (unsigned)(text.at[i] - '0');
        if (digit > 9 || __builtin_mul_overflow(out->sid, 10, &out->sid) ||
            __builtin_add_overflow(out->sid, digit, &out->sid))
            return false;
    }
    return true;
}
