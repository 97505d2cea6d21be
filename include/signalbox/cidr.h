/* SPDX-License-Identifier: MIT */
/* cidr: lists of address ranges such as "10.0.0.0/8, 2001:db8::/32, 127.0.0.1" (RFC 4632, RFC 4291).
   An IPv4 address mapped into IPv6 (::ffff:a.b.c.d) counts as IPv4. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct cidr_list;
struct cidr_list *cidr_parse(const char *text); /* "" is an empty list; NULL: malformed. Freed with cidr_free() */
void cidr_free(struct cidr_list *list);
bool cidr_contains(const struct cidr_list *list, const char *ip);

/* The range that an address counts with, /24 of IPv4 and /48 of IPv6 (docs/design.md, "The front server"), as bytes
   that no other range has. How many; 0: it is no address. */
#define ADDRESS_RANGE_MAX 7
size_t address_range(const char *ip, unsigned char out[static ADDRESS_RANGE_MAX]);

/* The same of so many bits of IPv4 or IPv6. */
#define ADDRESS_PREFIX_MAX 17
size_t address_prefix(const char *ip, unsigned bits_v4, unsigned bits_v6, unsigned char out[static ADDRESS_PREFIX_MAX]);

/* The text of an address in its shortest form, one that is mapped into IPv6 as IPv4. false: it is none. */
#define ADDRESS_TEXT_MAX 46
bool address_text(const char *ip, char out[static ADDRESS_TEXT_MAX]);

/* The text of the range of so many bits that an IPv6 address is in, "2001:db8::/64"; of IPv4 that of the address. What
   is no address stays as it is, cut. */
#define ADDRESS_RANGE_TEXT_MAX (ADDRESS_TEXT_MAX + 4)
void address_range_text(const char *ip, unsigned bits_v6, char out[static ADDRESS_RANGE_TEXT_MAX]);
