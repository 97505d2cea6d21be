/* SPDX-License-Identifier: MIT */
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Clients of every WebSocket path, other workers and Redis: see stage/stage.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stage_play(data, size, "ochkbfrRnNedutim");
}
