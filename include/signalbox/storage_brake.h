/* SPDX-License-Identifier: MIT */
/* storage_brake: how full Redis is, asked with each beat, and what is not taken any more because of that. For
   fleet/storage.c alone. */
#pragma once

#include <stdbool.h>

bool storage_brake_lets(bool small); /* something that is small, or is not, may be stored */
void storage_brake_init(void);
