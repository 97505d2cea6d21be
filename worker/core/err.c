/* SPDX-License-Identifier: MIT */
#include "signalbox/err.h"

#include <assert.h>

static const struct {
    const char *name, *text;
} rows[ERR_COUNT] = {
#define ROW(e, text) [e] = {#e, text},
    ERR_LIST(ROW)
#undef ROW
};

const char *err_text(enum err e)
{
    assert(e < ERR_COUNT);
    return rows[e].text;
}

const char *err_name(enum err e)
{
    assert(e < ERR_COUNT);
    return rows[e].name;
}
