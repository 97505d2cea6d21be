/* SPDX-License-Identifier: MIT */
/* doctor_settings: what of the settings of a Redis would hurt, one check each. Used by doctor/ alone. */
#pragma once

struct diagnosis;
struct doctor_client;

void check_replicas(struct doctor_client *c, struct diagnosis *d);
void check_eviction(struct doctor_client *c, struct diagnosis *d);
void check_memory(struct doctor_client *c, struct diagnosis *d);
void check_persistence(struct doctor_client *c, struct diagnosis *d);
void check_fsync(struct doctor_client *c, struct diagnosis *d);
void check_disk(struct doctor_client *c, struct diagnosis *d);
void check_buffers(struct doctor_client *c, struct diagnosis *d);
void check_timeout(struct doctor_client *c, struct diagnosis *d);
void check_keepalive(struct doctor_client *c, struct diagnosis *d);
void check_clients(struct doctor_client *c, struct diagnosis *d);
