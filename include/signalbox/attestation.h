/* SPDX-License-Identifier: MIT */
/* attestation: the session tokens that a client shows (docs/design.md, "The registry and attestation"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "signalbox/bytes.h"
#include "signalbox/http_head.h"

bool attestation_holds(struct span token, int64_t *until_ms); /* it is one of ours, and has not ended */

/* All that are in a request's fields and its query, each ended by a zero, and an empty one behind them; the caller
   wipes and frees them. *len is with the zeros. */
char *attestation_tokens(const struct http_head *h, size_t *len);
bool attestation_shown(const struct http_head *h); /* one of those holds */

void attestation_init(void);
