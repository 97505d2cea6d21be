/* SPDX-License-Identifier: MIT */
/* slots: numbers below 2^53 for things that come and go. A number is not given again (before its place was used half a
   billion times), so that whoever kept one
   after its thing has left finds nothing instead of a stranger. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct slots {
    struct slot *at;
    uint32_t room, free_head, count;
};
uint64_t slots_put(struct slots *s, void *thing);         /* never 0 */
void *slots_find(const struct slots *s, uint64_t number); /* NULL: gone, or never there */
void slots_drop(struct slots *s, uint64_t number);
/* Visits all, or those of one of several parts of about equal size; what visit drops or adds may be missed. */
void slots_each(const struct slots *s, void (*visit)(void *thing, void *arg), void *arg);
void slots_each_part(const struct slots *s, unsigned part, unsigned parts, void (*visit)(void *thing, void *arg),
                     void *arg);
void slots_free(struct slots *s);
