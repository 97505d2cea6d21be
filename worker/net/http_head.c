/* SPDX-License-Identifier: MIT */
#include "signalbox/http_head.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINE_BESIDE_TARGET 64 /* bytes of a first line: its method and version */

static const struct http_fault malformed = {400, "Malformed request"}, bad_target = {400, "Malformed request target"},
                               bad_field = {400, "Malformed header field"},
                               bad_host = {400, "Malformed or missing Host"},
                               bad_length = {400, "Malformed Content-Length"},
                               bad_coding = {400, "Malformed Transfer-Encoding"}, long_target = {414, "URI Too Long"},
                               long_head = {431, "Request Header Fields Too Large"},
                               bad_expectation = {417, "Expectation Failed"}, not_ours = {501, "Not Implemented"},
                               odd_version = {505, "HTTP Version Not Supported"};

static bool is_token(unsigned char c)
{
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t token_len(struct span text)
{
    size_t len = 0;

    while (len < text.len && is_token((unsigned char)text.at[len]))
        len++;
    return len;
}

static bool is_word(struct span text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

/* --- the end of a head --- */

/* Of a byte of a head. Tabs are fine inside of fields, and nowhere in the first line, which is read by itself. */
static bool may_follow(unsigned char c, unsigned char before)
{
    if (before == '\r' || c == '\n')
        return before == '\r' && c == '\n';
    return (c >= ' ' && c != 0x7f) || c == '\t' || c == '\r';
}

/* Why the byte at which the scan stands cannot be there; the same however it came. NULL: it can. */
static const struct http_fault *fault_at(const struct http_head_scan *scan, struct span in)
{
    if (scan->line == scan->begin && scan->at >= HEAD_TARGET_MAX + LINE_BESIDE_TARGET)
        return &long_target;
    if (scan->at >= HEAD_BYTES_MAX)
        return &long_head;
    if (!may_follow((unsigned char)in.at[scan->at], scan->at ? (unsigned char)in.at[scan->at - 1] : 0))
        return &malformed;
    return NULL;
}

size_t http_head_end(struct http_head_scan *scan, struct span in, struct http_fault *fault)
{
    for (; scan->at < in.len; scan->at++) {
        const struct http_fault *found = fault_at(scan, in);
        bool ends = in.at[scan->at] == '\n', empty = scan->at - scan->line == 1;

        if (!found && ends && empty && scan->line > scan->begin)
            return scan->at + 1;
        if (!found && ends && empty && scan->begin > 0)
            found = &malformed;
        if (found) {
            *fault = *found;
            return 0;
        }
        if (!ends)
            continue;
        scan->line = scan->at + 1;
        if (scan->at == 1)
            scan->begin = 2;
    }
    return 0;
}

/* --- its lines --- */

bool http_is_field_line(struct span line)
{
    size_t name = token_len(line);

    return name > 0 && name < line.len && line.at[name] == ':';
}

/* Takes the first line off text, without its end. Every line has one. */
static struct span next_line(struct span *text)
{
    const char *end = memchr(text->at, '\n', text->len);
    struct span line = {text->at, (size_t)(end - text->at) - 1};

    *text = (struct span){end + 1, text->len - line.len - 2};
    return line;
}

/* METHOD SP TARGET SP HTTP/1.x */
static bool check_request_line(struct span line, struct http_fault *fault)
{
    size_t method = token_len(line), version = line.len;
    const char *v;

    while (version > 0 && line.at[version - 1] != ' ')
        version--;
    if (method == 0 || method >= line.len || line.at[method] != ' ' || version < method + 3) {
        *fault = malformed;
        return false;
    }
    for (size_t i = method + 1; i + 1 < version; i++) {
        unsigned char c = (unsigned char)line.at[i];

        if (c <= ' ' || c >= 0x7f || c == '#') {
            *fault = bad_target;
            return false;
        }
    }
    v = line.at + version;
    if (line.len - version != 8 || memcmp(v, "HTTP/", 5) != 0 || v[5] < '0' || v[5] > '9' || v[6] != '.' ||
        v[7] < '0' || v[7] > '9')
        *fault = malformed;
    else if (v[5] != '1')
        *fault = odd_version;
    else if (version - method - 2 > HEAD_TARGET_MAX)
        *fault = long_target;
    return fault->status == 0;
}

static bool check_lines(struct span text, size_t *fields, struct http_fault *fault)
{
    struct span line = next_line(&text);

    *fields = 0;
    if (!check_request_line(line, fault))
        return false;
    while ((line = next_line(&text)).len > 0) {
        if (!http_is_field_line(line))
            *fault = bad_field;
        else if (++*fields > HEAD_FIELDS_MAX)
            *fault = long_head;
        if (fault->status)
            return false;
    }
    return true;
}

/* --- what http-parser finds --- */

static int on_url(http_parser *p, const char *at, size_t len)
{
    struct http_head *h = p->data;

    h->raw_path = (struct span){at, len};
    return 0;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
    struct http_head *h = p->data;

    h->fields[h->fields_count].name = (struct span){at, len};
    return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
    struct http_head *h = p->data;

    h->fields[h->fields_count++].value = span_trim((struct span){at, len}); /* called for empty ones, too */
    return 0;
}

static bool parse(struct http_head *h, size_t len, struct http_fault *fault)
{
    static const http_parser_settings settings = {
        .on_url = on_url, .on_header_field = on_field, .on_header_value = on_value};

    http_parser_init(&h->parser, HTTP_REQUEST);
    h->parser.data = h;
    http_parser_execute(&h->parser, &settings, h->bytes, len);
    switch (HTTP_PARSER_ERRNO(&h->parser)) {
    case HPE_OK:
        return true;
    case HPE_INVALID_METHOD:
        *fault = not_ours;
        break;
    case HPE_INVALID_URL:
        *fault = bad_target;
        break;
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        *fault = bad_length;
        break;
    case HPE_INVALID_TRANSFER_ENCODING:
        *fault = bad_coding;
        break;
    default:
        *fault = malformed;
    }
    return false;
}

/* --- fields --- */

struct span http_head_field(const struct http_head *h, const char *name)
{
    for (size_t i = 0; i < h->fields_count; i++)
        if (is_word(h->fields[i].name, name))
            return h->fields[i].value;
    return (struct span){"", 0};
}

size_t http_head_count(const struct http_head *h, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < h->fields_count; i++)
        count += is_word(h->fields[i].name, name);
    return count;
}

static bool lists(struct span list, const char *word)
{
    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.at) : list.len;

        if (is_word(span_trim((struct span){list.at, len}), word))
            return true;
        len += comma != NULL;
        list = (struct span){list.at + len, list.len - len};
    }
    return false;
}

bool http_head_lists(const struct http_head *h, const char *name, const char *word)
{
    for (size_t i = 0; i < h->fields_count; i++)
        if (is_word(h->fields[i].name, name) && lists(h->fields[i].value, word))
            return true;
    return false;
}

char *http_head_joined(const struct http_head *h, const char *name)
{
    struct builder all = {0};
    char *text;

    for (size_t i = 0; i < h->fields_count; i++) {
        if (!is_word(h->fields[i].name, name))
            continue;
        builder_text(&all, builder_len(&all) ? "," : "");
        builder_add(&all, h->fields[i].value);
    }
    text = all.bytes ? span_dup(bytes_span(all.bytes)) : mem_dup("");
    builder_free(&all);
    return text;
}

/* --- what the fields say --- */

/* uri-host [ ":" port ] (RFC 9110 section 7.2), by the characters that it may be made of. */
static bool is_host(struct span host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!is_token((unsigned char)host.at[i]) && !strchr("()[],;=:", host.at[i]))
            return false;
    return true;
}

static bool check_host(const struct http_head *h)
{
    size_t count = http_head_count(h, "host");

    return (count == 1 || (count == 0 && h->http_1_0)) && is_host(http_head_field(h, "host"));
}

/* Chunks are all that is understood. Of a coding on top of them a proxy would know the end, of any other not. */
static struct http_fault read_body_form(struct http_head *h)
{
    size_t codings = http_head_count(h, "transfer-encoding");
    struct span coding = http_head_field(h, "transfer-encoding");
    const char *comma = memchr(coding.at, ',', coding.len);

    if (codings == 0) {
        h->body_length = h->parser.flags & F_CONTENTLENGTH ? h->parser.content_length : 0;
        return (struct http_fault){0};
    }
    if (codings > 1 || h->http_1_0 || http_head_count(h, "content-length") > 0)
        return bad_coding;
    if (!is_word(coding, "chunked"))
        return comma && !lists((struct span){coding.at, (size_t)(comma - coding.at)}, "chunked") ? not_ours
                                                                                                 : bad_coding;
    h->chunked = true;
    return (struct http_fault){0};
}

static struct http_fault read_expectation(struct http_head *h)
{
    if (http_head_count(h, "expect") == 0 || h->http_1_0)
        return (struct http_fault){0};
    if (http_head_count(h, "expect") > 1 || !is_word(http_head_field(h, "expect"), "100-continue"))
        return bad_expectation;
    h->expects_continue = true;
    return (struct http_fault){0};
}

static struct http_fault interpret(struct http_head *h)
{
    struct http_fault fault;

    if (h->parser.method == HTTP_CONNECT)
        return not_ours;
    h->method = (enum http_method)h->parser.method;
    h->http_1_0 = h->parser.http_minor == 0;
    h->keep_alive =
        !http_head_lists(h, "connection", "close") && (!h->http_1_0 || http_head_lists(h, "connection", "keep-alive"));
    h->upgrade = !h->http_1_0 && http_head_lists(h, "connection", "upgrade") && http_head_count(h, "upgrade") > 0;
    if (!check_host(h))
        return bad_host;
    fault = read_body_form(h);
    if (fault.status == 0)
        fault = read_expectation(h);
    if (fault.status == 0 && !http_head_read_target(h))
        fault = bad_target;
    return fault;
}

/* Behind each value is white space or the end of its line. http-parser's empty ones point at the line behind. */
static void end_values(struct http_head *h)
{
    for (size_t i = 0; i < h->fields_count; i++) {
        struct span *value = &h->fields[i].value;

        if (value->len > 0)
            h->bytes[value->at + value->len - h->bytes] = '\0';
        else
            *value = (struct span){"", 0};
    }
}

struct http_head *http_head_new(struct span whole, struct http_fault *fault)
{
    struct http_head *h;
    size_t fields;
    bool parsed;

    *fault = (struct http_fault){0};
    if (whole.len > 1 && whole.at[0] == '\r')
        whole = (struct span){whole.at + 2, whole.len - 2};
    if (!check_lines(whole, &fields, fault))
        return NULL;
    h = mem_alloc(sizeof(*h));
    h->fields = mem_alloc((fields + 1) * sizeof(*h->fields));
    h->len = whole.len;
    h->bytes = span_dup(whole);
    for (char *tab = h->bytes; (tab = strchr(tab, '\t')); tab++)
        *tab = ' '; /* white space to HTTP, and not to http-parser */
    parsed = parse(h, whole.len, fault);
    end_values(h);
    if (parsed)
        *fault = interpret(h);
    return h;
}

void http_head_free(struct http_head *h)
{
    if (!h)
        return;
    sodium_memzero(h->bytes, h->len);
    free(h->bytes);
    free(h->fields);
    free(h->path);
    free(h);
}
