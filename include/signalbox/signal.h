/* SPDX-License-Identifier: MIT */
/* signal: the protocols of /signal and of the apps (docs/design.md, "Pairing by code"). */
#pragma once

#include "signalbox/domain.h"

extern const struct domain signal_domain;
