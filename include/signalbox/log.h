/* SPDX-License-Identifier: MIT */
/* log: one event a line on stderr, as JSON or as text (docs/design.md, "Logs and metrics").
   Never give it payloads, keys, tokens or dead drops; pairing codes only as LOG_CODE. */
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

struct log_field {
    const char *name;
    enum { LOG_FIELD_TEXT, LOG_FIELD_NUMBER, LOG_FIELD_CODE } kind;
    const char *text; /* NULL is written as null */
    long long number;
};
#define LOG_TEXT(field, value) ((struct log_field){.name = (field), .kind = LOG_FIELD_TEXT, .text = (value)})
#define LOG_INT(field, value)                                                                                          \
    ((struct log_field){.name = (field), .kind = LOG_FIELD_NUMBER, .number = (long long)(value)})
#define LOG_CODE(field, value) ((struct log_field){.name = (field), .kind = LOG_FIELD_CODE, .text = (value)})

/* as_text: for people; redact: pairing codes are shown as their first and last character. */
void log_init(enum log_level least, bool as_text, bool redact);
/* From now on a line that nobody reads off stderr is dropped and counted, instead of holding up the loop. It opens
   stderr anew, because making it non-blocking would do so for whoever shares it; a socket cannot be opened anew. */
void log_unblock(void);
long long log_dropped(void);      /* lines so far */
void log_plain(const char *line); /* writes a line as it is: at most 4096 bytes, with its end */
void log_worker(const char *wid); /* named in every line from now on; copied */
bool log_wants(enum log_level level);
void log_write(enum log_level level, const char *event,
               const struct log_field *fields); /* ends with a field without a name */

/* LOG_INFO("connection_open", LOG_TEXT("path", path), LOG_INT("connections", n)) */
#define LOG_EVENT(level, event, ...)                                                                                   \
    do {                                                                                                               \
        if (log_wants(level))                                                                                          \
            log_write(level, event, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = 0}});                \
    } while (0)
#define LOG_DEBUG(...) LOG_EVENT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define LOG_INFO(...) LOG_EVENT(LOG_LEVEL_INFO, __VA_ARGS__)
#define LOG_WARNING(...) LOG_EVENT(LOG_LEVEL_WARNING, __VA_ARGS__)
#define LOG_ERROR(...) LOG_EVENT(LOG_LEVEL_ERROR, __VA_ARGS__)

/* A pairing code as production shows it: A****Z, or **** under 3 characters. out holds 16 bytes. */
void log_redact(const char *code, char out[static 16]);
