/*
 * Metrics: see metrics.h.  Format: Prometheus "Exposition formats", text 0.0.4.
 * A series is never removed, so readers walk the lists without a lock.
 */
#include "orchestrator/obs/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/fd.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* Upper bounds in nanoseconds: from a cached read (100 us) to the default run limit (900 s). */
#define MS 1000000ull
static const uint64_t bounds_ns[] = {MS / 10, MS / 4, MS / 2, MS, MS * 5 / 2, 5 * MS, 10 * MS, 25 * MS,
    50 * MS, 100 * MS, 250 * MS, 500 * MS, 1000 * MS, 2500 * MS, 5000 * MS, 10000 * MS, 30000 * MS,
    60000 * MS, 300000 * MS, 900000 * MS};
#define N_BOUNDS (sizeof(bounds_ns) / sizeof(bounds_ns[0]))

struct family {
    enum kind kind;
    const char *name;
    const char *labels;
    const char *help;
};
static const struct family families[METRIC_COUNT] = {
#define X(id, kind, name, labels, help) [id] = {kind, name, labels, help},
    METRICS(X)
#undef X
};

struct series {
    struct series *next;
    char *labels[METRIC_LABELS_MAX]; /* owned, NULL when unused */
    atomic_uint_fast64_t value;      /* counter, gauge (two's complement), or the histogram's sum in ns */
    atomic_uint_fast64_t buckets[];  /* histograms: one per bound and one above all; not cumulative */
};

struct metrics {
    _Atomic(struct series *) lists[METRIC_COUNT];
};

/* --- series -------------------------------------------------------------------------------------------------------------------- */

static void series_free(struct series *s)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++)
        free(s->labels[i]);
    free(s);
}

static struct series *series_new(enum metric id, const struct metric_labels *labels)
{
    size_t buckets = families[id].kind == HISTOGRAM ? N_BOUNDS + 1 : 0;
    struct series *s = calloc(1, sizeof(*s) + buckets * sizeof(s->buckets[0]));
    if (!s)
        return NULL;
    for (size_t i = 0; labels && i < METRIC_LABELS_MAX && labels->v[i]; i++) {
        s->labels[i] = strdup(labels->v[i]);
        if (!s->labels[i]) {
            series_free(s);
            return NULL;
        }
    }
    return s;
}

static struct series *series_find(struct series *list, const struct metric_labels *labels)
{
    for (struct series *s = list; s; s = s->next) {
        bool same = true;
        for (size_t i = 0; labels && same && i < METRIC_LABELS_MAX && labels->v[i]; i++)
            same = s->labels[i] && strcmp(s->labels[i], labels->v[i]) == 0;
        if (same)
            return s;
    }
    return NULL;
}

/* The series of id with labels, made when missing. NULL: out of memory. */
static struct series *series_get(struct metrics *m, enum metric id, const struct metric_labels *labels)
{
    struct series *head = atomic_load_explicit(&m->lists[id], memory_order_acquire);
    struct series *s = series_find(head, labels);
    if (s)
        return s;
    struct series *made = series_new(id, labels);
    if (!made)
        return NULL;
    do {
        made->next = head;
        if (atomic_compare_exchange_weak_explicit(
                &m->lists[id], &head, made, memory_order_acq_rel, memory_order_acquire))
            return made;
        s = series_find(head, labels); /* another thread may have been first */
    } while (!s);
    series_free(made);
    return s;
}

/* --- samples ------------------------------------------------------------------------------------------------------------------- */

struct metrics *metrics_new(void)
{
    struct metrics *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    for (int id = 0; id < METRIC_COUNT; id++) {
        if (families[id].labels[0] == '\0' && !series_get(m, (enum metric)id, NULL)) {
            metrics_free(m);
            return NULL;
        }
    }
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (int id = 0; id < METRIC_COUNT; id++) {
        struct series *s = m->lists[id];
        while (s) {
            struct series *next = s->next;
            series_free(s);
            s = next;
        }
    }
    free(m);
}

void metrics_count(struct metrics *m, enum metric id, uint64_t n, const struct metric_labels *labels)
{
    struct series *s = series_get(m, id, labels);
    if (s)
        atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

void metrics_gauge_add(struct metrics *m, enum metric id, int64_t delta)
{
    metrics_count(m, id, (uint64_t)delta, NULL);
}

void metrics_gauge_set(struct metrics *m, enum metric id, int64_t value)
{
    struct series *s = series_get(m, id, NULL);
    if (s)
        atomic_store_explicit(&s->value, (uint64_t)value, memory_order_relaxed);
}

void metrics_observe(
    struct metrics *m, enum metric id, int64_t duration_ns, const struct metric_labels *labels)
{
    struct series *s = series_get(m, id, labels);
    if (!s)
        return;
    uint64_t ns = duration_ns > 0 ? (uint64_t)duration_ns : 0;
    size_t i = 0;
    while (i < N_BOUNDS && ns > bounds_ns[i])
        i++;
    atomic_fetch_add_explicit(&s->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->value, ns, memory_order_relaxed);
}

/* --- rendering ----------------------------------------------------------------------------------------------------------------- */

static void render_value(struct buf *out, const char *value)
{
    for (const char *p = value; *p; p++) {
        if (*p == '\n')
            buf_append_str(out, "\\n");
        else if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else
            buf_append_char(out, *p);
    }
}

/* name{labels,le="..."} and a space; le may be NULL. */
static void render_head(
    struct buf *out, const struct family *f, const char *suffix, const struct series *s, const char *le)
{
    buf_printf(out, "%s%s", f->name, suffix);
    char open = '{';
    const char *name = f->labels;
    for (size_t i = 0; *name && i < METRIC_LABELS_MAX; i++) {
        size_t len = strcspn(name, ",");
        buf_printf(out, "%c%.*s=\"", open, (int)len, name);
        render_value(out, s->labels[i] ? s->labels[i] : "");
        buf_append_char(out, '"');
        open = ',';
        name += len + (name[len] == ',');
    }
    if (le)
        buf_printf(out, "%cle=\"%s\"", open, le);
    buf_append_str(out, le || open == ',' ? "} " : " ");
}

static void render_histogram(struct buf *out, const struct family *f, struct series *s)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= N_BOUNDS; i++) {
        char le[32] = "+Inf";
        if (i < N_BOUNDS)
            snprintf(le, sizeof(le), "%g", (double)bounds_ns[i] / 1e9);
        count += atomic_load_explicit(&s->buckets[i], memory_order_relaxed);
        render_head(out, f, "_bucket", s, le);
        buf_printf(out, "%" PRIu64 "\n", count);
    }
    render_head(out, f, "_sum", s, NULL);
    buf_printf(out, "%.9f\n", (double)atomic_load_explicit(&s->value, memory_order_relaxed) / 1e9);
    render_head(out, f, "_count", s, NULL);
    buf_printf(out, "%" PRIu64 "\n", count);
}

static void render_family(struct buf *out, const struct family *f, struct series *s)
{
    static const char *const kinds[] = {[COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, kinds[f->kind]);
    for (; s; s = s->next) {
        if (f->kind == HISTOGRAM) {
            render_histogram(out, f, s);
            continue;
        }
        render_head(out, f, "", s, NULL);
        uint64_t value = atomic_load_explicit(&s->value, memory_order_relaxed);
        if (f->kind == GAUGE)
            buf_printf(out, "%" PRId64 "\n", (int64_t)value);
        else
            buf_printf(out, "%" PRIu64 "\n", value);
    }
}

static void render_one(struct buf *out, const char *name, const char *kind, const char *help, double value)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, kind, name, value);
}

/* Seconds since the epoch at which the kernel started: btime of /proc/stat; 0 when unknown. */
static double boot_time(void)
{
    struct buf text cleanup_buf;
    buf_init(&text, 1u << 20);
    if (file_read("/proc/stat", &text, NULL) < 0)
        return 0;
    const char *line = strstr(buf_str(&text), "\nbtime ");
    return line ? strtod(line + 7, NULL) : 0;
}

static int count_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return -1;
    int n = -3; /* ".", ".." and the directory itself */
    /* cppcheck-suppress readdirCalled ; safe on a stream nobody else has */
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void render_process(struct buf *out)
{
    int fds = count_open_fds();
    if (fds >= 0)
        render_one(out, "process_open_fds", "gauge", "Open file descriptors.", fds);

    struct buf text cleanup_buf;
    buf_init(&text, 4096);
    if (file_read("/proc/self/stat", &text, NULL) < 0)
        return;
    /* Fields are counted from the last ')': the name in field 2 may hold anything. Source: proc(5). */
    const char *p = strrchr(buf_str(&text), ')');
    unsigned long long utime = 0, stime = 0, start = 0;
    long long rss_pages = 0;
    if (!p ||
        sscanf(p + 1,
            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %*u %lld",
            &utime, &stime, &start, &rss_pages) != 4)
        return;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    render_one(out, "process_cpu_seconds_total", "counter", "User and system time.",
        (double)(utime + stime) / ticks);
    render_one(out, "process_resident_memory_bytes", "gauge", "Resident memory.",
        (double)rss_pages * (double)sysconf(_SC_PAGESIZE));
    double boot = boot_time();
    if (boot > 0)
        render_one(out, "process_start_time_seconds", "gauge", "Start, seconds since the epoch.",
            boot + (double)start / ticks);
}

int metrics_render(struct metrics *m, struct buf *out, struct arp_err *err)
{
    for (int id = 0; id < METRIC_COUNT; id++)
        render_family(out, &families[id], atomic_load_explicit(&m->lists[id], memory_order_acquire));
    buf_printf(out,
        "# HELP arp_build_info What is running.\n# TYPE arp_build_info gauge\narp_build_info{version=\"%s\"} "
        "1\n",
        ARP_VERSION);
    render_process(out);
    return buf_error(out, err);
}
