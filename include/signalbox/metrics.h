/* SPDX-License-Identifier: MIT */
/* metrics: the numbers of this worker, in the Prometheus text format 0.0.4.
   A family is made once with the names of its labels; a series is one combination of their values.
   Keep the pointer to a series where it is counted often. All live until metrics_fini(). */
#pragma once

#include "signalbox/bytes.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
struct metric_family;
struct metric;

/* labels: names separated by spaces, "" for none. The same name again gives the same family. */
struct metric_family *metric_family(enum metric_kind kind, const char *name, const char *help, const char *labels);

/* As many values as the family has labels; made at its first use. */
struct metric *metric_series(struct metric_family *family, ...);

/* A family without labels, and its one series. */
struct metric *metric_counter(const char *name, const char *help);
struct metric *metric_gauge(const char *name, const char *help);
struct metric *metric_histogram(const char *name, const char *help); /* seconds, 50 µs to 10 s */

void metric_add(struct metric *m, double amount); /* counters and gauges */
void metric_set(struct metric *m, double value);  /* gauges */
void metric_observe(struct metric *m, double value);
double metric_value(const struct metric *m); /* of a histogram: how many were observed */

/* Called before each rendering, to set what is only known when asked. */
void metrics_on_collect(void (*collect)(void));
void metrics_render(struct builder *out); /* also the process_ metrics, read from /proc */
void metrics_fini(void);
