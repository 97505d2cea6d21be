/* SPDX-License-Identifier: MIT */
/* status: /health, /ready, /, /api/info and /metrics. */
#pragma once

void status_init(void);
