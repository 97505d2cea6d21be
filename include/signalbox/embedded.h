/* SPDX-License-Identifier: MIT */
/* embedded: a private redis-server on a Unix socket in STATE_DIR, for those who give no REDIS_URL. Whoever holds the
   lock of the folder runs it, and it ends with that process; the others share it, and the next one takes over. */
#pragma once

#include <stdbool.h>

/* Starts it, or finds it running, and waits until it answers. false: problem says why not. */
bool embedded_start(const char *state_dir, char problem[static 256]);
const char *embedded_url(void); /* unix:///…/redis.sock */
void embedded_check(void);      /* starts it again if it, or the process that ran it, has died */
void embedded_watch(void);      /* checks now and then, from the loop */
void embedded_stop(void);       /* waits until it has saved and ended, if it is ours */
