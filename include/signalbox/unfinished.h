/* SPDX-License-Identifier: MIT */
/* unfinished: connections on which a request has begun and not come to its end, its body too, in the order in which
   these began. There are so many at most, and so many bytes of theirs. Newcomers wait in the kernel until one ends; for
   them one is given up: at once one whose address is over its limit of connections, else one that has taken long. So
   those that never end keep nobody out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define UNFINISHED_MAX 8192
#define UNFINISHED_BYTES_MAX ((size_t)128 << 20)

struct unfinished {
    int64_t begun_ms; /* 0: it is none of them */
    size_t bytes;
    bool over;
    TAILQ_ENTRY(unfinished) next;
};

/* on_give_up ends one of them, and closes it. on_room is called some time after unfinished_is_full() has said so. */
void unfinished_init(void (*on_give_up)(struct unfinished *u), void (*on_room)(void));
void unfinished_fini(void);
/* u stays where it is until it has ended. over: its address has more connections than it may have. */
void unfinished_begin(struct unfinished *u, bool over);
void unfinished_end(struct unfinished *u); /* nothing, if it is none of them */
/* So many bytes of it are kept now. Past the bound the oldest are given up, from the loop. */
void unfinished_weigh(struct unfinished *u, size_t bytes);
bool unfinished_is_full(void); /* no other connection is to be accepted */
