/* SPDX-License-Identifier: MIT */
/* resp: a command as it goes over the wire to Redis: how many words it has, then each of them. */
#pragma once

#include "signalbox/bytes.h"

void resp_begin(struct builder *w, size_t words);
void resp_word(struct builder *w, struct span word);
struct builder resp_command(size_t count, const struct span *words); /* a whole one; the caller frees it */
