/* SPDX-License-Identifier: MIT */
/* start → run → drain → stop */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signalbox/address.h"
#include "signalbox/config.h"
#include "signalbox/doctor.h"
#include "signalbox/domain.h"
#include "signalbox/drain.h"
#include "signalbox/embedded.h"
#include "signalbox/inbox.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/metrics.h"
#include "signalbox/redis.h"
#include "signalbox/redis_tls.h"
#include "signalbox/schema.h"
#include "signalbox/script.h"
#include "signalbox/server.h"
#include "signalbox/supervisor.h"
#include "signalbox/tls.h"
#include "signalbox/version.h"

#define EXIT_USAGE 2
#define PROBLEM_LINE 1024

static int processes = 1;
static char refusal[512]; /* why this worker must not use its Redis */
static bool own_redis;    /* this very process may run the private Redis */

/* In one piece: several processes may have something to say at once. */
static int complain(int status, const char *problem)
{
    char line[PROBLEM_LINE];

    snprintf(line, sizeof(line), "signalbox-worker: %.*s\n", PROBLEM_LINE - 32, problem);
    log_plain(line);
    return status;
}

static void on_drained(void)
{
    loop_stop();
}

static bool draining;

static void drain(void)
{
    if (draining)
        return;
    draining = true;
    drain_start(on_drained);
}

static void on_signal(int number)
{
    if (draining) {
        drain_hurry();
        return;
    }
    LOG_INFO("stopping", LOG_INT("signal", number));
    drain();
}

/* Clients are let go as at SIGTERM: another worker may serve them, and this one cannot. */
static void on_schema_refused(const char *problem)
{
    snprintf(refusal, sizeof(refusal), "%s", problem);
    drain();
}

static void reload(void)
{
    if (tls_wanted())
        tls_reload();
    redis_tls_reload();
}

static void on_hangup(int number)
{
    (void)number;
    reload();
}

/* Before anything else is sent: what follows calls scripts. */
static void on_redis_up(void)
{
    scripts_load();
    domains_redis_up();
}

static void stop(void)
{
    server_fini();
    redis_fini();
    domains_fini();
    limits_fini(); /* turns hold addresses */
    loop_fini();
    metrics_fini();
}

/* One worker, from its loop to its end; returns the exit status. */
static int run(void)
{
    char problem[256], name[32];
    int status = EXIT_SUCCESS;

    loop_init();
    log_worker(self_wid());
    LOG_INFO("start", LOG_TEXT("version", SIGNALBOX_VERSION), LOG_INT("pid", getpid()));
    loop_on_signal(SIGTERM, on_signal);
    loop_on_signal(SIGINT, on_signal);
    loop_on_signal(SIGHUP, on_hangup);
    scripts_init();
    domains_init();
    snprintf(name, sizeof(name), "signalbox-%s", self_wid());
    inbox_init();
    schema_init(on_schema_refused);
    if (!redis_init(*config->redis_url ? config->redis_url : embedded_url(), name, schema_look, on_redis_up, problem))
        status = complain(EXIT_USAGE, problem);
    else if (!server_init(processes > 1))
        status = EXIT_FAILURE;
    if (status == EXIT_SUCCESS) {
        if (own_redis)
            embedded_watch();
        loop_run();
    }
    stop();
    if (*refusal)
        status = complain(EXIT_FAILURE, refusal);
    return status;
}

static int start(void)
{
    char problem[256];
    int status, db;

    if (!domains_check(problem))
        return complain(EXIT_USAGE, problem);
    if (!tls_load(problem)) /* here, so that every worker has it, also one that is started again */
        return complain(EXIT_USAGE, problem);
    db = *config->redis_url ? redis_url_db(config->redis_url, problem) : 0;
    if (db < 0)
        return complain(EXIT_USAGE, problem);
    keys_init(config->redis_prefix, db);
    if (!*config->redis_url && !embedded_start(config->state_dir, problem))
        return complain(EXIT_FAILURE, problem);
    if (strcmp(config->processes, "auto") == 0)
        processes = (int)sysconf(_SC_NPROCESSORS_ONLN);
    else
        processes = atoi(config->processes);
    own_redis = !*config->redis_url && processes == 1;
    status = processes > 1 ? supervisor_run(processes, run, *config->redis_url ? NULL : embedded_check, reload) : run();
    embedded_stop();
    return status;
}

static int look_at_redis(void)
{
    char problem[256];

    if (!*config->redis_url) {
        printf("REDIS_URL is not set: a worker starts a private Redis in %s, with the settings it needs\n",
               config->state_dir);
        return EXIT_SUCCESS;
    }
    switch (doctor_run(config->redis_url, stdout, problem)) {
    case DOCTOR_FINE:
        return EXIT_SUCCESS;
    case DOCTOR_LOSES:
        return EXIT_FAILURE;
    case DOCTOR_FAILED:
        break;
    }
    return complain(EXIT_USAGE, problem);
}

static enum log_level log_level(void)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};

    for (int i = 0; i < 4; i++)
        if (strcmp(config->log_level, names[i]) == 0)
            return (enum log_level)i;
    return config->environment == ENVIRONMENT_PRODUCTION ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

/* SIGHUP only reloads. Before there is a loop it waits for that; after it, it is ignored. */
static void hold_hangup(void)
{
    sigset_t hangup;

    signal(SIGHUP, SIG_IGN);
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hangup, NULL);
}

int main(int argc, char **argv)
{
    char problem[256];
    int status = EXIT_SUCCESS;

    log_unblock();
    if (sodium_init() < 0)
        return complain(EXIT_FAILURE, "libsodium cannot be initialised");
    signal(SIGPIPE, SIG_IGN);
    hold_hangup();
    switch (config_load(argc, argv, problem)) {
    case CONFIG_HELP:
        config_help(stdout);
        break;
    case CONFIG_VERSION:
        printf("signalbox-worker %s\n", SIGNALBOX_VERSION);
        break;
    case CONFIG_BAD:
        status = complain(EXIT_USAGE, problem);
        break;
    case CONFIG_CHECK_REDIS:
        status = look_at_redis();
        break;
    case CONFIG_OK:
        log_init(log_level(), config->log_format == LOG_FORMAT_TEXT, config->environment == ENVIRONMENT_PRODUCTION);
        status = start();
        break;
    }
    tls_fini();
    redis_tls_fini();
    config_fini();
    return status;
}
