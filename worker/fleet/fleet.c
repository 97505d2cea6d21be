/* SPDX-License-Identifier: MIT */
#include "signalbox/fleet.h"

#include "signalbox/claim.h"
#include "signalbox/delivery.h"
#include "signalbox/forward.h"
#include "signalbox/forward_inbound.h"
#include "signalbox/ghosts.h"
#include "signalbox/group.h"
#include "signalbox/guess.h"
#include "signalbox/identity.h"
#include "signalbox/index.h"
#include "signalbox/leader.h"
#include "signalbox/lease.h"
#include "signalbox/mark.h"
#include "signalbox/orphans.h"
#include "signalbox/probe.h"
#include "signalbox/reaper.h"
#include "signalbox/resync.h"
#include "signalbox/schedule.h"
#include "signalbox/storage.h"

static void on_redis_up(void)
{
    lease_on_redis_up();
    mark_on_redis_up();
    index_on_redis_up();
    resync_all();
    leader_look();
    orphans_on_redis_up();
}

static void on_session_end(struct session *s)
{
    index_on_session_end(s);
    identity_on_session_end(s);
    probe_on_session_end(s);
    storage_on_session_end(s);
    guess_on_session_end(s);
}

static void init(void)
{
    lease_init(index_reaped, resync_all);
    mark_init();
    index_init();
    identity_init();
    probe_init();
    claim_init();
    resync_init();
    delivery_init();
    forward_init();
    forward_inbound_init();
    group_init();
    leader_init();
    reaper_init();
    ghosts_init();
    orphans_init();
    schedule_init();
    storage_init();
    guess_init();
}

/* What a domain still waits for here fails first. */
static void fini(void)
{
    probe_fini();
    forward_fini();
    forward_inbound_fini();
    group_fini();
    resync_fini();
    index_fini();
    storage_fini();
    lease_fini();
}

const struct domain fleet_domain = {
    .on_redis_up = on_redis_up, .on_session_end = on_session_end, .init = init, .fini = fini};
