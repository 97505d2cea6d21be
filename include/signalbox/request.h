/* SPDX-License-Identifier: MIT */
/* request: what handlers of HTTP ask of a request's body, and how they refuse it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "signalbox/fields.h"
#include "signalbox/http.h"

void request_init(void);
void request_fini(void);

/* The request's body. NULL: it is no JSON object, and the exchange has been answered 400. A new reference. */
json_t *request_json(struct exchange *x);
/* The same for requests that anybody may send, and which are to cost little: of any object only the members that one of
   their handlers asks for, at most 256 values, and texts over 16 KiB cut to that, with another content. */
json_t *request_fields(struct exchange *x);
const char *json_text(const json_t *object, const char *name); /* a string that is not empty; else NULL. Borrowed */
void fail_field(struct exchange *x, const char *field);        /* 400, it is over a limit or of the wrong type */
