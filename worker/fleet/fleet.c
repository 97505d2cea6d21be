/* SPDX-License-Identifier: MIT */
#include "signalbox/fleet.h"

#include "signalbox/agenda.h"
#include "signalbox/arrival.h"
#include "signalbox/claim.h"
#include "signalbox/delivery.h"
#include "signalbox/forward.h"
#include "signalbox/group.h"
#include "signalbox/heartbeat.h"
#include "signalbox/leader.h"
#include "signalbox/ownership.h"
#include "signalbox/reaper.h"

static void on_redis_up(void)
{
    heartbeat_on_redis_up();
    ownership_on_redis_up();
    leader_look();
}

static void on_session_end(struct session *s)
{
    ownership_on_session_end(s);
    claim_on_session_end(s);
}

static void init(void)
{
    heartbeat_init();
    ownership_init();
    claim_init();
    delivery_init();
    forward_init();
    arrival_init();
    group_init();
    leader_init();
    reaper_init();
    agenda_init();
}

/* What a domain still waits for here fails first. */
static void fini(void)
{
    claim_fini();
    forward_fini();
    arrival_fini();
    group_fini();
    ownership_fini();
    heartbeat_fini();
}

const struct domain fleet_domain = {
    .on_redis_up = on_redis_up, .on_session_end = on_session_end, .init = init, .fini = fini};
