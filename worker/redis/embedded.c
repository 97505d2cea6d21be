/* SPDX-License-Identifier: MIT */
#include "signalbox/embedded.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "signalbox/log.h"
#include "signalbox/loop.h"

#define WATCH_MS 250
#define START_TRIES 1000    /* 10 ms apart; a big append-only file takes a while */
#define SOCKET_PATH_MAX 107 /* of struct sockaddr_un, without its zero */

static char dir[PATH_MAX], url[PATH_MAX + sizeof("unix:///redis.sock")];
static pid_t server;

static bool fail(char problem[static 256], const char *what)
{
    snprintf(problem, 256, "%s %.100s: %s", what, dir, strerror(errno));
    return false;
}

static bool on_path(const char *program)
{
    const char *path = getenv("PATH");
    char file[PATH_MAX];

    while (path && *path) {
        int len = (int)strcspn(path, ":");
        snprintf(file, sizeof(file), "%.*s/%s", len, path, program);
        if (access(file, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

/* In the child. It inherits the lock, so that nobody starts another one on these files before this one has ended. */
static _Noreturn void become_redis(pid_t parent)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* a Ctrl-C is for us; we stop it when we are done */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || chdir(dir) != 0)
        _exit(1);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", "redis.sock", "--unixsocketperm", "700",
           "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", "--logfile", "redis.log",
           "--daemonize", "no", "--loglevel", "notice", (char *)NULL);
    _exit(127);
}

/* Becomes the one who runs it, if nobody is. */
static bool try_start(void)
{
    char path[PATH_MAX + 16];
    pid_t self = getpid();
    int lock;

    snprintf(path, sizeof(path), "%s/redis.lock", dir);
    lock = open(path, O_RDWR | O_CREAT, 0600);
    if (lock < 0)
        return false;
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
        server = fork();
        if (server == 0)
            become_redis(self);
        LOG_INFO("redis_started", LOG_TEXT("state_dir", dir), LOG_INT("pid", server));
    }
    close(lock);
    return true;
}

void embedded_check(void)
{
    if (server > 0 && waitpid(server, NULL, WNOHANG) != 0) {
        LOG_ERROR("redis_ended", LOG_INT("pid", server));
        server = 0;
    }
    if (server <= 0)
        try_start();
}

static bool answers(void)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok;

    memcpy(at.sun_path, url + strlen("unix://"), strlen(url) - strlen("unix://"));
    ok = fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool answers_in_time(void)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000000};

    for (int i = 0; i < START_TRIES; i++) {
        if (answers())
            return true;
        nanosleep(&pause, NULL);
        embedded_check();
    }
    return false;
}

bool embedded_start(const char *state_dir, char problem[static 256])
{
    if (!on_path("redis-server")) {
        snprintf(problem, 256,
                 "REDIS_URL is not set, and there is no redis-server to start a private one "
                 "(on Debian: apt-get install redis-server)");
        return false;
    }
    snprintf(dir, sizeof(dir), "%s", state_dir);
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return fail(problem, "cannot make the state directory");
    if (!realpath(state_dir, dir))
        return fail(problem, "cannot use the state directory");
    if (strlen(dir) + strlen("/redis.sock") > SOCKET_PATH_MAX) {
        snprintf(problem, 256, "STATE_DIR is too long for a Unix socket: its full path may have %zu bytes",
                 SOCKET_PATH_MAX - strlen("/redis.sock"));
        return false;
    }
    snprintf(url, sizeof(url), "unix://%s/redis.sock", dir);
    if (!try_start())
        return fail(problem, "cannot write in the state directory");
    if (answers_in_time())
        return true;
    snprintf(problem, 256, "the private redis-server does not start; %.100s/redis.log says why", dir);
    return false;
}

const char *embedded_url(void)
{
    return url;
}

static void on_watch(void *arg)
{
    (void)arg;
    embedded_check();
}

void embedded_watch(void)
{
    timer_every(WATCH_MS, on_watch, NULL);
}

void embedded_stop(void)
{
    if (server <= 0)
        return;
    kill(server, SIGTERM);
    while (waitpid(server, NULL, 0) < 0 && errno == EINTR)
        ;
    server = 0;
}
