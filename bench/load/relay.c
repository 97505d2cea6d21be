/* SPDX-License-Identifier: MIT */
/* relay: offers between two, there and back. Clients 2n and 2n+1 are a pair; in closed loop one offer of the two is
   under way at any time. What arrives has to be the payload that was sent, byte for byte, from the partner, in order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define NUMBER_DIGITS 16

static char *payload, *message;
static size_t payload_len;
static bool rooms; /* the dialect of /ws */

static struct client *partner_of(const struct client *c)
{
    return &clients[c->index ^ 1];
}

static void prepare(void)
{
    static const char head[] = "{\"n\":\"0000000000000000\",\"sdp\":\"";

    if (options.clients % 2 != 0) {
        fprintf(stderr, "relay needs an even number of clients\n");
        exit(2);
    }
    rooms = strncmp(options.path, "/ws", 3) == 0;
    payload_len = options.bytes < sizeof(head) + 2 ? sizeof(head) + 2 : options.bytes;
    payload = malloc(payload_len + 1);
    message = malloc(payload_len + 256);
    if (!payload || !message)
        abort();
    memset(payload, 'x', payload_len);
    memcpy(payload, head, sizeof(head) - 1);
    memcpy(payload + payload_len - 2, "\"}", 3);
}

static void number_payload(uint64_t n)
{
    for (int i = NUMBER_DIGITS; i > 0; i--, n /= 10)
        payload[5 + i] = (char)('0' + n % 10);
}

static bool sends(struct client *c)
{
    return c->index % 2 == 0;
}

static void send_offer(struct client *c)
{
    int head = snprintf(message, 256,
                        rooms ? "{\"type\":\"OFFER\",\"target_id\":\"%s\",\"payload\":"
                              : "{\"type\":\"offer\",\"target\":\"%s\",\"payload\":",
                        partner_of(c)->id);
    size_t len = (size_t)head;

    number_payload(c->sent);
    memcpy(message + len, payload, payload_len);
    len += payload_len;
    message[len++] = '}';
    client_send(c, message, len);
}

/* Whether it is the offer that the partner sent. */
static bool is_offer_of(const struct client *from, const char *text, size_t len, uint64_t *number)
{
    const char *at = text_after(text, len, "\"payload\":"), *id;
    char mark[64];

    snprintf(mark, sizeof(mark), rooms ? "\"peer_id\":\"%s\"" : "\"from\":\"%s\"", from->id);
    id = text_after(text, len, mark);
    if (!at || !id || id > at || (size_t)(text + len - at) <= payload_len)
        return false;
    *number = strtoull(at + 6, NULL, 10);
    number_payload(*number);
    return memcmp(at, payload, payload_len) == 0;
}

static bool take(struct client *c, const char *text, size_t len)
{
    struct client *from = partner_of(c);
    uint64_t number;

    if (!text_begins(text, len, rooms ? "{\"type\":\"OFFER\"" : "{\"type\":\"offer\"") ||
        !is_offer_of(from, text, len, &number))
        return false;
    load_arrived(from, number);
    load_time(from, number);
    load_next(c);
    return true;
}

const struct scenario scenario_relay = {"relay", prepare, sends, send_offer, take};
