/* SPDX-License-Identifier: MIT */
/* caller: a socket of /signal or of the app dialect, with the pairing code it has registered (docs/design.md, "Pairing
   by code"). A code belongs to a room; the apps' codes belong to the room without a name. */
#pragma once

#include "signalbox/dialect.h"
#include "signalbox/entry.h"
#include "signalbox/keys.h"
#include "signalbox/limits.h"
#include "signalbox/requests.h"
#include "signalbox/turn.h"

#define APP_ROOM ""

struct caller {
    char *room;
    char *code;       /* NULL: not registered */
    char *public_key; /* JSON: a string or null */
    struct bucket pair_requests;
    struct requests requests; /* to pair and to link, made under this code */
};
struct caller *caller_of(struct session *s); /* NULL for a socket of another dialect */
void caller_open(struct session *s, const char *room);

/* Registers a code, releasing another one the caller had. done runs once, later, unless the session has left:
   REGISTERED_HELD if another socket keeps the code; REGISTERED_REFUSED: no more may be stored. */
enum registered { REGISTERED, REGISTERED_HELD, REGISTERED_UNAVAILABLE, REGISTERED_REFUSED };
enum err registered_error(enum registered result);
void caller_register(struct session *s, const char *code, const char *public_key,
                     void (*done)(const struct turn *t, const struct caller *c, enum registered result));

/* Sends `message` to the holder of a code in the caller's room; if there is none the sender gets its dialect's error.
 */
void caller_forward(struct session *s, const char *target, struct builder *message);
void code_entry(char out[static ENTRY_MAX], const char *kind, const char *room, const char *code);
bool code_split(const char *rest, char room[static ID_MAX + 1], const char **code); /* "ROOM TAB CODE" */

/* {"type":TYPE,"from":CODE,"payload":PAYLOAD} */
void wire_forward(struct builder *w, const char *type, const char *from, struct span payload);

/* Counts a request to pair; false: over PAIR_REQUESTS_PER_MINUTE. */
bool caller_may_ask(struct caller *c);

void callers_init(void);
void callers_on_session_end(struct session *s);
extern const struct entry_kind caller_kind;
#define CALLER "code" /* the word of its kind */
/* A code that is sent the answer to its request, which has ended with that: however much waits for it. */
#define CALLER_ANSWER "answer"
extern const struct entry_kind caller_answer_kind;
