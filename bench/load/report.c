/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KINDS_MAX 32
#define KIND_LEN 100

struct report report;

static struct {
    char text[KIND_LEN + 1];
    uint64_t count;
} kinds[KINDS_MAX];

/* The last place is for all that have none of their own. */
void report_error(const char *text, size_t len)
{
    char kind[KIND_LEN + 1];
    size_t n = len < KIND_LEN ? len : KIND_LEN, i = 0;

    for (size_t at = 0; at < n; at++)
        kind[at] = (char)(text[at] < ' ' || text[at] == '"' || text[at] == '\\' ? '\'' : text[at]);
    kind[n] = '\0';
    while (i < KINDS_MAX - 1 && kinds[i].count && strcmp(kinds[i].text, kind) != 0)
        i++;
    if (kinds[i].count++ == 0)
        snprintf(kinds[i].text, sizeof(kinds[i].text), "%s", i < KINDS_MAX - 1 ? kind : "others");
}

static void print_times(const char *name, const struct histogram *h)
{
    static const struct {
        const char *name;
        double share;
    } rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

    printf(",\"%s\":{", name);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        printf("\"%s\":%" PRIu64 ",", rows[i].name, histogram_quantile(h, rows[i].share));
    printf("\"max\":%" PRIu64 "}", h->most);
}

bool report_print(const char *scenario, size_t clients)
{
    uint64_t accounted = report.arrived + report.refused;
    uint64_t missing = report.sent > accounted ? report.sent - accounted : 0;
    bool clean = missing + report.refused + report.wrong + report.strange == 0 && kinds[0].count == 0;

    printf("{\"scenario\":\"%s\",\"clients\":%zu,\"clean\":%s,\"seconds\":%.3f,\"messages\":%" PRIu64
           ",\"deliveries\":%" PRIu64,
           scenario, clients, clean ? "true" : "false", report.seconds, report.messages, report.deliveries);
    print_times("latency_us", &report.times);
    printf(",\"connects\":{\"count\":%" PRIu64 ",\"seconds\":%.3f}", report.connects.count, report.connect_seconds);
    print_times("connect_us", &report.connects);
    printf(",\"returned\":{\"count\":%" PRIu64 ",\"seconds\":%.3f}", report.returned, report.return_seconds);
    printf(",\"sent\":%" PRIu64 ",\"missing\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"wrong\":%" PRIu64
           ",\"strange\":%" PRIu64 ",\"errors\":{",
           report.sent, missing, report.refused, report.wrong, report.strange);
    for (size_t i = 0; i < KINDS_MAX && kinds[i].count; i++)
        printf("%s\"%s\":%" PRIu64, i ? "," : "", kinds[i].text, kinds[i].count);
    printf("}}\n");
    return clean;
}
