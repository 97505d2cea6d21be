/* SPDX-License-Identifier: MIT */
/* The rows of worker/domains.c, and that of the toy: signalbox-next has this in its place. */
#include <stddef.h>

#include "signalbox/fleet.h"
#include "signalbox/front.h"
#include "signalbox/page.h"
#include "signalbox/registry.h"
#include "signalbox/relay.h"
#include "signalbox/room.h"
#include "signalbox/signal.h"
#include "signalbox/status.h"

extern const struct domain toy_domain;

const struct domain *const domains[] = {
    &fleet_domain, &status_domain,   &page_domain,  &signal_domain, &relay_domain,
    &rooms_domain, &registry_domain, &front_domain, &toy_domain,    NULL,
};
