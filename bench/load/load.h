/* SPDX-License-Identifier: MIT */
/* load: what the scenarios of the load generator share. A scenario says what a client sends and what it makes of what
   comes; who sends when, the clock and the counts are here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"

#define PORTS_MAX 8

struct options {
    const char *path, *hello, *welcome, *ask, *answer; /* templates and types, see usage in main.c */
    int ports[PORTS_MAX];
    size_t port_count, homes, clients, group, bytes, connecting;
    double seconds, warm_up, drain, rate; /* drain: how long to wait at the end for what is under way */
    bool come_back, tls;
};

struct scenario {
    const char *name;
    void (*prepare)(void);           /* once, before any connects; may be NULL */
    bool (*sends)(struct client *c); /* whether this one begins, in closed loop; NULL: nobody sends */
    void (*send)(struct client *c);  /* its next message, of number c->sent */
    bool (*text)(struct client *c, const char *text, size_t len); /* what came; false: not expected */
};

extern const struct scenario scenario_idle, scenario_relay, scenario_ask, scenario_room;
extern struct options options;
extern struct client *clients;

/* c's message of that number has arrived where it should, and must be a later one than those before. */
void load_arrived(struct client *c, uint64_t number);
void load_time(const struct client *c, uint64_t number); /* a time to be counted: from c's message until now */
void load_delivered(void);                               /* somebody heard of somebody else's message */
void load_next(struct client *c);                        /* c's turn to send: in closed loop, and while there is time */

/* template with %i: the client's index, %g: its group, %j: its place in the group, %n: number of its message, %m: that
   modulo 16. Returns the length. */
size_t load_fill(char *out, size_t room, const char *template, const struct client *c);

bool text_begins(const char *text, size_t len, const char *begin);
/* Behind the first occurrence of mark, or NULL. */
const char *text_after(const char *text, size_t len, const char *mark);
