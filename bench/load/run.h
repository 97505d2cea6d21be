/* SPDX-License-Identifier: MIT */
/* run: the phases of one run, from the first connection to the JSON at its end. */
#pragma once

#include <stdbool.h>

struct scenario;

bool run(const struct scenario *s); /* false if anything was lost, refused or wrong */
