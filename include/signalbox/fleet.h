/* SPDX-License-Identifier: MIT */
/* fleet: what the workers do together, for all domains. */
#pragma once

#include "signalbox/domain.h"

extern const struct domain fleet_domain;
