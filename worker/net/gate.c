/* SPDX-License-Identifier: MIT */
#include "signalbox/gate.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"

#define TOKEN_MOST 8192

static unsigned char public_key[PUBLIC_KEY_LEN];
static bool has_key;
static struct metric *refused;

static bool show(struct session *s, struct span token)
{
    int64_t until_ms;

    if (!has_key || !session_token_verify(public_key, token, clock_ms(), &until_ms))
        return false;
    *session_attested_until(s) = until_ms;
    return true;
}

void gate_open(struct session *s, const char *token)
{
    if (*token)
        show(s, span_of(token));
}

bool gate_lets(struct session *s, const struct message_type *row)
{
    bool gated = (config->require_attestation == ATTESTATION_ALL && row->gate != GATE_NEVER) ||
                 (config->require_attestation == ATTESTATION_CHUNKS && row->gate == GATE_CHUNKS);

    if (!gated || *session_attested_until(s) > clock_ms())
        return true;
    metric_add(refused, 1);
    return false;
}

static enum err handle_attest(struct session *s, const struct message *m)
{
    struct builder w = {0};

    if (!show(s, (struct span){m->values[0].text, m->values[0].len}))
        return ERR_NOT_ATTESTED;
    builder_printf(&w, "{\"type\":\"attested\",\"expires_at\":%lld}", (long long)*session_attested_until(s));
    session_send(s, builder_take(&w));
    return ERR_NONE;
}

const struct message_type gate_attest = {"attest",
                                         handle_attest,
                                         {{FIELD_TEXT, "token", .required = true, .most = TOKEN_MOST}},
                                         .wire_error = wire_error,
                                         .gate = GATE_NEVER};

void gate_init(void)
{
    struct signing_key *k = signing_key_new(config->attestation_signing_key);

    has_key = k != NULL;
    if (k)
        memcpy(public_key, signing_key_public(k), sizeof(public_key));
    signing_key_free(k);
    refused = metric_counter("signalbox_unattested_messages_total", "Messages refused by REQUIRE_ATTESTATION");
}
