/* SPDX-License-Identifier: MIT */
#include "signalbox/attestation.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "signalbox/config.h"
#include "signalbox/crypto.h"
#include "signalbox/loop.h"

static unsigned char public_key[PUBLIC_KEY_LEN]; /* that session tokens are signed with; none: no token counts */
static bool has_key;

bool attestation_holds(struct span token, int64_t *until_ms)
{
    return has_key && session_token_verify(public_key, token, clock_ms(), until_ms);
}

char *attestation_tokens(const struct http_head *h, size_t *len)
{
    const char *bearer = http_head_field(h, "authorization").at, *token = http_head_field(h, "x-attestation-token").at;
    char *argument = http_head_argument(h, "attestation");
    struct builder all = {0};

    if (strncasecmp(bearer, "Bearer ", 7) == 0 && bearer[7])
        builder_printf(&all, "%s%c", bearer + 7, '\0');
    if (*token)
        builder_printf(&all, "%s%c", token, '\0');
    if (argument && *argument)
        builder_printf(&all, "%s%c", argument, '\0');
    builder_add(&all, (struct span){"", 1});
    *len = builder_len(&all);
    token = span_dup(bytes_span(all.bytes));
    sodium_memzero(bytes_data(all.bytes), *len);
    builder_free(&all);
    if (argument)
        sodium_memzero(argument, strlen(argument));
    free(argument);
    return (char *)token;
}

bool attestation_shown(const struct http_head *h)
{
    size_t len;
    char *tokens = attestation_tokens(h, &len);
    bool shown = false;
    int64_t until_ms;

    for (const char *token = tokens; *token && !shown; token += strlen(token) + 1)
        shown = attestation_holds(span_of(token), &until_ms);
    sodium_memzero(tokens, len);
    free(tokens);
    return shown;
}

void attestation_init(void)
{
    struct signing_key *k = signing_key_new(config->attestation_signing_key);

    has_key = k != NULL;
    if (k)
        memcpy(public_key, signing_key_public(k), sizeof(public_key));
    signing_key_free(k);
}
