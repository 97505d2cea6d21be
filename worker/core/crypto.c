/* SPDX-License-Identifier: MIT */
#include "signalbox/crypto.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/json_scan.h"

#define BASE64 sodium_base64_VARIANT_ORIGINAL
#define TOKEN_MAX 8192
#define VERSION_PARTS 3

struct signing_key {
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    unsigned char public[crypto_sign_PUBLICKEYBYTES];
};

/* Exactly len bytes, without anything that is no digit between or behind them. */
static bool read_hex(const char *text, unsigned char *out, size_t len)
{
    size_t got;

    return strlen(text) == 2 * len && sodium_hex2bin(out, len, text, 2 * len, NULL, &got, NULL) == 0 && got == len;
}

static bool read_base64(struct span text, unsigned char *out, size_t room, size_t *len)
{
    const char *end;

    return sodium_base642bin(out, room, text.at, text.len, NULL, len, &end, BASE64) == 0 && end == text.at + text.len;
}

struct signing_key *signing_key_new(const char *hex_seed)
{
    unsigned char seed[crypto_sign_SEEDBYTES];
    struct signing_key *k = NULL;

    if (read_hex(hex_seed, seed, sizeof(seed))) {
        k = sodium_malloc(sizeof(*k));
        if (!k)
            abort();
        crypto_sign_seed_keypair(k->public, k->secret, seed);
    }
    sodium_memzero(seed, sizeof(seed));
    return k;
}

void signing_key_free(struct signing_key *k)
{
    sodium_free(k);
}

const unsigned char *signing_key_public(const struct signing_key *k)
{
    return k->public;
}

bool public_key_read(struct span base64, unsigned char out[static PUBLIC_KEY_LEN])
{
    size_t len;

    return read_base64(base64, out, PUBLIC_KEY_LEN, &len) && len == PUBLIC_KEY_LEN;
}

void sign_base64(const struct signing_key *k, struct span text, char out[static SIGNATURE_TEXT_MAX])
{
    unsigned char signature[crypto_sign_BYTES];

    crypto_sign_detached(signature, NULL, (const unsigned char *)text.at, text.len, k->secret);
    sodium_bin2base64(out, SIGNATURE_TEXT_MAX, signature, sizeof(signature), BASE64);
}

bool signature_verify(const unsigned char *public_key, struct span text, struct span base64_signature)
{
    unsigned char signature[crypto_sign_BYTES];
    size_t len;

    return read_base64(base64_signature, signature, sizeof(signature), &len) && len == sizeof(signature) &&
           crypto_sign_verify_detached(signature, (const unsigned char *)text.at, text.len, public_key) == 0;
}

void hmac_hex(struct span key, struct span text, char out[static HMAC_TEXT_MAX])
{
    unsigned char hmac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, (const unsigned char *)key.at, key.len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)text.at, text.len);
    crypto_auth_hmacsha256_final(&state, hmac);
    sodium_memzero(&state, sizeof(state));
    sodium_bin2hex(out, HMAC_TEXT_MAX, hmac, sizeof(hmac));
}

void hmac_sha1_base64(struct span key, struct span text, char out[static HMAC_SHA1_TEXT_MAX])
{
    unsigned char hmac[20];
    unsigned len = sizeof(hmac);

    if (!HMAC(EVP_sha1(), key.at, (int)key.len, (const unsigned char *)text.at, text.len, hmac, &len))
        abort();
    sodium_bin2base64(out, HMAC_SHA1_TEXT_MAX, hmac, len, BASE64);
}

void nonce_new(char out[static NONCE_TEXT_MAX])
{
    unsigned char nonce[NONCE_LEN];

    randombytes_buf(nonce, sizeof(nonce));
    sodium_bin2hex(out, NONCE_TEXT_MAX, nonce, sizeof(nonce));
}

bool secret_equals(struct span given, const char *secret)
{
    unsigned char a[crypto_generichash_BYTES], b[crypto_generichash_BYTES];

    crypto_generichash(a, sizeof(a), (const unsigned char *)given.at, given.len, NULL, 0);
    crypto_generichash(b, sizeof(b), (const unsigned char *)secret, strlen(secret), NULL, 0);
    return sodium_memcmp(a, b, sizeof(a)) == 0;
}

char *session_token_new(const struct signing_key *k, const char *device, const char *version, const char *platform,
                        int64_t now_ms, int64_t ttl_ms)
{
    struct builder payload = {0};
    size_t room;
    char *token;

    builder_text(&payload, "{");
    builder_member(&payload, "device_id", device);
    builder_member(&payload, "build_version", version);
    builder_member(&payload, "platform", platform);
    builder_printf(&payload, ",\"issued_at\":%lld,\"expires_at\":%lld}", (long long)now_ms,
                   (long long)now_ms + (long long)ttl_ms);
    room = sodium_base64_encoded_len(builder_len(&payload), BASE64);
    token = mem_alloc(room + SIGNATURE_TEXT_MAX);
    sodium_bin2base64(token, room, (const unsigned char *)bytes_span(payload.bytes).at, builder_len(&payload), BASE64);
    token[room - 1] = '.';
    sign_base64(k, bytes_span(payload.bytes), token + room);
    builder_free(&payload);
    return token;
}

/* false: it is not the payload of a session token. Build tokens may be signed by the same key. */
static bool read_expiry(struct span payload, int64_t *expires_ms)
{
    struct json_members members = {0};
    struct span value;
    long long issued, expires;
    bool ok = json_scan(payload, &members) && json_find(&members, "device_id", &value) &&
              json_kind(value) == JSON_KIND_STRING && json_find(&members, "issued_at", &value) &&
              json_read_integer(value, &issued) && json_find(&members, "expires_at", &value) &&
              json_read_integer(value, &expires);

    json_members_free(&members);
    if (ok)
        *expires_ms = expires;
    return ok;
}

bool session_token_verify(const unsigned char *public_key, struct span token, int64_t now_ms, int64_t *expires_ms)
{
    unsigned char payload[TOKEN_MAX];
    const char *dot = token.len ? memchr(token.at, '.', token.len) : NULL;
    struct span text, signature;
    size_t len;

    if (!dot || token.len > TOKEN_MAX)
        return false;
    signature = (struct span){dot + 1, token.len - (size_t)(dot - token.at) - 1};
    if (!read_base64((struct span){token.at, (size_t)(dot - token.at)}, payload, sizeof(payload), &len))
        return false;
    text = (struct span){(const char *)payload, len};
    return signature_verify(public_key, text, signature) && read_expiry(text, expires_ms) && *expires_ms > now_ms;
}

/* The number up to the next dot, and moves behind it. */
static unsigned long long version_part(const char **at)
{
    const char *text = *at;
    size_t len = strcspn(text, "."), digits = strspn(text, "0123456789");

    *at = text + len + (text[len] == '.');
    return digits == len ? strtoull(text, NULL, 10) : 0;
}

int version_compare(const char *a, const char *b)
{
    for (int i = 0; i < VERSION_PARTS; i++) {
        unsigned long long x = version_part(&a), y = version_part(&b);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return 0;
}
