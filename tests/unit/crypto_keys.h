/* SPDX-License-Identifier: MIT */
/* The keys that the tests of crypto sign with: made before a group of tests, and freed after it. */
#pragma once

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/crypto.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define OTHER_SEED "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"

static struct signing_key *key, *other_key;

static int make_keys(void **state)
{
    (void)state;
    if (sodium_init() < 0)
        return -1;
    key = signing_key_new(SEED);
    other_key = signing_key_new(OTHER_SEED);
    return key && other_key ? 0 : -1;
}

static int free_keys(void **state)
{
    (void)state;
    signing_key_free(key);
    signing_key_free(other_key);
    signing_key_free(NULL);
    return 0;
}
