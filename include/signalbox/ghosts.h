/* SPDX-License-Identifier: MIT */
/* ghosts: what Redis lists as owned by sockets of this worker although they do not have it. It comes from a Redis that
   has gone back to an older state, or from commands that reached it late (docs/design.md, "Ghosts"). */
#pragma once

#include <stdbool.h>

/* Looks through all that this worker's name owns, paced, and undoes what belongs to no open socket. thorough: at what
   open sockets have let go of, too. One look at a time: during another, it begins anew. */
void ghosts_look(bool thorough);

void ghosts_init(void);
