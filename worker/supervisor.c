/* SPDX-License-Identifier: MIT */
#include "signalbox/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "signalbox/bytes.h"
#include "signalbox/log.h"

#define BACKOFF_LEAST_MS 100
#define BACKOFF_MOST_MS 10000
#define STEADY_MS 10000 /* who ran so long has earned a quick restart */

struct child {
    pid_t pid;
    long long started_ms, start_at_ms, backoff_ms;
};

static struct child *children;
static int count;
static sigset_t handled, before;
static int failed; /* the status of a worker that ended by itself: it has said why, and would again */

static long long now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void start(struct child *c, int (*run)(void))
{
    pid_t parent = getpid();

    c->started_ms = now_ms();
    c->pid = fork();
    if (c->pid == 0) {
        int status;

        prctl(PR_SET_PDEATHSIG, SIGTERM);
        sigprocmask(SIG_SETMASK, &before, NULL);
        status = getppid() == parent ? run() : 1;
        free(children);
        exit(status);
    }
    if (c->pid < 0)
        c->start_at_ms = now_ms() + BACKOFF_MOST_MS;
}

static void restart_later(struct child *c, int status)
{
    bool steady = now_ms() - c->started_ms >= STEADY_MS;

    c->backoff_ms = steady || c->backoff_ms == 0 ? BACKOFF_LEAST_MS : c->backoff_ms * 2;
    if (c->backoff_ms > BACKOFF_MOST_MS)
        c->backoff_ms = BACKOFF_MOST_MS;
    LOG_ERROR("worker_ended", LOG_INT("pid", c->pid), LOG_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
              LOG_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0), LOG_INT("restart_ms", c->backoff_ms));
    c->pid = 0;
    c->start_at_ms = now_ms() + c->backoff_ms;
}

/* Takes note of the children that ended; true if none is left. */
static bool reap(bool stopping)
{
    int status, alive = 0;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < count; i++) {
            if (children[i].pid != pid)
                continue;
            if (!stopping && WIFEXITED(status) && WEXITSTATUS(status) != 0)
                failed = WEXITSTATUS(status);
            if (stopping || failed)
                children[i].pid = 0;
            else
                restart_later(&children[i], status);
        }
    }
    for (int i = 0; i < count; i++)
        alive += children[i].pid > 0;
    return alive == 0;
}

static void signal_all(int number)
{
    for (int i = 0; i < count; i++)
        if (children[i].pid > 0)
            kill(children[i].pid, number);
}

int supervisor_run(int wanted, int (*run)(void), void (*check)(void), void (*reload)(void))
{
    struct timespec tick = {.tv_nsec = 50 * 1000000};
    bool stopping = false;

    count = wanted;
    children = mem_alloc((size_t)count * sizeof(*children));
    sigemptyset(&handled);
    sigaddset(&handled, SIGTERM);
    sigaddset(&handled, SIGINT);
    sigaddset(&handled, SIGCHLD);
    sigaddset(&handled, SIGHUP);
    sigprocmask(SIG_BLOCK, &handled, &before);
    for (;;) {
        int number = sigtimedwait(&handled, NULL, &tick);

        if (number == SIGTERM || number == SIGINT) {
            stopping = true;
            signal_all(SIGTERM);
        } else if (number == SIGHUP) {
            reload();
            signal_all(SIGHUP);
        }
        if (reap(stopping) && (stopping || failed))
            break;
        if (failed && !stopping) {
            stopping = true;
            signal_all(SIGTERM);
        }
        if (check && !stopping)
            check();
        for (int i = 0; i < count && !stopping; i++)
            if (children[i].pid <= 0 && now_ms() >= children[i].start_at_ms)
                start(&children[i], run);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    free(children);
    return failed;
}
