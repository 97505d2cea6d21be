/* SPDX-License-Identifier: MIT */
/* signal: the protocols of /signal and of the apps (PROTOCOL.md sections 6 and 6a). */
#pragma once

void signal_init(void);
void signal_fini(void);
