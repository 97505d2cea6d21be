/* SPDX-License-Identifier: MIT */
#include "stage.h"

#include <stdlib.h>
#include <string.h>

#include "signalbox/address.h"
#include "signalbox/crypto.h"
#include "signalbox/entry.h"
#include "signalbox/loop.h"
#include "signalbox/room.h"
#include "signalbox/session.h"

#define ELSEWHERE "0badcafe.77"

static void put_address(struct builder *w, const struct lws *client)
{
    char text[ADDRESS_MAX];

    self_address_text(client->session ? session_id_of(client->session) : 1, text);
    builder_text(w, text);
}

static void put_peer(struct builder *w, struct lws *client)
{
    const struct room_peer *peer = client->session ? room_peer_of(client->session) : NULL;

    builder_text(w, peer ? peer->id : "0123456789abcdef");
}

static void put_hmac(struct builder *w)
{
    char hmac[HMAC_TEXT_MAX];

    for (size_t i = 0; i < STAGE_CLIENTS; i++) {
        if (!*stage_clients[i].nonce)
            continue;
        hmac_hex(span_of(POOL_KEY), span_of(stage_clients[i].nonce), hmac);
        builder_text(w, hmac);
        return;
    }
}

static void put_token(struct builder *w)
{
    char *token = session_token_new(stage_key, "device", "1.0.0", "linux", clock_ms(), 60000);

    builder_text(w, token);
    free(token);
}

/* false: it stands for nothing. */
static bool put_named(struct builder *w, char name)
{
    if (name >= '0' && name < '0' + STAGE_CLIENTS)
        put_address(w, &stage_clients[name - '0']);
    else if (name >= 'a' && name < 'a' + STAGE_CLIENTS)
        put_peer(w, &stage_clients[name - 'a']);
    else if (name == 'w')
        builder_text(w, self_wid());
    else if (name == 'x')
        builder_text(w, ELSEWHERE);
    else if (name == 'h')
        put_hmac(w);
    else if (name == 't')
        put_token(w);
    else
        return false;
    return true;
}

char *stage_put_in(struct span text)
{
    struct builder w = {0};
    char *out;

    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '@' && i + 1 < text.len && put_named(&w, text.at[i + 1]))
            i++;
        else
            builder_add(&w, (struct span){text.at + i, 1});
    }
    out = w.bytes ? span_dup(bytes_span(w.bytes)) : mem_dup("");
    builder_free(&w);
    return out;
}

static struct span next_word(struct words *w)
{
    const char *bar = w->rest.len ? memchr(w->rest.at, '|', w->rest.len) : NULL;
    struct span word = {w->rest.at, bar ? (size_t)(bar - w->rest.at) : w->rest.len};
    size_t used = word.len + (bar != NULL);

    w->rest = (struct span){w->rest.at + used, w->rest.len - used};
    return word;
}

char *words_take(struct words *w)
{
    return stage_put_in(next_word(w));
}

/* Ids are validated before they are stored, so what Redis and other workers say of them has an end, too: keys rely on
   it. */
char *words_take_stored(struct words *w)
{
    char *word = words_take(w);

    if (strlen(word) >= ENTRY_MAX)
        word[ENTRY_MAX - 1] = '\0';
    return word;
}

bool words_take_if(struct words *w, const char *word)
{
    struct words ahead = *w;

    if (!span_is(next_word(&ahead), word))
        return false;
    *w = ahead;
    return true;
}

unsigned long words_take_number(struct words *w)
{
    char *word = words_take(w);
    unsigned long n = strtoul(word, NULL, 10);

    free(word);
    return n;
}
