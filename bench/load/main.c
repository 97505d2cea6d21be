/* SPDX-License-Identifier: MIT */
/* signalbox-load: many WebSocket clients on workers that run already. Prints "ready" when all are connected and have
   been welcomed, waits for a line, warms up, prints "begin", measures, prints "end", waits for what is still under way,
   and prints what it saw as one line of JSON. Whoever started it reads the CPU time of the workers at "begin" and
   "end". The exit status is 1 if anything was lost, refused or wrong.

   Closed loop: each sender has one message under way, the next goes out when it has arrived. Open loop (--rate):
   messages go out at that rate whatever happens, and a time counts from when its message should have been sent: a stall
   of the server or of this program shows in the times of all messages that it held up. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "load.h"
#include "run.h"

static const struct scenario *const scenarios[] = {&scenario_idle, &scenario_relay, &scenario_ask, &scenario_room};

struct options options = {
    .path = "/signal",
    .hello = "",
    .welcome = "",
    .ask = "",
    .answer = "",
    .clients = 2,
    .group = 1,
    .bytes = 1024,
    .connecting = 64,
    .seconds = 5,
    .warm_up = 1,
    .drain = 10,
};

static const struct option longs[] = {
    {"ports", required_argument, NULL, 'p'},
    {"homes", required_argument, NULL, 'H'},
    {"tls", no_argument, NULL, 'T'},

    {"path", required_argument, NULL, 'P'},
    {"clients", required_argument, NULL, 'c'},
    {"group", required_argument, NULL, 'g'},
    {"hello", required_argument, NULL, 'h'},
    {"welcome", required_argument, NULL, 'w'},
    {"ask", required_argument, NULL, 'a'},
    {"answer", required_argument, NULL, 'A'},
    {"bytes", required_argument, NULL, 'b'},
    {"connecting", required_argument, NULL, 'C'},
    {"seconds", required_argument, NULL, 's'},
    {"warm-up", required_argument, NULL, 'W'},
    {"rate", required_argument, NULL, 'r'},
    {"drain", required_argument, NULL, 'D'},
    {"come-back", no_argument, NULL, 'B'},
    {NULL, 0, NULL, 0},
};

static void usage(void)
{
    fprintf(
        stderr,
        "signalbox-load idle|relay|ask|room --ports PORT[,PORT…] [option…]\n"
        "  --tls               the workers speak TLS; their certificates are not verified\n"
        "  --path PATH         where to connect to; client n goes to port n modulo how many there are\n"
        "  --clients N         all of them\n"
        "  --group N           clients of a group: a room, in room\n"
        "  --hello TEXT        what a client sends first; %%i is its number, %%g its group's, %%j its place there\n"
        "  --welcome TYPE,…    the messages that have to come before it is ready\n"
        "  --ask TEXT          what it asks in ask; %%n is the question's number, %%m that modulo 16\n"
        "  --answer TYPE       the message that answers\n"
        "  --bytes N           payload of an offer in relay\n"
        "  --connecting N      connect so many at a time\n"
        "  --rate N            open loop: messages a second, of all clients together\n"
        "  --seconds S --warm-up S --drain S\n"
        "  --come-back         whose worker closes connects to the next port, once; done when all are ready again\n");
    exit(2);
}

static void set_ports(char *list)
{
    for (char *port = strtok(list, ","); port && options.port_count < PORTS_MAX; port = strtok(NULL, ","))
        options.ports[options.port_count++] = atoi(port);
}

static void set_option(int letter, char *value)
{
    const struct {
        int letter;
        const char **text;
        size_t *count;
        double *number;
    } rows[] = {
        {'P', .text = &options.path},        {'h', .text = &options.hello},     {'w', .text = &options.welcome},
        {'a', .text = &options.ask},         {'A', .text = &options.answer},    {'c', .count = &options.clients},
        {'g', .count = &options.group},      {'H', .count = &options.homes},    {'b', .count = &options.bytes},
        {'C', .count = &options.connecting}, {'s', .number = &options.seconds}, {'W', .number = &options.warm_up},
        {'D', .number = &options.drain},     {'r', .number = &options.rate},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].letter != letter)
            continue;
        if (rows[i].text)
            *rows[i].text = value;
        if (rows[i].count)
            *rows[i].count = strtoul(value, NULL, 10);
        if (rows[i].number)
            *rows[i].number = strtod(value, NULL);
        return;
    }
    usage();
}

static const struct scenario *scenario_find(const char *name)
{
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(scenarios[i]->name, name) == 0)
            return scenarios[i];
    }
    usage();
    return NULL;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    int letter;

    while ((letter = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (letter == 'p')
            set_ports(optarg);
        else if (letter == 'B')
            options.come_back = true;
        else if (letter == 'T')
            options.tls = true;
        else
            set_option(letter, optarg);
    }
    if (options.homes == 0 || options.homes > options.port_count)
        options.homes = options.port_count;
    if (optind != argc - 1 || options.port_count == 0 || options.clients == 0 || options.group == 0 ||
        options.clients % options.group != 0)
        usage();
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    return run(scenario_find(argv[optind])) ? 0 : 1;
}
