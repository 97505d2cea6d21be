/* SPDX-License-Identifier: MIT */
/* address: where a socket is, in the whole fleet: wid.sid, as "1f0c9a3e.16777216". */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "signalbox/bytes.h"

#define WID_LEN 8
#define ADDRESS_MAX (WID_LEN + 1 + 20 + 1)

struct address {
    char wid[WID_LEN + 1];
    uint64_t sid;
};

bool address_parse(struct span text, struct address *out) __attribute__((warn_unused_result));
bool address_equals(const struct address *a, const struct address *b);
void address_format(const struct address *a, char out[static ADDRESS_MAX]);

const char *self_wid(void); /* this worker's id: 8 random hex digits, made at its first use */
/* Another id, because the lease of the one before has lapsed; what that one still names in Redis is known by it. */
void self_wid_renew(void);
void self_former_text(uint64_t sid, char out[static ADDRESS_MAX]); /* "" where there is none */
struct address self_address(uint64_t sid);
void self_address_text(uint64_t sid, char out[static ADDRESS_MAX]);
bool address_is_self(const struct address *a); /* of the present id or one of the 16 before: the sids stay */
