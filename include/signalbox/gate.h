/* SPDX-License-Identifier: MIT */
/* gate: which messages need a session token, and whether a session has shown one (REQUIRE_ATTESTATION, PROTOCOL.md
   section 4). */
#pragma once

#include "signalbox/dialect.h"

extern const struct message_type gate_attest; /* {"type":"attest","token"}, in every dialect */

void gate_open(struct session *s, const char *token); /* shown at the upgrade; a bad one counts as none */
bool gate_lets(struct session *s, const struct message_type *row);

void gate_init(void);
