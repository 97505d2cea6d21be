/* SPDX-License-Identifier: MIT */
#include "signalbox/log.h"
#include "signalbox/span.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define VALUE_MAX_BYTES 1024 /* one long value must not push out the fields behind it */
#define TAIL_BYTES 8         /* kept free for what ends a cut value and the line */

#define ELLIPSIS "\xe2\x80\xa6"
#define REPLACEMENT_CHARACTER "\xef\xbf\xbd"

static enum log_level least_level;
static bool text_lines, hide_codes;
static char worker[64];

static const char *const level_names[] = {"debug", "info", "warning", "error"};

struct line {
    size_t len;
    char text[LINE_MAX_BYTES];
};

/* How it is written without waiting for whoever reads it. */
static enum { LOG_BLOCKING, LOG_OPENED_ANEW, LOG_SENT, LOG_ASKED_FIRST } way;
static int log_fd = STDERR_FILENO;
static struct line unwritten; /* of a line that was written in part */
static long long dropped, dropped_told;

void log_init(enum log_level least, bool as_text, bool redact)
{
    least_level = least;
    text_lines = as_text;
    hide_codes = redact;
}

void log_unblock(void)
{
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
    struct stat status;

    if (fd >= 0) {
        log_fd = fd;
        way = LOG_OPENED_ANEW;
    } else {
        way = fstat(log_fd, &status) == 0 && S_ISSOCK(status.st_mode) ? LOG_SENT : LOG_ASKED_FIRST;
    }
}

void log_worker(const char *wid)
{
    snprintf(worker, sizeof(worker), "%s", wid);
}

bool log_wants(enum log_level level)
{
    return level >= least_level;
}

static size_t character_len(struct span text)
{
    size_t len = utf8_len(text);

    return len ? len : 1;
}

void log_redact(const char *code, char out[static 16])
{
    struct span rest = span_of(code), first = rest, last = rest;
    size_t count = 0;

    for (; rest.len; count++) {
        last = (struct span){rest.at, character_len(rest)};
        if (count == 0)
            first = last;
        rest = (struct span){rest.at + last.len, rest.len - last.len};
    }
    if (count < 3)
        snprintf(out, 16, "****");
    else
        snprintf(out, 16, "%.*s****%.*s", (int)first.len, first.at, (int)last.len, last.at);
}

static void line_put(struct line *line, struct span piece)
{
    if (piece.len > LINE_MAX_BYTES - line->len)
        return; /* never: callers stay clear of the tail */
    memcpy(line->text + line->len, piece.at, piece.len);
    line->len += piece.len;
}

/* Takes one character off text; its form inside the quotes of a JSON string. */
static struct span take_escaped(struct span *text, char room[static 8])
{
    unsigned char c = (unsigned char)text->at[0];
    size_t len = utf8_len(*text);
    struct span piece = {text->at, len};

    if (len == 0)
        piece = SPAN(REPLACEMENT_CHARACTER);
    else if (c == '"' || c == '\\')
        piece = (struct span){room, (size_t)snprintf(room, 8, "\\%c", c)};
    else if (c < 0x20 || c == 0x7f)
        piece = (struct span){room, (size_t)snprintf(room, 8, "\\u%04x", c)};
    len = character_len(*text);
    *text = (struct span){text->at + len, text->len - len};
    return piece;
}

static void put_escaped(struct line *line, const char *value)
{
    struct span rest = span_of(value);
    size_t end = line->len + VALUE_MAX_BYTES;

    if (end > LINE_MAX_BYTES - TAIL_BYTES)
        end = LINE_MAX_BYTES - TAIL_BYTES;
    while (rest.len) {
        char room[8];
        struct span piece = take_escaped(&rest, room);
        if (line->len + piece.len > end) {
            line_put(line, SPAN(ELLIPSIS));
            return;
        }
        line_put(line, piece);
    }
}

static void put_quoted(struct line *line, const char *value)
{
    line_put(line, SPAN("\""));
    put_escaped(line, value);
    line_put(line, SPAN("\""));
}

/* A person reads token=value easier than token="value": quotes only where the end would be unclear. */
static void put_readable(struct line *line, const char *value)
{
    bool bare = *value != '\0';

    for (const char *at = value; *at && bare; at++)
        bare = (unsigned char)*at > ' ' && *at != '"' && *at != '=' && *at != '\\';
    if (bare)
        put_escaped(line, value);
    else
        put_quoted(line, value);
}

static void put_value(struct line *line, const struct log_field *field)
{
    char text[32];

    if (field->kind == LOG_FIELD_NUMBER) {
        snprintf(text, sizeof(text), "%lld", field->number);
        line_put(line, span_of(text));
        return;
    }
    if (!field->text) {
        line_put(line, SPAN("null"));
        return;
    }

    const char *value = field->text;
    if (field->kind == LOG_FIELD_CODE && hide_codes) {
        log_redact(value, text);
        value = text;
    }
    if (text_lines)
        put_readable(line, value);
    else
        put_quoted(line, value);
}

/* A field whose name and number would not fit is left out whole. */
static void put_field(struct line *line, const struct log_field *field)
{
    struct span name = span_of(field->name);

    if (line->len + name.len + 32 > LINE_MAX_BYTES - TAIL_BYTES)
        return;
    line_put(line, text_lines ? SPAN(" ") : SPAN(",\""));
    line_put(line, name);
    line_put(line, text_lines ? SPAN("=") : SPAN("\":"));
    put_value(line, field);
}

static void put_time(struct line *line)
{
    struct timespec now;
    struct tm utc;
    char text[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof(text), text_lines ? "%H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &utc);
    line_put(line, span_of(text));
    snprintf(text, sizeof(text), text_lines ? ".%03ld" : ".%03ldZ", now.tv_nsec / 1000000);
    line_put(line, span_of(text));
}

static void put_head_json(struct line *line, enum log_level level, const char *event)
{
    line_put(line, SPAN("{\"ts\":\""));
    put_time(line);
    line_put(line, SPAN("\""));
    put_field(line, &LOG_TEXT("level", level_names[level]));
    if (worker[0])
        put_field(line, &LOG_TEXT("worker", worker));
    put_field(line, &LOG_TEXT("event", event));
}

static void put_head_text(struct line *line, enum log_level level, const char *event)
{
    char name[16];

    put_time(line);
    snprintf(name, sizeof(name), " %-5s ", level_names[level]);
    line_put(line, span_of(name));
    put_escaped(line, event);
}

static ssize_t put(struct span text)
{
    struct pollfd room = {.fd = log_fd, .events = POLLOUT};
    ssize_t written;

    if (way == LOG_ASKED_FIRST && poll(&room, 1, 0) != 1)
        return -1;
    do
        written = way == LOG_SENT ? sendto(log_fd, text.at, text.len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0)
                                  : write(log_fd, text.at, text.len);
    while (written < 0 && errno == EINTR);
    return written;
}

/* Writes what it can, and keeps the rest. */
static bool put_part(struct span text)
{
    ssize_t written = put(text);

    if (written <= 0)
        return false;
    unwritten.len = text.len - (size_t)written;
    memmove(unwritten.text, text.at + written, unwritten.len);
    return true;
}

/* No line goes out between the parts of another. */
static bool put_line(struct span line)
{
    while (unwritten.len)
        if (!put_part((struct span){unwritten.text, unwritten.len}))
            return false;
    return put_part(line);
}

static void write_line(struct span line)
{
    bool written = put_line(line);

    dropped += !written;
    if (written && dropped > dropped_told) {
        long long lines = dropped - dropped_told;
        dropped_told = dropped;
        LOG_WARNING("log_lines_lost", LOG_INT("lines", lines));
    }
}

long long log_dropped(void)
{
    return dropped;
}

void log_plain(const char *line)
{
    write_line(span_of(line));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line line;
    int saved = errno;

    line.len = 0;
    if (text_lines)
        put_head_text(&line, level, event);
    else
        put_head_json(&line, level, event);
    for (; fields->name; fields++)
        put_field(&line, fields);
    line_put(&line, text_lines ? SPAN("\n") : SPAN("}\n"));
    write_line((struct span){line.text, line.len});
    errno = saved;
}
