/* SPDX-License-Identifier: MIT */
#include "signalbox/cidr.h"
#include "signalbox/bytes.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_BITS 96 /* the prefix of an IPv4 address inside IPv6, ::ffff:0:0/96 */
#define TEXT_MAX 64    /* the longest address with its prefix length takes 49 bytes */

struct address {
    bool ipv4; /* then bytes holds it in its first four */
    unsigned char bytes[16];
};

struct range {
    struct address from;
    unsigned bits;
};

struct cidr_list {
    struct range *ranges;
    size_t count;
};

static bool is_mapped(const struct address *a)
{
    static const unsigned char prefix[MAPPED_BITS / 8] = {[10] = 0xff, [11] = 0xff};

    return !a->ipv4 && memcmp(a->bytes, prefix, sizeof(prefix)) == 0;
}

static void unmap(struct address *a)
{
    memmove(a->bytes, a->bytes + MAPPED_BITS / 8, 4);
    a->ipv4 = true;
}

static bool read_address(const char *text, struct address *a)
{
    *a = (struct address){0};
    a->ipv4 = inet_pton(AF_INET, text, a->bytes) == 1;
    return a->ipv4 || inet_pton(AF_INET6, text, a->bytes) == 1;
}

static bool read_bits(const char *text, unsigned most, unsigned *bits)
{
    size_t digits = strspn(text, "0123456789");

    if (digits < 1 || digits > 3 || text[digits] || (text[0] == '0' && digits > 1))
        return false;
    *bits = (unsigned)strtoul(text, NULL, 10);
    return *bits <= most;
}

static bool read_range(char *text, struct range *range)
{
    char *slash = strchr(text, '/');

    if (slash)
        *slash = '\0';
    if (!read_address(text, &range->from))
        return false;
    range->bits = range->from.ipv4 ? 32 : 128;
    if (slash && !read_bits(slash + 1, range->bits, &range->bits))
        return false;
    if (is_mapped(&range->from) && range->bits >= MAPPED_BITS) {
        unmap(&range->from);
        range->bits -= MAPPED_BITS;
    }
    return true;
}

static bool list_add(struct cidr_list *list, struct span item)
{
    char text[TEXT_MAX];

    item = span_trim(item);
    if (item.len >= sizeof(text))
        return false;
    memcpy(text, item.at, item.len);
    text[item.len] = '\0';
    list->ranges = mem_grow(list->ranges, (list->count + 1) * sizeof(*list->ranges));
    return read_range(text, &list->ranges[list->count++]);
}

struct cidr_list *cidr_parse(const char *text)
{
    struct cidr_list *list = mem_alloc(sizeof(*list));

    if (!span_trim(span_of(text)).len)
        return list;
    for (;;) {
        size_t len = strcspn(text, ",");
        if (!list_add(list, (struct span){text, len})) {
            cidr_free(list);
            return NULL;
        }
        if (!text[len])
            return list;
        text += len + 1;
    }
}

void cidr_free(struct cidr_list *list)
{
    if (!list)
        return;
    free(list->ranges);
    free(list);
}

static bool range_contains(const struct range *range, const struct address *a)
{
    size_t whole = range->bits / 8;
    unsigned char mask = (unsigned char)(0xff00u >> range->bits % 8);

    if (range->from.ipv4 != a->ipv4 || memcmp(range->from.bytes, a->bytes, whole) != 0)
        return false;
    return !mask || ((range->from.bytes[whole] ^ a->bytes[whole]) & mask) == 0;
}

static bool read_unmapped(const char *ip, struct address *a)
{
    if (!read_address(ip, a))
        return false;
    if (is_mapped(a))
        unmap(a);
    return true;
}

bool cidr_contains(const struct cidr_list *list, const char *ip)
{
    struct address a;

    if (!read_unmapped(ip, &a))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (range_contains(&list->ranges[i], &a))
            return true;
    return false;
}

size_t address_prefix(const char *ip, unsigned bits_v4, unsigned bits_v6, unsigned char out[static ADDRESS_PREFIX_MAX])
{
    struct address a;
    unsigned bits;
    size_t whole;

    if (!read_unmapped(ip, &a))
        return 0;
    bits = a.ipv4 ? bits_v4 : bits_v6;
    whole = bits / 8;
    out[0] = a.ipv4 ? 4 : 6;
    memcpy(out + 1, a.bytes, whole);
    if (bits % 8 == 0)
        return 1 + whole;
    out[1 + whole] = (unsigned char)(a.bytes[whole] & (0xff00u >> bits % 8));
    return 2 + whole;
}

size_t address_range(const char *ip, unsigned char out[static ADDRESS_RANGE_MAX])
{
    unsigned char prefix[ADDRESS_PREFIX_MAX];
    size_t len = address_prefix(ip, 24, 48, prefix);

    memcpy(out, prefix, len);
    return len;
}

bool address_text(const char *ip, char out[static ADDRESS_TEXT_MAX])
{
    struct address a;

    return read_unmapped(ip, &a) && inet_ntop(a.ipv4 ? AF_INET : AF_INET6, a.bytes, out, ADDRESS_TEXT_MAX) != NULL;
}

void address_range_text(const char *ip, unsigned bits_v6, char out[static ADDRESS_RANGE_TEXT_MAX])
{
    unsigned char prefix[ADDRESS_PREFIX_MAX] = {0};
    char text[ADDRESS_TEXT_MAX];

    if (!address_prefix(ip, 32, bits_v6, prefix))
        snprintf(out, ADDRESS_RANGE_TEXT_MAX, "%.*s", ADDRESS_TEXT_MAX - 1, ip);
    else if (inet_ntop(prefix[0] == 4 ? AF_INET : AF_INET6, prefix + 1, text, sizeof(text)))
        snprintf(out, ADDRESS_RANGE_TEXT_MAX, prefix[0] == 4 || bits_v6 == 128 ? "%s" : "%s/%u", text, bits_v6);
}
