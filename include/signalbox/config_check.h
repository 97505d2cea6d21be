/* SPDX-License-Identifier: MIT */
/* config_check: what the values of options must be that a range or a list of choices cannot say. For core/config.c. */
#pragma once

#include <stdbool.h>

struct config_check {
    const char *name; /* of the option */
    bool (*holds)(void);
    const char *allowed; /* "must be ..." */
    bool hidden;         /* the value is not shown */
};

/* The first that the values of config do not pass, all of which are set; NULL: they pass all. */
const struct config_check *config_check_failed(void);
