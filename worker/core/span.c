/* SPDX-License-Identifier: MIT */
#include "signalbox/span.h"

#include <stdint.h>
#include <string.h>

struct span span_of(const char *text)
{
    return text ? (struct span){text, strlen(text)} : SPAN("");
}

bool span_equals(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool span_is(struct span a, const char *text)
{
    return span_equals(a, span_of(text));
}

struct span span_trim(struct span a)
{
    while (a.len && (*a.at == ' ' || *a.at == '\t'))
        a = (struct span){a.at + 1, a.len - 1};
    while (a.len && (a.at[a.len - 1] == ' ' || a.at[a.len - 1] == '\t'))
        a.len--;
    return a;
}

/* The lead byte decides the length and how far the second byte may go: that alone shuts out
   overlong forms, surrogates and everything above U+10FFFF. */
static const struct utf8_form {
    uint8_t lead_least, lead_most, second_least, second_most, len;
} utf8_forms[] = {
    {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
    {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
    {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
};

static size_t utf8_len_as(const struct utf8_form *form, struct span text)
{
    const uint8_t *at = (const uint8_t *)text.at;

    if (form->len > text.len)
        return 0;
    if (form->len > 1 && (at[1] < form->second_least || at[1] > form->second_most))
        return 0;
    for (size_t i = 2; i < form->len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return form->len;
}

size_t utf8_len(struct span text)
{
    if (text.len == 0)
        return 0;

    uint8_t lead = (uint8_t)text.at[0];
    for (size_t i = 0; i < sizeof(utf8_forms) / sizeof(utf8_forms[0]); i++)
        if (lead <= utf8_forms[i].lead_most)
            return lead >= utf8_forms[i].lead_least ? utf8_len_as(&utf8_forms[i], text) : 0;
    return 0;
}
