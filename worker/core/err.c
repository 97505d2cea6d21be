/* SPDX-License-Identifier: MIT */
#include "signalbox/err.h"

#include <stdlib.h>

static const struct {
    const char *name, *text;
} rows[ERR_COUNT] = {
#define ROW(e, text) [e] = {#e, text},
    ERR_LIST(ROW)
#undef ROW
};

static size_t row_of(enum err e)
{
    if (e >= ERR_COUNT)
        abort();
    return e;
}

const char *err_text(enum err e)
{
    return rows[row_of(e)].text;
}

const char *err_name(enum err e)
{
    return rows[row_of(e)].name;
}
