/* SPDX-License-Identifier: MIT */
#include "signalbox/slots.h"

#include <stdlib.h>

#include "signalbox/bytes.h"

#define INDEX_BITS 24
#define INDEX_MASK ((1u << INDEX_BITS) - 1)
#define GENERATION_MASK ((1u << 29) - 1) /* so that a number is exact in a double, as in Lua */
#define NO_SLOT UINT32_MAX

struct slot {
    void *thing;
    uint32_t generation, next_free;
};

static void grow(struct slots *s)
{
    uint32_t room = s->room ? s->room * 2 : 64;

    if (room > INDEX_MASK)
        abort();
    s->at = mem_grow(s->at, room * sizeof(*s->at));
    for (uint32_t i = s->room; i < room; i++)
        s->at[i] = (struct slot){.generation = 1, .next_free = i + 1 < room ? i + 1 : NO_SLOT};
    s->free_head = s->room;
    s->room = room;
}

uint64_t slots_put(struct slots *s, void *thing)
{
    uint32_t i;

    if (s->room == 0 || s->free_head == NO_SLOT)
        grow(s);
    i = s->free_head;
    s->free_head = s->at[i].next_free;
    s->at[i].thing = thing;
    s->count++;
    return (uint64_t)s->at[i].generation << INDEX_BITS | i;
}

static struct slot *find(const struct slots *s, uint64_t number)
{
    uint32_t i = (uint32_t)number & INDEX_MASK;

    if (i >= s->room || !s->at[i].thing || s->at[i].generation != number >> INDEX_BITS)
        return NULL;
    return &s->at[i];
}

void *slots_find(const struct slots *s, uint64_t number)
{
    struct slot *slot = find(s, number);

    return slot ? slot->thing : NULL;
}

void slots_drop(struct slots *s, uint64_t number)
{
    struct slot *slot = find(s, number);

    if (!slot)
        return;
    slot->thing = NULL;
    slot->generation = (slot->generation + 1) & GENERATION_MASK;
    slot->generation += slot->generation == 0;
    slot->next_free = s->free_head;
    s->free_head = (uint32_t)(slot - s->at);
    s->count--;
}

void slots_each_part(const struct slots *s, unsigned part, unsigned parts, void (*visit)(void *thing, void *arg),
                     void *arg)
{
    for (uint32_t i = part; i < s->room; i += parts)
        if (s->at[i].thing)
            visit(s->at[i].thing, arg);
}

void slots_each(const struct slots *s, void (*visit)(void *thing, void *arg), void *arg)
{
    slots_each_part(s, 0, 1, visit, arg);
}

void slots_free(struct slots *s)
{
    free(s->at);
    *s = (struct slots){0};
}
