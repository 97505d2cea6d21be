/* SPDX-License-Identifier: MIT */
/* probe: asks whether the socket at an address, on whichever worker, still answers. Its worker pings it, and any byte
   from it within TAKEOVER_PROBE_MS is an answer. So is that it has taken some of what was written to it before, if the
   ping has not come through yet (docs/design.md, "Whose id is it"). */
#pragma once

#include "signalbox/address.h"
#include "signalbox/session.h"

enum probe_result {
    PROBE_ALIVE,
    PROBE_ABSENT, /* it did not answer, or is gone; or its worker has no lease */
    PROBE_MUTE,   /* its worker has its lease, but said nothing in time */
    PROBE_LOST,   /* Redis was not reached */
};

/* done runs once, later. lately: a byte within TAKEOVER_PROBE_MS before counts, too, and then it is not pinged. */
typedef void (*probe_done)(enum probe_result result, void *arg);
void probe_socket(const struct address *at, bool lately, probe_done done, void *arg);
/* Closes a socket that did not answer 1001, as one that answers no ping, wherever it is. */
void probe_hang_up(const struct address *at);

void probe_on_session_end(struct session *s);
void probe_init(void);
void probe_fini(void); /* whoever still waits is told PROBE_LOST */
