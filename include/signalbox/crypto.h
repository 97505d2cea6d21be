/* SPDX-License-Identifier: MIT */
/* crypto: signatures, HMACs, nonces, session tokens and versions (docs/design.md, "The registry and attestation"). The
   primitives are libsodium's; base64 is the standard alphabet with padding (RFC 4648 section 4), and strict. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "signalbox/bytes.h"

#define PUBLIC_KEY_LEN 32
#define SIGNATURE_TEXT_MAX 89 /* base64 of 64 bytes, and a zero */
#define HMAC_TEXT_MAX 65      /* hex of 32 bytes, and a zero */
#define NONCE_LEN 32
#define NONCE_TEXT_MAX 65

/* An Ed25519 key (RFC 8032) in locked memory, which is wiped when it is freed. */
struct signing_key;
struct signing_key *signing_key_new(const char *hex_seed);            /* NULL: not 64 hexadecimal digits */
void signing_key_free(struct signing_key *k);                         /* NULL is fine */
const unsigned char *signing_key_public(const struct signing_key *k); /* PUBLIC_KEY_LEN bytes */

bool public_key_read(struct span base64, unsigned char out[static PUBLIC_KEY_LEN]); /* false: not one */
void sign_base64(const struct signing_key *k, struct span text, char out[static SIGNATURE_TEXT_MAX]);
bool signature_verify(const unsigned char *public_key, struct span text, struct span base64_signature);

/* HMAC-SHA256 (RFC 2104, RFC 4231) in lower-case hex. */
void hmac_hex(struct span key, struct span text, char out[static HMAC_TEXT_MAX]);
/* HMAC-SHA1 (RFC 2104, RFC 2202) in base64: what TURN servers check, and nothing else should. */
#define HMAC_SHA1_TEXT_MAX 29
void hmac_sha1_base64(struct span key, struct span text, char out[static HMAC_SHA1_TEXT_MAX]);
void nonce_new(char out[static NONCE_TEXT_MAX]); /* 32 random bytes in hex */
/* In a time that tells nothing of where they differ, nor of the secret's length. */
bool secret_equals(struct span given, const char *secret);

/* Session tokens: base64(payload) "." base64(signature). Times in ms. */
char *session_token_new(const struct signing_key *k, const char *device, const char *version, const char *platform,
                        int64_t now_ms, int64_t ttl_ms); /* the caller frees it */
/* false: not signed by this key, malformed, or expired. */
bool session_token_verify(const unsigned char *public_key, struct span token, int64_t now_ms, int64_t *expires_ms);

/* As up to three numbers with dots between; what is missing or no number counts as 0. Below, equal to or above zero. */
int version_compare(const char *a, const char *b);
