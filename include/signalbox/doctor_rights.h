/* SPDX-License-Identifier: MIT */
/* doctor_rights: what the user of a connection may do of what a worker does, found out by trying it. */
#pragma once

#include "signalbox/bytes.h"

struct doctor_client;

struct rights {
    struct builder missing; /* as ACL SETUSER gives them, each behind a space; empty: nothing is missing */
    struct builder helpful; /* likewise, what it may lack: ROLE and INFO tell whether the server is still the one */
    struct builder unknown; /* commands that this Redis does not have, each behind a space */
};

/* Tries every command, key and channel. What it writes is one key of its own, removed again. The connection is good for
   nothing afterwards: it has subscriptions. */
struct rights rights_of(struct doctor_client *c);
void rights_free(struct rights *r);
