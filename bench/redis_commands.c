/* SPDX-License-Identifier: MIT */
/* signalbox-redis-commands: what the connection to Redis costs a worker. Calls a script again and again, a number of
   calls under way at a time, and prints the CPU time that this process spends for each, µs: the best of some rounds.
   The Redis is that of REDIS_URL, with the options of a worker; the argument is the number of calls under way. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "signalbox/config.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/redis.h"

#define CALLS 20000 /* in a round */
#define ROUNDS 7
#define SCRIPT "return {1, ARGV[1]}"
#define SCRIPT_SHA1 "a155e6576cb1441e5608a384e4fce92628563698"

static int under_way, round_number;
static long left;
static double begun, best;

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void call(void);

static void begin_round(void)
{
    left = CALLS;
    begun = cpu_us();
    for (int i = 0; i < under_way; i++)
        call();
}

static void end_round(void)
{
    double each = (cpu_us() - begun) / CALLS;

    if (round_number > 0 && (round_number == 1 || each < best)) /* the first one warms up */
        best = each;
    if (++round_number <= ROUNDS)
        begin_round();
    else
        loop_stop();
}

static void on_answer(const struct reply *r, void *arg)
{
    (void)arg;
    if (!r) {
        fprintf(stderr, "signalbox-redis-commands: a call was lost\n");
        exit(EXIT_FAILURE);
    }
    if (--left == 0)
        end_round();
    else if (left >= under_way)
        call();
}

static void call(void)
{
    redis_command(on_answer, NULL, "EVALSHA", SCRIPT_SHA1, "1", "sb:{bench}", "1234567", "66766dfd.16777216", NULL);
}

static void on_up(void)
{
    redis_command(NULL, NULL, "SCRIPT", "LOAD", SCRIPT, NULL);
    begin_round();
}

/* The guard of the connection, which is all that is wanted here. */
static void on_connected(void)
{
    redis_open();
}

int main(int argc, char **argv)
{
    char problem[256];

    under_way = argc == 2 ? atoi(argv[1]) : 0;
    if (under_way < 1 || config_load(1, argv, problem) != CONFIG_OK || redis_url_db(config->redis_url, problem) < 0) {
        fprintf(stderr, "usage: REDIS_URL=… signalbox-redis-commands calls-under-way\n");
        return EXIT_FAILURE;
    }
    log_init(LOG_LEVEL_ERROR, true, false);
    loop_init();
    if (!redis_init(config->redis_url, "bench", on_connected, on_up, problem))
        return EXIT_FAILURE;
    loop_run();
    printf("%.3f\n", best);
    return EXIT_SUCCESS;
}
