/* SPDX-License-Identifier: MIT */
#include "signalbox/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/finding.h"
#include "signalbox/probe.h"

#define MIB (1024.0 * 1024.0)
#define PUBSUB_HARD (256LL * 1024 * 1024) /* a worker that reads nothing for a second or two is not cut off */
#define PUBSUB_SOFT (64LL * 1024 * 1024)

/* --- what it keeps --- */

void check_eviction(struct probe *p, struct finding *f)
{
    char policy[PROBE_VALUE_MAX], most[PROBE_VALUE_MAX];

    if (!probe_setting(p, "maxmemory_policy", "maxmemory-policy", policy)) {
        finding_unread(f, p, "maxmemory-policy");
        return;
    }
    if (strcmp(policy, "noeviction") == 0) {
        finding_say(f, LEVEL_OK, "maxmemory-policy is noeviction");
        return;
    }
    if (probe_setting(p, "maxmemory", "maxmemory", most) && strcmp(most, "0") == 0)
        finding_say(f, LEVEL_WARN, "maxmemory-policy is %.32s: once there is a maxmemory, entries in use are dropped",
                    policy);
    else
        finding_say(f, LEVEL_BAD, "maxmemory-policy is %.32s: when memory is full, entries in use are dropped", policy);
    finding_set(f, p, "maxmemory-policy", "noeviction");
}

void check_memory(struct probe *p, struct finding *f)
{
    char text[PROBE_VALUE_MAX];
    long long most, used;

    if (!probe_setting(p, "maxmemory", "maxmemory", text)) {
        finding_unread(f, p, "maxmemory");
        return;
    }
    most = atoll(text);
    if (!probe_info(p, "used_memory", text)) {
        finding_unread(f, p, "the memory in use");
        return;
    }
    used = atoll(text);
    if (most == 0 || used <= most / 10 * 8) {
        finding_say(f, LEVEL_OK, "%.1f MiB in use%s", (double)used / MIB,
                    most ? ", far from maxmemory" : ", no maxmemory");
        return;
    }
    finding_say(f, used < most ? LEVEL_WARN : LEVEL_BAD,
                "%.1f of %.1f MiB in use: when it is full, nobody can register", (double)used / MIB,
                (double)most / MIB);
    snprintf(text, sizeof(text), "%lldmb", (used > most ? used : most) * 2 / (1024 * 1024) + 1);
    finding_set(f, p, "maxmemory", text);
}

static bool keeps_log(struct probe *p, bool *keeps)
{
    char value[PROBE_VALUE_MAX];
    bool known = probe_setting(p, "aof_enabled", "appendonly", value);

    *keeps = known && (strcmp(value, "1") == 0 || strcmp(value, "yes") == 0);
    return known;
}

/* Live registrations are given again after a restart; dead drops, devices, references, the version policy and the list
   of servers are nowhere else, and no client is told that they have gone. So none at all counts as a loss. */
void check_persistence(struct probe *p, struct finding *f)
{
    char save[PROBE_VALUE_MAX] = "";
    bool log, known = keeps_log(p, &log);

    if (known && log) {
        finding_say(f, LEVEL_OK, "appendonly is yes");
        return;
    }
    if (!known || !probe_config(p, "save", save)) {
        finding_unread(f, p, known ? "appendonly is no, and save" : "appendonly");
        return;
    }
    if (*save)
        finding_say(f, LEVEL_WARN,
                    "snapshots only (save): a crash loses the dead drops and attestations of some minutes");
    else
        finding_say(f, LEVEL_BAD,
                    "appendonly is no and save is empty: a restart loses dead drops, attestation and servers");
    finding_set(f, p, "appendonly", "yes");
}

void check_fsync(struct probe *p, struct finding *f)
{
    char when[PROBE_VALUE_MAX];
    bool log, known = keeps_log(p, &log);

    if (known && !log) {
        finding_say(f, LEVEL_OK, "no append-only file to be written out");
        return;
    }
    if (!known || !probe_config(p, "appendfsync", when)) {
        finding_unread(f, p, "appendfsync");
        return;
    }
    if (strcmp(when, "everysec") == 0) {
        finding_say(f, LEVEL_OK, "appendfsync is everysec: a lost machine costs a second");
        return;
    }
    if (strcmp(when, "always") == 0)
        finding_say(f, LEVEL_WARN, "appendfsync is always: every message that is registered waits for the disk");
    else
        finding_say(f, LEVEL_WARN, "appendfsync is %.16s: a lost machine costs half a minute of what was registered",
                    when);
    finding_set(f, p, "appendfsync", "everysec");
}

void check_disk(struct probe *p, struct finding *f)
{
    static const char *const fields[] = {"aof_last_write_status", "aof_last_bgrewrite_status",
                                         "rdb_last_bgsave_status"};
    char status[PROBE_VALUE_MAX];

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!probe_info(p, fields[i], status)) {
            finding_unread(f, p, "whether it can write to its disk");
            return;
        }
        if (strcmp(status, "ok") == 0)
            continue;
        finding_say(f, LEVEL_BAD, "%s is %.16s: what it holds is not saved, and it may refuse to be written to",
                    fields[i], status);
        finding_advise(f, "first make room on its disk or let it write there (its log says why)");
        finding_mend(f, p, i < 2 ? "bgrewriteaof" : "bgsave");
        return;
    }
    finding_say(f, LEVEL_OK, "the last writes succeeded");
}

/* --- how it treats connections --- */

void check_buffers(struct probe *p, struct finding *f)
{
    char all[PROBE_VALUE_MAX];
    const char *pubsub;
    long long hard, soft, seconds;

    if (!probe_config(p, "client-output-buffer-limit", all) || !(pubsub = strstr(all, "pubsub ")) ||
        sscanf(pubsub, "pubsub %lld %lld %lld", &hard, &soft, &seconds) != 3) {
        finding_unread(f, p, "client-output-buffer-limit");
        return;
    }
    if ((hard == 0 || hard >= PUBSUB_HARD) && (soft == 0 || soft >= PUBSUB_SOFT)) {
        finding_say(f, LEVEL_OK, "a worker may be behind by %.0f MiB of messages (0: any number)", (double)hard / MIB);
        return;
    }
    finding_say(
        f, LEVEL_WARN,
        "a worker behind by %.1f MiB of messages, or by %.1f for %lld s, is cut off, and what others sent to its "
        "clients until it has subscribed again is lost",
        (double)hard / MIB, (double)soft / MIB, seconds);
    finding_set(f, p, "client-output-buffer-limit", "pubsub 256mb 64mb 60");
}

void check_timeout(struct probe *p, struct finding *f)
{
    char seconds[PROBE_VALUE_MAX];

    if (!probe_config(p, "timeout", seconds)) {
        finding_unread(f, p, "timeout");
    } else if (strcmp(seconds, "0") == 0) {
        finding_say(f, LEVEL_OK, "connections are never closed for being idle");
    } else {
        finding_say(f, LEVEL_WARN, "timeout is %.16s: a worker that is silent for so many seconds loses its connection",
                    seconds);
        finding_set(f, p, "timeout", "0");
    }
}

void check_keepalive(struct probe *p, struct finding *f)
{
    char seconds[PROBE_VALUE_MAX];

    if (!probe_config(p, "tcp-keepalive", seconds)) {
        finding_unread(f, p, "tcp-keepalive");
    } else if (strcmp(seconds, "0") != 0) {
        finding_say(f, LEVEL_OK, "a lost machine is noticed after about %.16s s", seconds);
    } else {
        finding_say(f, LEVEL_WARN,
                    "tcp-keepalive is 0: messages to a worker whose machine was lost count as delivered for long");
        finding_set(f, p, "tcp-keepalive", "300");
    }
}

void check_clients(struct probe *p, struct finding *f)
{
    char most[PROBE_VALUE_MAX], now[PROBE_VALUE_MAX], twice[32];

    if (!probe_setting(p, "maxclients", "maxclients", most) || !probe_info(p, "connected_clients", now)) {
        finding_unread(f, p, "maxclients");
        return;
    }
    if (atoll(now) * 10 <= atoll(most) * 8) {
        finding_say(f, LEVEL_OK, "%.16s of %.16s connections in use; a worker takes 2", now, most);
        return;
    }
    finding_say(f, LEVEL_WARN, "%.16s of %.16s connections in use: a worker takes 2, and is refused past that", now,
                most);
    snprintf(twice, sizeof(twice), "%lld", atoll(most) * 2);
    finding_set(f, p, "maxclients", twice);
}
