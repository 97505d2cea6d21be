/* SPDX-License-Identifier: MIT */
#include "signalbox/guess.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/bytes.h"

#define FOUND_KEPT 32 /* of what a socket has found, the latest */

/* Hashes with a key of this process: nobody can make a text that passes for another. */
struct found {
    uint64_t hashes[FOUND_KEPT];
    unsigned next;
};

static unsigned char hash_key[crypto_shorthash_KEYBYTES];
static size_t slot; /* of a session: struct found */

static uint64_t hash_of(const char *what)
{
    unsigned char out[crypto_shorthash_BYTES];
    uint64_t hash;

    _Static_assert(sizeof(out) == sizeof(hash), "a hash is 8 bytes");
    crypto_shorthash(out, (const unsigned char *)what, strlen(what), hash_key);
    memcpy(&hash, out, sizeof(hash));
    return hash;
}

static bool has(const struct found *f, uint64_t hash)
{
    for (unsigned i = 0; f && i < FOUND_KEPT; i++)
        if (f->hashes[i] == hash)
            return true;
    return false;
}

void guess_found(session_id session, const char *what)
{
    struct session *s = session_find(session);
    uint64_t hash = hash_of(what);
    struct found *f;

    if (!s || has(*session_slot(s, slot), hash))
        return;
    if (!*session_slot(s, slot))
        *session_slot(s, slot) = mem_alloc(sizeof(*f));
    f = *session_slot(s, slot);
    f->hashes[f->next++ % FOUND_KEPT] = hash;
}

bool guess_begin_for(struct guess *g, struct ip *ip)
{
    if (!ip_look_up(ip))
        return false;
    ip_hold(ip);
    *g = (struct guess){.ip = ip};
    return true;
}

bool guess_begin(struct guess *g, struct session *s, const char *what)
{
    *g = (struct guess){0};
    if (session_is_trusted(s) || has(*session_slot(s, slot), hash_of(what)))
        return true;
    if (!guess_begin_for(g, session_ip(s))) {
        session_fail(s, ERR_RATE_LIMIT, NULL);
        return false;
    }
    return true;
}

void guess_end(struct guess *g, bool missed)
{
    if (!g->ip)
        return;
    ip_looked_up(g->ip, missed);
    ip_let_go(g->ip);
    g->ip = NULL;
}

void guess_init(void)
{
    slot = session_slot_new();
    randombytes_buf(hash_key, sizeof(hash_key));
}

void guess_on_session_end(struct session *s)
{
    free(*session_slot(s, slot));
    *session_slot(s, slot) = NULL;
}
