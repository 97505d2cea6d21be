/* SPDX-License-Identifier: MIT */
#include "stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What clients send over HTTP, several requests on a connection, and what Redis answers: see stage/stage.c. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return stage_play(data, size, "xyzockrRnNedutm");
}
