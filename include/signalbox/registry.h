/* SPDX-License-Identifier: MIT */
/* registry: the HTTP API of the server bootstrap registry and of device attestation (docs/design.md, "The registry and
   attestation"). */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "signalbox/domain.h"
#include "signalbox/http.h"
#include "signalbox/http_fields.h"
#include "signalbox/keys.h"
#include "signalbox/script.h"
#include "signalbox/turn.h"

struct signing_key;

void unauthorized(struct exchange *x); /* 401, and in the log */
/* false: the exchange was answered 503 because the secret is not configured, or 401. */
bool require_bearer(struct exchange *x, const char *secret, const char *not_configured);

/* The version policy: minimum_version, recommended_version, blocked_versions, sunset_dates. text: as it is in Redis,
   empty where nobody has set one. A new reference. */
json_t *policy_of(struct span text);
/* Whether it refuses a version, with the sentence that says why. */
#define REFUSAL_MAX (2 * ID_MAX + 64)
bool policy_refuses(const json_t *policy, const char *version, char sentence[static REFUSAL_MAX]);
/* The same of the policy as it is in Redis. */
bool policy_text_refuses(struct span text, const char *version, char sentence[static REFUSAL_MAX]);

void device_seen(const char *device); /* it lives for DEVICE_TTL_MS from now on, if it is registered */

#define REGIONS_MOST 5                           /* that a challenge asks for */
const struct signing_key *attestation_key(void); /* NULL: not configured */

extern const struct domain registry_domain;

extern const struct http_route servers_routes[], versions_routes[], devices_routes[], references_routes[],
    challenges_routes[], answers_routes[];
/* The list of servers as the fleet has it, of this worker: as Redis answers that it is after the call, but for
   heartbeats of the last second. ready runs once, later; false: Redis was not reached. */
void server_list_read(struct turn *t, void (*ready)(struct turn *t, bool ok));
/* For ready alone. */
void server_list_reply(struct turn *t); /* answers with the list, signed if there is a key */
void server_list_wire_others(struct builder *b, const char *server); /* a JSON array of all entries but that one's */
void server_list_init(void);
void server_list_fini(void);

void devices_init(void);
void devices_fini(void);
void answers_init(void);
