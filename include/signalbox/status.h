/* SPDX-License-Identifier: MIT */
/* status: /health, /ready, /api/info and /metrics. */
#pragma once

#include "signalbox/domain.h"

struct exchange;

extern const struct domain status_domain;
void status_info(struct exchange *x); /* answers as /api/info */
