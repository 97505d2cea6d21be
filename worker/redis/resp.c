/* SPDX-License-Identifier: MIT */
#include "signalbox/resp.h"

#define WORD_HEAD_MAX 32 /* with the ends of its lines */

void resp_begin(struct builder *w, size_t words)
{
    builder_add(w, SPAN("*"));
    builder_number(w, words);
    builder_add(w, SPAN("\r\n"));
}

void resp_word(struct builder *w, struct span word)
{
    builder_expect(w, word.len + WORD_HEAD_MAX);
    builder_add(w, SPAN("$"));
    builder_number(w, word.len);
    builder_add(w, SPAN("\r\n"));
    builder_add(w, word);
    builder_add(w, SPAN("\r\n"));
}

struct builder resp_command(size_t count, const struct span *words)
{
    struct builder w = {0};

    resp_begin(&w, count);
    for (size_t i = 0; i < count; i++)
        resp_word(&w, words[i]);
    return w;
}
