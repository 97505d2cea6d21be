/* SPDX-License-Identifier: MIT */
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Requests of HTTP and what Redis answers to them: see stage/stage.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stage_play(data, size, "xckrRnNedutm");
}
