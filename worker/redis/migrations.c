/* SPDX-License-Identifier: MIT */
#include "scripts_data.h"
#include "signalbox/keys.h"
#include "signalbox/schema.h"

const struct migration migrations[] = {
    {&script_migrations_001, {KEY_SCHEMA}},
};
const size_t migrations_count = sizeof(migrations) / sizeof(migrations[0]);
