/* SPDX-License-Identifier: MIT */
/* cost: what messages and requests take of the CPUs of Redis and of the workers, and how much of it a connection and
   an address may have (docs/design.md, "Cost"). It is counted in units of 10 µs. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct bucket;
struct ip;
struct metric;

/* What one takes, in µs, as bench/costs.py measures it, and the undo of what it has registered with it. What it takes
   to read any message, or any request, comes on top (cost_of_text). All zero: nothing worth counting. */
struct cost {
    double base;
    double item;           /* for each point or chunk that it names */
    double kib, reply_kib; /* for each KiB of it, and of what it is answered or others are told */
    double told;           /* for each other who is told of it */
};

/* In units. */
double cost_least(const struct cost *c, size_t items, size_t bytes); /* before it is known how it will be answered */
double cost_of_bytes(const struct cost *c, size_t bytes);
double cost_of_reply(const struct cost *c, size_t bytes);
double cost_of_told(const struct cost *c, size_t others, size_t bytes); /* bytes: that each of them is told */
double cost_of_text(size_t bytes);                                      /* to read a message, whatever it says */

/* Takes so many units of the bucket of a connection (NULL: it has none) and of its address; a bucket that is over
   7/8 full gives any number. Returns 0, or, if one of them has not got them, which is logged and counted, in how many
   ms it is worth to read the client again; then nothing is taken. */
int64_t cost_take(struct bucket *own, struct ip *ip, double units);
/* The same for what is done already: a bucket may be left with less than nothing. */
void cost_charge(struct bucket *own, struct ip *ip, double units);

/* Counts the units that a type of messages of a dialect, or a route of "http", was worth. */
struct metric *cost_counter(const char *dialect, const char *type);

void cost_init(void);
