/* SPDX-License-Identifier: MIT */
/* signal: the protocols of /signal and of the apps (PROTOCOL.md sections 6 and 6a). */
#pragma once

#include "signalbox/domain.h"

extern const struct domain signal_domain;
