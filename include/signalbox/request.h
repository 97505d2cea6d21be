/* SPDX-License-Identifier: MIT */
/* request: what handlers of HTTP ask of a request's body, and how they refuse it. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "signalbox/http.h"

/* The request's body. NULL: it is no JSON object, and the exchange has been answered 400. A new reference. */
json_t *request_json(struct exchange *x);
const char *json_text(const json_t *object, const char *name); /* a string that is not empty; else NULL. Borrowed */
bool is_id(const char *text);                                  /* PROTOCOL.md section 1 */
void fail_field(struct exchange *x, const char *field);        /* 400, it is over a limit or of the wrong type */
