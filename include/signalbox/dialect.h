/* SPDX-License-Identifier: MIT */
/* dialect: the messages of one protocol as a table. The dispatcher reads the envelope, checks the fields of the
   row, counts, and reports what is wrong; a handler finds its fields valid and in the order of the row. */
#pragma once

#include <stdbool.h>

#include "signalbox/bytes.h"
#include "signalbox/cost.h"
#include "signalbox/err.h"
#include "signalbox/fields.h"
#include "signalbox/session.h"
#include "signalbox/socket_path.h"

/* Borrowed until the handler returns. */
struct message {
    const char *type; /* of its row */
    struct span frame;
    struct value values[FIELDS_MAX];
};

/* Under which REQUIRE_ATTESTATION a message needs a session token. */
enum gate { GATE_ALL, GATE_CHUNKS, GATE_NEVER };

/* Makes the message that tells an error. request_id: of the message that failed, JSON or ""; NULL: it is the one at
   hand, or refused. */
typedef struct bytes *(*error_form)(enum err e, const char *text, const char *request_id);

struct message_type {
    const char *type;
    enum err (*handle)(struct session *s, const struct message *m); /* ERR_NONE: answered, or it will be */
    struct field fields[FIELDS_MAX];
    enum err (*needs)(struct session *s); /* asked before its fields: what keeps it from sending this; NULL: nothing */
    const char *only_with;                /* the row is for messages that have this member; NULL: for all */
    /* How its errors are told; NULL: as those of the dialect. For a row that comes from another dialect's table. */
    error_form wire_error;
    enum gate gate;
    enum err missing; /* said where a required field is absent; ERR_NONE: ERR_MISSING_FIELD */
    struct cost cost; /* its items are the elements of all arrays among its fields, up to `most` of each */
};

/* Of a row whose messages go on to another client. */
#define COST_OF_FORWARD                                                                                                \
    {                                                                                                                  \
        .base = 8, .kib = 6                                                                                            \
    }

/* A socket as it is opened. Borrowed until on_open returns. */
struct opening {
    const char *rest;     /* of the path, behind that of its socket_path */
    const char *ip;       /* of the client */
    const char *argument; /* of the query, "" where there is none */
};

struct refusal {
    unsigned status; /* of HTTP */
    const char *sentence;
    const char *reason; /* a word for metrics and the log */
};

struct dialect {
    const char *name; /* for metrics */
    const struct message_type *types;
    size_t count;
    error_form wire_error;
    void (*on_open)(struct session *s, const struct opening *o); /* NULL: nothing to do */
    void (*on_attested)(struct session *s); /* it has shown a session token after that, maybe not the first; NULL */
    size_t most;                            /* bytes of a message; 0: MAX_MESSAGE_BYTES */
    const char *argument;                   /* that on_open is given of the query; NULL: none */
    const char *const *members; /* looked for beside the rows' fields, or inside of them; ended by NULL; or NULL */
    const struct refusal *(*refuse)(const char *ip); /* of an upgrade; NULL: it is let in. NULL itself: all are */
};

/* Gives d these rows and behind them all of another dialect, whose errors are told as there. The caller frees what is
   returned, after d's last message. */
struct message_type *dialect_join(struct dialect *d, const struct message_type *own, size_t count,
                                  const struct dialect *other);

/* What the dialects of /relay and /signal have in common (docs/design.md, "Errors"). */
#define PUBLIC_KEY_MAX 1024                                                     /* bytes */
struct bytes *wire_error(enum err e, const char *text, const char *request_id); /* {"type":"error","message":TEXT} */
enum err handle_ping(struct session *s, const struct message *m);

/* It has shown a session token that holds, or REQUIRE_ATTESTATION asks for none but with messages about chunks. */
bool is_attested(struct session *s);

/* A member of the message that is being dispatched, or refused; false: it has none of that name, or there is no
   message. */
bool message_member(const char *name, struct span *value);

char *request_id_dup(void); /* of that message: JSON, or "" where it has none that is text; the caller frees it */

/* Sends the answer to a message of that type, which is not at hand any more, and charges for it; takes one reference.
   row NULL: it answers none. */
void session_answer(struct session *s, const struct message_type *row, struct bytes *b);
/* Charges for what was not known when a message of that type came. */
void session_charge_for(struct session *s, const struct message_type *row, double units);

/* As session_fail(), for a message that is not at hand any more. */
void session_fail_as(struct session *s, error_form form, const char *request_id, enum err e, const char *detail);
error_form session_error_form(struct session *s); /* that session_fail() would take */

void dialect_init(void); /* after the domains: the members that their messages may have are kept from then on */
void dialect_fini(void);
const struct json_names *dialect_names(void); /* of the fields and members of all dialects */

/* For net/websocket.c alone: a session whose messages are those of d, and then what it begins with. tokens are what was
   shown at its upgrade, each ended by a zero, and an empty one behind them; a bad one counts as none. */
struct session *dialect_open(const struct dialect *d, struct lws *wsi, const char *ip);
void dialect_opened(struct session *s, const struct opening *o, const char *tokens);
