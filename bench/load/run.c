/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"
#include "report.h"

#define NS 1000000000ULL
#define PATIENCE_NS (20 * NS) /* while connecting: without any news */
#define STRANGE_LEN 22        /* of a message that is not expected: its type */

struct client *clients;

static const struct scenario *scenario;
static int epoll_fd;
static size_t opened, pending, ready, failed;
static bool told, sending, measuring;
static uint64_t begun_ns, news_ns;
static uint64_t schedule_ns, scheduled; /* open loop: when it began, and how many have been due */

/* --- counts --- */

/* When c's message of that number was to be sent: they go around all clients. */
static uint64_t due_ns(uint64_t place)
{
    return schedule_ns + (uint64_t)((double)place / options.rate * NS);
}

void load_time(const struct client *c, uint64_t number)
{
    uint64_t since = options.rate > 0 ? due_ns((number - 1) * options.clients + c->index) : c->sent_ns;

    if (measuring && since >= begun_ns)
        histogram_add(&report.times, (clock_ns() - since) / 1000);
}

void load_arrived(struct client *c, uint64_t number)
{
    if (number <= c->last || number > c->sent) {
        report.wrong++;
        return;
    }
    c->last = number;
    c->arrived++;
    report.arrived++;
    report.messages += sending && measuring;
}

void load_delivered(void)
{
    report.deliveries += sending && measuring;
}

static void send_one(struct client *c)
{
    c->sent++;
    report.sent++;
    c->sent_ns = clock_ns();
    scenario->send(c);
}

void load_next(struct client *c)
{
    if (sending && options.rate <= 0 && c->state == CLIENT_OPEN)
        send_one(c);
}

/* --- clients --- */

static void turn_ready(struct client *c)
{
    c->ready = true;
    ready++;
    pending--;
    news_ns = clock_ns();
    histogram_add(&report.connects, (news_ns - c->opened_ns) / 1000);
    if (told) {
        report.returned++;
        report.return_seconds = (double)(news_ns - begun_ns) / NS;
    }
}

static void on_opened(struct client *c)
{
    char hello[4096];

    if (*options.hello)
        client_send(c, hello, load_fill(hello, sizeof(hello), options.hello, c));
    if (!*options.welcome)
        turn_ready(c);
}

/* The next of the types in options.welcome; it may say the client's id. */
static void take_welcome(struct client *c, const char *text, size_t len)
{
    const char *type = text_after(text, len, "{\"type\":\""), *want = options.welcome;
    const char *id = text_after(text, len, "\"peer_id\":\"");
    size_t size;

    for (unsigned i = 0; i < c->welcomes; i++)
        want = strchr(want, ',') + 1;
    size = strcspn(want, ",");
    if (!type || (size_t)(text + len - type) <= size || memcmp(type, want, size) != 0 || type[size] != '"')
        return;
    if (c->welcomes++ == 0 && id && text + len - id > 16)
        snprintf(c->id, sizeof(c->id), "%.16s", id);
    if (!want[size])
        turn_ready(c);
}

static bool is_error(const char *text, size_t len)
{
    return text_begins(text, len, "{\"type\":\"error\"") || text_begins(text, len, "{\"type\":\"ERROR\"");
}

/* By what an error says, without what differs from one to the next. */
static void count_error(const char *text, size_t len)
{
    const char *sentence = text_after(text, len, "\"message\":\"");
    const char *end = sentence ? memchr(sentence, '"', len - (size_t)(sentence - text)) : NULL;

    if (end)
        report_error(sentence, (size_t)(end - sentence));
    else
        report_error(text, len);
}

static void on_text(struct client *c, const char *text, size_t len)
{
    if (is_error(text, len)) {
        count_error(text, len);
        if (!c->ready)
            return;
        c->refused++;
        report.refused++;
        load_next(c);
    } else if (!c->ready) {
        take_welcome(c, text, len);
    } else if (schedule_ns && !scenario->text(c, text, len)) {
        report.strange++;
        report_error(text, len < STRANGE_LEN ? len : STRANGE_LEN);
    }
}

static void open_next(struct client *c)
{
    pending++;
    c->welcomes = 0;
    client_open(c, c->port, options.path);
}

static void on_closed(struct client *c, const char *why)
{
    size_t port = 0;

    if (c->ready)
        ready--;
    else
        pending--;
    if (told && options.come_back && !c->returned) {
        while (options.ports[port] != c->port)
            port++;
        c->port = options.ports[(port + 1) % options.port_count];
        c->ready = false;
        c->returned = true;
        open_next(c);
        return;
    }
    failed++;
    c->ready = false;
    report_error(why, strlen(why));
}

/* --- phases --- */

static void send_due(uint64_t now)
{
    for (; due_ns(scheduled) <= now; scheduled++)
        send_one(&clients[scheduled % options.clients]);
}

/* One turn of the loop, which ends at that time at the latest. Returns whether a line came on stdin. */
static bool turn(uint64_t end)
{
    struct epoll_event got[256];
    uint64_t now = clock_ns(), until = end;
    struct timespec wait;
    bool line = false;
    int n;

    if (sending && options.rate > 0) {
        send_due(now);
        if (due_ns(scheduled) < until)
            until = due_ns(scheduled);
        now = clock_ns();
    }
    until = until > now ? until - now : 0;
    wait = (struct timespec){(time_t)(until / NS), (long)(until % NS)};
    n = epoll_pwait2(epoll_fd, got, sizeof(got) / sizeof(got[0]), &wait, NULL);
    for (int i = 0; i < n; i++) {
        if (got[i].data.ptr)
            client_ready(got[i].data.ptr, got[i].events);
        else
            line = true;
    }
    return line;
}

static bool connect_all(void)
{
    uint64_t begin = clock_ns();

    for (size_t i = 0; i < options.clients; i++) {
        clients[i].index = i;
        clients[i].port = options.ports[i % options.homes];
        snprintf(clients[i].id, sizeof(clients[i].id), "c%zu", i);
    }
    news_ns = begin;
    while (ready < options.clients && failed == 0 && clock_ns() < news_ns + PATIENCE_NS) {
        while (opened < options.clients && pending < options.connecting)
            open_next(&clients[opened++]);
        turn(clock_ns() + NS);
    }
    report.connect_seconds = (double)(news_ns - begin) / NS;
    if (ready < options.clients && failed == 0)
        report_error("not welcomed", 12);
    return ready == options.clients;
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void wait_for_line(void)
{
    struct epoll_event e = {EPOLLIN, {.ptr = NULL}};
    char line[64];

    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0)
        return;
    while (!turn(clock_ns() + NS))
        ;
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    if (read(STDIN_FILENO, line, sizeof(line)) <= 0)
        exit(2);
}

static void run_until(uint64_t end)
{
    while (clock_ns() < end && !(options.come_back && report.returned && ready == options.clients))
        turn(end);
}

static void measure(void)
{
    uint64_t end;

    sending = scenario->send != NULL;
    schedule_ns = clock_ns();
    for (size_t i = 0; sending && i < options.clients; i++) {
        if (scenario->sends(&clients[i]))
            load_next(&clients[i]);
    }
    run_until(schedule_ns + (uint64_t)(options.warm_up * NS));
    begun_ns = clock_ns();
    measuring = told = true;
    if (options.come_back)
        report.connects = (struct histogram){0};
    say("begin");
    end = begun_ns + (uint64_t)(options.seconds * NS);
    run_until(end);
    sending = false;
    report.seconds = (double)(clock_ns() - begun_ns) / NS;
    say("end");
    end = clock_ns() + (uint64_t)(options.drain * NS);
    while (report.arrived + report.refused < report.sent && clock_ns() < end)
        turn(end);
}

bool run(const struct scenario *s)
{
    static const struct client_events events = {on_opened, on_text, on_closed};
    bool clean;

    scenario = s;
    clients = calloc(options.clients, sizeof(*clients));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || epoll_fd < 0)
        abort();
    client_init(epoll_fd, options.tls, &events);
    if (s->prepare)
        s->prepare();
    if (connect_all()) {
        say("ready");
        wait_for_line();
        measure();
    }
    clean = report_print(s->name, options.clients);
    for (size_t i = 0; i < options.clients; i++)
        client_close(&clients[i]);
    free(clients);
    close(epoll_fd);
    return clean;
}
