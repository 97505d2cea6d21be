/* SPDX-License-Identifier: MIT */
#include "signalbox/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char rendered[65536];

static const char *render(void)
{
    struct builder out = {0};

    metrics_render(&out);
    struct bytes *b = builder_take(&out);
    assert_true(bytes_len(b) < sizeof(rendered));
    memcpy(rendered, bytes_data(b), bytes_len(b));
    rendered[bytes_len(b)] = '\0';
    bytes_unref(b);
    return rendered;
}

static void assert_rendered(const char *lines)
{
    if (!strstr(render(), lines))
        fail_msg("%s\nis not in\n%s", lines, rendered);
}

/* The value of a sample without labels. */
static double sample(const char *name)
{
    char start[64];

    snprintf(start, sizeof(start), "\n%s ", name);
    const char *line = strstr(rendered, start);
    assert_non_null(line);
    return line ? strtod(line + strlen(start), NULL) : 0;
}

static int forget_metrics(void **state)
{
    (void)state;
    metrics_fini();
    return 0;
}

static void a_counter_is_rendered_with_help_and_type(void **state)
{
    struct metric *m = metric_counter("signalbox_a_total", "Things that\nhappened \\ \"here\".");

    (void)state;
    metric_add(m, 1);
    metric_add(m, 2);
    assert_true(metric_value(m) == 3);
    assert_rendered("# HELP signalbox_a_total Things that\\nhappened \\\\ \"here\".\n"
                    "# TYPE signalbox_a_total counter\n"
                    "signalbox_a_total 3\n");
}

static void a_gauge_goes_up_and_down(void **state)
{
    struct metric *m = metric_gauge("signalbox_g", "A gauge.");

    (void)state;
    metric_set(m, 10);
    metric_add(m, -12.5);
    assert_rendered("# TYPE signalbox_g gauge\nsignalbox_g -2.5\n");
}

static void the_same_name_and_labels_give_the_same_series(void **state)
{
    struct metric_family *family = metric_family(METRIC_COUNTER, "signalbox_m_total", "M.", "dialect type");
    struct metric *offer = metric_series(family, "relay", "offer");

    (void)state;
    assert_ptr_equal(metric_family(METRIC_COUNTER, "signalbox_m_total", "M.", "dialect type"), family);
    assert_ptr_equal(metric_series(family, "relay", "offer"), offer);
    assert_ptr_not_equal(metric_series(family, "relay", "answer"), offer);
    assert_ptr_not_equal(metric_series(family, "offer", "relay"), offer);
    assert_ptr_equal(metric_counter("signalbox_n_total", "N."), metric_counter("signalbox_n_total", "N."));
}

static void values_of_labels_are_escaped_and_never_confused(void **state)
{
    struct metric_family *family = metric_family(METRIC_GAUGE, "signalbox_l", "L.", "a b");

    (void)state;
    metric_set(metric_series(family, "\\ \" \n", ""), 1);
    metric_set(metric_series(family, "x\",b=\"y", "z"), 2);
    metric_set(metric_series(family, "x", "y"), 3);
    assert_rendered("# TYPE signalbox_l gauge\n"
                    "signalbox_l{a=\"\\\\ \\\" \\n\",b=\"\"} 1\n"
                    "signalbox_l{a=\"x\\\",b=\\\"y\",b=\"z\"} 2\n"
                    "signalbox_l{a=\"x\",b=\"y\"} 3\n");
}

static void families_come_in_the_order_of_their_creation_each_with_one_head(void **state)
{
    struct metric_family *first = metric_family(METRIC_COUNTER, "signalbox_z_total", "Z.", "k");

    (void)state;
    metric_add(metric_series(first, "1"), 1);
    metric_add(metric_counter("signalbox_a_total", "A."), 5);
    metric_add(metric_series(first, "0"), 2);
    assert_rendered("# HELP signalbox_z_total Z.\n# TYPE signalbox_z_total counter\n"
                    "signalbox_z_total{k=\"1\"} 1\nsignalbox_z_total{k=\"0\"} 2\n"
                    "# HELP signalbox_a_total A.\n# TYPE signalbox_a_total counter\nsignalbox_a_total 5\n");
}

static void numbers_are_short_and_exact(void **state)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "0"},
        {3, "3"},
        {-7, "-7"},
        {1000000, "1000000"},
        {1.7e12, "1700000000000"},
        {9007199254740992, "9007199254740992"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {1e300, "1e+300"},
        {HUGE_VAL, "+Inf"},
        {-HUGE_VAL, "-Inf"},
        {(double)NAN, "NaN"},
    };
    struct metric *m = metric_gauge("signalbox_n", "N.");

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char line[64];
        metric_set(m, rows[i].value);
        snprintf(line, sizeof(line), "\nsignalbox_n %s\n", rows[i].text);
        assert_rendered(line);
    }
}

static void a_histogram_counts_into_cumulative_buckets(void **state)
{
    static const double values[] = {0, 50e-6, 51e-6, 0.25, 0.25, 10, 11};
    struct metric *m = metric_histogram("signalbox_h_seconds", "H.");

    (void)state;
    for (size_t i = 0; i < COUNT(values); i++)
        metric_observe(m, values[i]);
    assert_int_equal((int)metric_value(m), COUNT(values));
    assert_rendered("# TYPE signalbox_h_seconds histogram\n"
                    "signalbox_h_seconds_bucket{le=\"5e-05\"} 2\n"
                    "signalbox_h_seconds_bucket{le=\"0.0001\"} 3\n");
    assert_rendered("_bucket{le=\"0.1\"} 3\nsignalbox_h_seconds_bucket{le=\"0.25\"} 5\n");
    assert_rendered("_bucket{le=\"5\"} 5\n"
                    "signalbox_h_seconds_bucket{le=\"10\"} 6\n"
                    "signalbox_h_seconds_bucket{le=\"+Inf\"} 7\n"
                    "signalbox_h_seconds_sum 21.500101\n"
                    "signalbox_h_seconds_count 7\n");
}

static void a_histogram_with_labels_keeps_them_in_every_line(void **state)
{
    struct metric_family *family = metric_family(METRIC_HISTOGRAM, "signalbox_r_seconds", "R.", "script");

    (void)state;
    metric_observe(metric_series(family, "register"), 0.5);
    assert_rendered("signalbox_r_seconds_bucket{script=\"register\",le=\"+Inf\"} 1\n"
                    "signalbox_r_seconds_sum{script=\"register\"} 0.5\n"
                    "signalbox_r_seconds_count{script=\"register\"} 1\n");
}

static void set_late(void)
{
    metric_set(metric_gauge("signalbox_late", "L."), metric_value(metric_gauge("signalbox_late", "L.")) + 1);
}

static void set_later(void)
{
    metric_set(metric_gauge("signalbox_later", "L."), 8);
}

static void collectors_run_before_each_rendering(void **state)
{
    (void)state;
    metrics_on_collect(set_late);
    metrics_on_collect(set_later);
    assert_rendered("\nsignalbox_late 1\n");
    assert_rendered("\nsignalbox_late 2\n");
    assert_rendered("\nsignalbox_later 8\n");
    metrics_fini();
    assert_null(strstr(render(), "signalbox_late"));
}

static void the_process_is_described_under_the_standard_names(void **state)
{
    (void)state;
    render();
    double fds = sample("process_open_fds"), cpu = sample("process_cpu_seconds_total");
    assert_true(cpu >= 0 && cpu < 600);
    assert_true(sample("process_resident_memory_bytes") > 100000);
    assert_true(sample("process_virtual_memory_bytes") >= sample("process_resident_memory_bytes"));
    assert_true(sample("process_max_fds") >= fds);
    assert_true(fabs(sample("process_start_time_seconds") - (double)time(NULL)) < 600);
    assert_non_null(strstr(rendered, "# TYPE process_cpu_seconds_total counter\n"));
    assert_non_null(strstr(rendered, "# TYPE process_open_fds gauge\n"));

    int more[] = {dup(0), dup(0), dup(0)};
    render();
    assert_true(sample("process_open_fds") == fds + 3);
    for (size_t i = 0; i < COUNT(more); i++)
        close(more[i]);
}

int main(void)
{
#define FRESH(test) cmocka_unit_test_teardown(test, forget_metrics)
    const struct CMUnitTest tests[] = {
        FRESH(a_counter_is_rendered_with_help_and_type),
        FRESH(a_gauge_goes_up_and_down),
        FRESH(the_same_name_and_labels_give_the_same_series),
        FRESH(values_of_labels_are_escaped_and_never_confused),
        FRESH(families_come_in_the_order_of_their_creation_each_with_one_head),
        FRESH(numbers_are_short_and_exact),
        FRESH(a_histogram_counts_into_cumulative_buckets),
        FRESH(a_histogram_with_labels_keeps_them_in_every_line),
        FRESH(collectors_run_before_each_rendering),
        FRESH(the_process_is_described_under_the_standard_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
