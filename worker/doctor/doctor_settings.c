/* SPDX-License-Identifier: MIT */
#include "signalbox/doctor_settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/doctor_client.h"
#include "signalbox/doctor_diagnosis.h"

#define MIB (1024.0 * 1024.0)
#define PUBSUB_HARD (256LL * 1024 * 1024) /* a worker that reads nothing for a second or two is not cut off */
#define PUBSUB_SOFT (64LL * 1024 * 1024)

/* --- what it keeps --- */

void check_eviction(struct doctor_client *c, struct diagnosis *d)
{
    char policy[DOCTOR_VALUE_MAX], most[DOCTOR_VALUE_MAX];

    if (!doctor_client_setting(c, "maxmemory_policy", "maxmemory-policy", policy)) {
        diagnosis_unread(d, c, "maxmemory-policy");
        return;
    }
    if (strcmp(policy, "noeviction") == 0) {
        diagnosis_say(d, LEVEL_OK, "maxmemory-policy is noeviction");
        return;
    }
    if (doctor_client_setting(c, "maxmemory", "maxmemory", most) && strcmp(most, "0") == 0)
        diagnosis_say(d, LEVEL_WARN, "maxmemory-policy is %.32s: once there is a maxmemory, entries in use are dropped",
                      policy);
    else
        diagnosis_say(d, LEVEL_BAD, "maxmemory-policy is %.32s: when memory is full, entries in use are dropped",
                      policy);
    diagnosis_set(d, c, "maxmemory-policy", "noeviction");
}

void check_memory(struct doctor_client *c, struct diagnosis *d)
{
    char text[DOCTOR_VALUE_MAX];
    long long most, used;

    if (!doctor_client_setting(c, "maxmemory", "maxmemory", text)) {
        diagnosis_unread(d, c, "maxmemory");
        return;
    }
    most = atoll(text);
    if (!doctor_client_info(c, "used_memory", text)) {
        diagnosis_unread(d, c, "the memory in use");
        return;
    }
    used = atoll(text);
    if (most == 0 || used <= most / 10 * 8) {
        diagnosis_say(d, LEVEL_OK, "%.1f MiB in use%s", (double)used / MIB,
                      most ? ", far from maxmemory" : ", no maxmemory");
        return;
    }
    diagnosis_say(d, used < most ? LEVEL_WARN : LEVEL_BAD,
                  "%.1f of %.1f MiB in use: when it is full, nobody can register", (double)used / MIB,
                  (double)most / MIB);
    snprintf(text, sizeof(text), "%lldmb", (used > most ? used : most) * 2 / (1024 * 1024) + 1);
    diagnosis_set(d, c, "maxmemory", text);
}

static bool keeps_log(struct doctor_client *c, bool *keeps)
{
    char value[DOCTOR_VALUE_MAX];
    bool known = doctor_client_setting(c, "aof_enabled", "appendonly", value);

    *keeps = known && (strcmp(value, "1") == 0 || strcmp(value, "yes") == 0);
    return known;
}

/* Live registrations are given again after a restart; dead drops, devices, references, the version policy and the list
   of servers are nowhere else, and no client is told that they have gone. So none at all counts as a loss. */
void check_persistence(struct doctor_client *c, struct diagnosis *d)
{
    char save[DOCTOR_VALUE_MAX] = "";
    bool log, known = keeps_log(c, &log);

    if (known && log) {
        diagnosis_say(d, LEVEL_OK, "appendonly is yes");
        return;
    }
    if (!known || !doctor_client_config(c, "save", save)) {
        diagnosis_unread(d, c, known ? "appendonly is no, and save" : "appendonly");
        return;
    }
    if (*save)
        diagnosis_say(d, LEVEL_WARN,
                      "snapshots only (save): a crash loses the dead drops and attestations of some minutes");
    else
        diagnosis_say(d, LEVEL_BAD,
                      "appendonly is no and save is empty: a restart loses dead drops, attestation and servers");
    diagnosis_set(d, c, "appendonly", "yes");
}

void check_fsync(struct doctor_client *c, struct diagnosis *d)
{
    char when[DOCTOR_VALUE_MAX];
    bool log, known = keeps_log(c, &log);

    if (known && !log) {
        diagnosis_say(d, LEVEL_OK, "no append-only file to be written out");
        return;
    }
    if (!known || !doctor_client_config(c, "appendfsync", when)) {
        diagnosis_unread(d, c, "appendfsync");
        return;
    }
    if (strcmp(when, "everysec") == 0) {
        diagnosis_say(d, LEVEL_OK, "appendfsync is everysec: a lost machine costs a second");
        return;
    }
    if (strcmp(when, "always") == 0)
        diagnosis_say(d, LEVEL_WARN, "appendfsync is always: every message that is registered waits for the disk");
    else
        diagnosis_say(d, LEVEL_WARN, "appendfsync is %.16s: a lost machine costs half a minute of what was registered",
                      when);
    diagnosis_set(d, c, "appendfsync", "everysec");
}

void check_disk(struct doctor_client *c, struct diagnosis *d)
{
    static const char *const fields[] = {"aof_last_write_status", "aof_last_bgrewrite_status",
                                         "rdb_last_bgsave_status"};
    char status[DOCTOR_VALUE_MAX];

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!doctor_client_info(c, fields[i], status)) {
            diagnosis_unread(d, c, "whether it can write to its disk");
            return;
        }
        if (strcmp(status, "ok") == 0)
            continue;
        diagnosis_say(d, LEVEL_BAD, "%s is %.16s: what it holds is not saved, and it may refuse to be written to",
                      fields[i], status);
        diagnosis_advise(d, "first make room on its disk or let it write there (its log says why)");
        diagnosis_mend(d, c, i < 2 ? "bgrewriteaof" : "bgsave");
        return;
    }
    diagnosis_say(d, LEVEL_OK, "the last writes succeeded");
}

/* A master that has been cut off takes writes until Sentinel, or a person, has seen it: they are lost, though they were
   acknowledged. */
void check_replicas(struct doctor_client *c, struct diagnosis *d)
{
    char replicas[DOCTOR_VALUE_MAX], least[DOCTOR_VALUE_MAX];

    if (!doctor_client_info(c, "connected_slaves", replicas)) {
        diagnosis_unread(d, c, "the replicas");
    } else if (atoi(replicas) == 0) {
        diagnosis_say(d, LEVEL_OK, "none");
    } else if (!doctor_client_config(c, "min-replicas-to-write", least)) {
        diagnosis_unread(d, c, "min-replicas-to-write");
    } else if (atoi(least) > 0) {
        diagnosis_say(d, LEVEL_OK, "%d, of which %.8s must be there for a write", atoi(replicas), least);
    } else {
        diagnosis_say(d, LEVEL_WARN,
                      "min-replicas-to-write is 0: in a failover the old master may take writes that are lost");
        diagnosis_set(d, c, "min-replicas-to-write", "1");
    }
}

/* --- how it treats connections --- */

void check_buffers(struct doctor_client *c, struct diagnosis *d)
{
    char all[DOCTOR_VALUE_MAX];
    const char *pubsub;
    long long hard, soft, seconds;

    if (!doctor_client_config(c, "client-output-buffer-limit", all) || !(pubsub = strstr(all, "pubsub ")) ||
        sscanf(pubsub, "pubsub %lld %lld %lld", &hard, &soft, &seconds) != 3) {
        diagnosis_unread(d, c, "client-output-buffer-limit");
        return;
    }
    if ((hard == 0 || hard >= PUBSUB_HARD) && (soft == 0 || soft >= PUBSUB_SOFT)) {
        diagnosis_say(d, LEVEL_OK, "a worker may be behind by %.0f MiB of messages (0: any number)",
                      (double)hard / MIB);
        return;
    }
    diagnosis_say(
        d, LEVEL_WARN,
        "a worker behind by %.1f MiB of messages, or by %.1f for %lld s, is cut off, and what others sent to its "
        "clients until it has subscribed again is lost",
        (double)hard / MIB, (double)soft / MIB, seconds);
    diagnosis_set(d, c, "client-output-buffer-limit", "pubsub 256mb 64mb 60");
}

void check_timeout(struct doctor_client *c, struct diagnosis *d)
{
    char seconds[DOCTOR_VALUE_MAX];

    if (!doctor_client_config(c, "timeout", seconds)) {
        diagnosis_unread(d, c, "timeout");
    } else if (strcmp(seconds, "0") == 0) {
        diagnosis_say(d, LEVEL_OK, "connections are never closed for being idle");
    } else {
        diagnosis_say(d, LEVEL_WARN,
                      "timeout is %.16s: a worker that is silent for so many seconds loses its connection", seconds);
        diagnosis_set(d, c, "timeout", "0");
    }
}

void check_keepalive(struct doctor_client *c, struct diagnosis *d)
{
    char seconds[DOCTOR_VALUE_MAX];

    if (!doctor_client_config(c, "tcp-keepalive", seconds)) {
        diagnosis_unread(d, c, "tcp-keepalive");
    } else if (strcmp(seconds, "0") != 0) {
        diagnosis_say(d, LEVEL_OK, "a lost machine is noticed after about %.16s s", seconds);
    } else {
        diagnosis_say(d, LEVEL_WARN,
                      "tcp-keepalive is 0: messages to a worker whose machine was lost count as delivered for long");
        diagnosis_set(d, c, "tcp-keepalive", "300");
    }
}

void check_clients(struct doctor_client *c, struct diagnosis *d)
{
    char most[DOCTOR_VALUE_MAX], now[DOCTOR_VALUE_MAX], twice[32];

    if (!doctor_client_setting(c, "maxclients", "maxclients", most) ||
        !doctor_client_info(c, "connected_clients", now)) {
        diagnosis_unread(d, c, "maxclients");
        return;
    }
    if (atoll(now) * 10 <= atoll(most) * 8) {
        diagnosis_say(d, LEVEL_OK, "%.16s of %.16s connections in use; a worker takes 3", now, most);
        return;
    }
    diagnosis_say(d, LEVEL_WARN, "%.16s of %.16s connections in use: a worker takes 3, and is refused past that", now,
                  most);
    snprintf(twice, sizeof(twice), "%lld", atoll(most) * 2);
    diagnosis_set(d, c, "maxclients", twice);
}
