/* SPDX-License-Identifier: MIT */
#include "signalbox/metrics.h"

#include <dirent.h>
#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define uthash_malloc(size) mem_alloc(size)
#include <uthash.h>

#define INTEGER_MOST 9007199254740992.0 /* 2^53: up to here a double is exact without a fraction */

static const double bounds[] = {50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3,
                                50e-3, 100e-3, 250e-3, 500e-3, 1,    2.5,    5,    10};
#define BOUNDS (sizeof(bounds) / sizeof(bounds[0]))

struct metric {
    double value;   /* of a histogram: the sum */
    uint64_t count; /* histograms only, from here */
    uint64_t *buckets;
    char *labels; /* as rendered between the braces: the key */
    UT_hash_handle hh;
};

struct metric_family {
    char *name, *help, *labels;
    enum metric_kind kind;
    struct metric *series;
    UT_hash_handle hh;
};

/* uthash walks in the order of insertion, which is the order of the output. */
static struct metric_family *families;
static void (**collectors)(void);
static size_t collector_count;

struct metric_family *metric_family(enum metric_kind kind, const char *name, const char *help, const char *labels)
{
    struct metric_family *family;

    HASH_FIND_STR(families, name, family);
    if (!family) {
        family = mem_alloc(sizeof(*family));
        family->name = mem_dup(name);
        family->help = mem_dup(help);
        family->labels = mem_dup(labels);
        family->kind = kind;
        HASH_ADD_KEYPTR(hh, families, family->name, strlen(family->name), family);
    }
    if (family->kind != kind || strcmp(family->labels, labels) != 0)
        abort();
    return family;
}

/* The text format escapes \ and line breaks everywhere, and " in the values of labels. */
static void add_escaped(struct builder *out, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            builder_text(out, "\\n");
        else if (*text == '\\')
            builder_text(out, "\\\\");
        else if (*text == '"' && quotes)
            builder_text(out, "\\\"");
        else
            builder_add(out, (struct span){text, 1});
    }
}

static void add_labels(struct builder *out, const char *names, va_list values)
{
    for (size_t len; *names; names += len + (names[len] == ' ')) {
        len = strcspn(names, " ");
        if (builder_len(out))
            builder_text(out, ",");
        builder_add(out, (struct span){names, len});
        builder_text(out, "=\"");
        add_escaped(out, va_arg(values, const char *), true);
        builder_text(out, "\"");
    }
}

static struct metric *series_new(struct metric_family *family, struct span labels)
{
    struct metric *m = mem_alloc(sizeof(*m));

    m->labels = span_dup(labels);
    if (family->kind == METRIC_HISTOGRAM)
        m->buckets = mem_alloc((BOUNDS + 1) * sizeof(*m->buckets));
    HASH_ADD_KEYPTR(hh, family->series, m->labels, labels.len, m);
    return m;
}

struct metric *metric_series(struct metric_family *family, ...)
{
    struct builder key = {0};
    struct metric *m;
    va_list values;

    va_start(values, family);
    add_labels(&key, family->labels, values);
    va_end(values);

    struct bytes *labels = builder_take(&key);
    HASH_FIND(hh, family->series, bytes_data(labels), bytes_len(labels), m);
    if (!m)
        m = series_new(family, bytes_span(labels));
    bytes_unref(labels);
    return m;
}

struct metric *metric_counter(const char *name, const char *help)
{
    return metric_series(metric_family(METRIC_COUNTER, name, help, ""));
}

struct metric *metric_gauge(const char *name, const char *help)
{
    return metric_series(metric_family(METRIC_GAUGE, name, help, ""));
}

struct metric *metric_histogram(const char *name, const char *help)
{
    return metric_series(metric_family(METRIC_HISTOGRAM, name, help, ""));
}

void metric_add(struct metric *m, double amount)
{
    m->value += amount;
}

void metric_set(struct metric *m, double value)
{
    m->value = value;
}

void metric_observe(struct metric *m, double value)
{
    size_t i = 0;

    while (i < BOUNDS && !(value <= bounds[i]))
        i++;
    m->buckets[i]++;
    m->count++;
    m->value += value;
}

double metric_value(const struct metric *m)
{
    return m->buckets ? (double)m->count : m->value;
}

void metrics_on_collect(void (*collect)(void))
{
    collectors = mem_grow(collectors, (collector_count + 1) * sizeof(*collectors));
    collectors[collector_count++] = collect;
}

/* Whole numbers without a fraction, others in the fewest digits that read back as the same. */
static void add_number(struct builder *out, double value)
{
    char text[32];

    if (isnan(value) || isinf(value)) {
        builder_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (fabs(value) <= INTEGER_MOST && value == (double)(long long)value) {
        builder_printf(out, "%lld", (long long)value);
        return;
    }
    for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    builder_text(out, text);
}

static void add_sample(struct builder *out, const char *name, const char *suffix, const char *labels, double value)
{
    builder_text(out, name);
    builder_text(out, suffix);
    if (*labels)
        builder_printf(out, "{%s}", labels);
    builder_text(out, " ");
    add_number(out, value);
    builder_text(out, "\n");
}

static void add_head(struct builder *out, enum metric_kind kind, const char *name, const char *help)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    builder_printf(out, "# HELP %s ", name);
    add_escaped(out, help, false);
    builder_printf(out, "\n# TYPE %s %s\n", name, kinds[kind]);
}

static void add_histogram(struct builder *out, const char *name, const struct metric *m)
{
    uint64_t below = 0;

    for (size_t i = 0; i <= BOUNDS; i++) {
        below += m->buckets[i];
        builder_printf(out, "%s_bucket{%s%sle=\"", name, m->labels, *m->labels ? "," : "");
        add_number(out, i < BOUNDS ? bounds[i] : HUGE_VAL);
        builder_printf(out, "\"} %llu\n", (unsigned long long)below);
    }
    add_sample(out, name, "_sum", m->labels, m->value);
    add_sample(out, name, "_count", m->labels, (double)m->count);
}

static void add_family(struct builder *out, const struct metric_family *family)
{
    add_head(out, family->kind, family->name, family->help);
    for (const struct metric *m = family->series; m; m = m->hh.next) {
        if (family->kind == METRIC_HISTOGRAM)
            add_histogram(out, family->name, m);
        else
            add_sample(out, family->name, "", m->labels, m->value);
    }
}

/* What /proc and the kernel tell of this process; below 0: unknown, and left out. */
struct process {
    double cpu_seconds, resident_bytes, virtual_bytes, open_fds, max_fds, start_seconds;
};

static const struct process_metric {
    const char *name;
    enum metric_kind kind;
    size_t field;
    const char *help;
} process_metrics[] = {
    {"process_cpu_seconds_total", METRIC_COUNTER, offsetof(struct process, cpu_seconds),
     "User and system CPU time in seconds."},
    {"process_resident_memory_bytes", METRIC_GAUGE, offsetof(struct process, resident_bytes),
     "Resident memory in bytes."},
    {"process_virtual_memory_bytes", METRIC_GAUGE, offsetof(struct process, virtual_bytes), "Virtual memory in bytes."},
    {"process_open_fds", METRIC_GAUGE, offsetof(struct process, open_fds), "Open file descriptors."},
    {"process_max_fds", METRIC_GAUGE, offsetof(struct process, max_fds), "File descriptors that may be open."},
    {"process_start_time_seconds", METRIC_GAUGE, offsetof(struct process, start_seconds),
     "Start of the process in seconds since 1970."},
};

/* When the machine was started, in seconds since 1970. It does not change, and the file is long: read once. */
static double boot_seconds(void)
{
    static long long seconds = -1;
    char line[256];
    FILE *file;

    if (seconds >= 0 || !(file = fopen("/proc/stat", "re")))
        return (double)seconds;
    while (seconds < 0 && fgets(line, sizeof(line), file))
        if (strncmp(line, "btime ", 6) == 0)
            seconds = atoll(line + 6);
    fclose(file);
    return (double)seconds;
}

static void read_stat(struct process *p)
{
    unsigned long long user, system, start, size, pages;
    char text[1024], *fields;
    FILE *file = fopen("/proc/self/stat", "re");

    if (!file)
        return;
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);

    /* The name of the program stands in parentheses and may itself hold any character. */
    fields = strrchr(text, ')');
    if (!fields || sscanf(fields + 1,
                          " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu"
                          " %*s %*s %*s %*s %*s %*s %llu %llu %llu",
                          &user, &system, &start, &size, &pages) != 5)
        return;

    double ticks = (double)sysconf(_SC_CLK_TCK);
    p->cpu_seconds = (double)(user + system) / ticks;
    p->virtual_bytes = (double)size;
    p->resident_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
    if (boot_seconds() >= 0)
        p->start_seconds = boot_seconds() + (double)start / ticks;
}

static double count_fds(void)
{
    struct stat status;
    DIR *dir;
    double count = -3; /* . and .., and the descriptor that reads the directory */

    /* Since Linux 6.2 the size is the answer; listing thousands of sockets would hold up the loop. */
    if (stat("/proc/self/fd", &status) == 0 && status.st_size > 0)
        return (double)status.st_size;
    if (!(dir = opendir("/proc/self/fd")))
        return -1;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void add_process(struct builder *out)
{
    struct process p = {-1, -1, -1, -1, -1, -1};
    struct rlimit limit;

    read_stat(&p);
    p.open_fds = count_fds();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        p.max_fds = limit.rlim_cur == RLIM_INFINITY ? HUGE_VAL : (double)limit.rlim_cur;
    for (size_t i = 0; i < sizeof(process_metrics) / sizeof(process_metrics[0]); i++) {
        const struct process_metric *row = &process_metrics[i];
        double value = *(const double *)((const char *)&p + row->field);
        if (value < 0)
            continue;
        add_head(out, row->kind, row->name, row->help);
        add_sample(out, row->name, "", "", value);
    }
}

void metrics_render(struct builder *out)
{
    for (size_t i = 0; i < collector_count; i++)
        collectors[i]();
    for (const struct metric_family *family = families; family; family = family->hh.next)
        add_family(out, family);
    add_process(out);
}

static void family_free(struct metric_family *family)
{
    struct metric *m, *next;

    HASH_ITER (hh, family->series, m, next) {
        HASH_DEL(family->series, m);
        free(m->buckets);
        free(m->labels);
        free(m);
    }
    free(family->name);
    free(family->help);
    free(family->labels);
    free(family);
}

void metrics_fini(void)
{
    struct metric_family *family, *next;

    HASH_ITER (hh, families, family, next) {
        HASH_DEL(families, family);
        family_free(family);
    }
    free(collectors);
    collectors = NULL;
    collector_count = 0;
}
