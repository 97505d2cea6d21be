/* SPDX-License-Identifier: MIT */
/* status: /health, /ready, /api/info and /metrics. */
#pragma once

struct exchange;

void status_init(void);
void status_info(struct exchange *x); /* answers as /api/info */
