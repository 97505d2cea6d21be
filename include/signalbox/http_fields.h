/* SPDX-License-Identifier: MIT */
/* http_fields: how an object in a request is read, and refused. */
#pragma once

#include <stdbool.h>

#include "signalbox/fields.h"
#include "signalbox/http.h"

/* Reads an object's fields into values, which are all zero; they borrow text, and t, which is freed by the caller.
   false: the exchange was answered 400. missing: as that of a route. */
bool request_object(struct exchange *x, struct span text, const struct field *fields, const char *missing,
                    struct texts *t, struct value *values) __attribute__((warn_unused_result));
void fail_json(struct exchange *x);                     /* 400, it is no JSON, or no object */
void fail_field(struct exchange *x, const char *field); /* 400, it is over a limit or of the wrong type */
