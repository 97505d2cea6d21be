/* SPDX-License-Identifier: MIT */
/* settings: what of the settings of a Redis would hurt, one check each. Used by redis/ alone. */
#pragma once

struct finding;
struct probe;

void check_eviction(struct probe *p, struct finding *f);
void check_memory(struct probe *p, struct finding *f);
void check_persistence(struct probe *p, struct finding *f);
void check_fsync(struct probe *p, struct finding *f);
void check_disk(struct probe *p, struct finding *f);
void check_buffers(struct probe *p, struct finding *f);
void check_timeout(struct probe *p, struct finding *f);
void check_keepalive(struct probe *p, struct finding *f);
void check_clients(struct probe *p, struct finding *f);
