/* SPDX-License-Identifier: MIT */
/* rendezvous: a message that registers a peer at daily points and hourly tokens, while it is being handled. */
#pragma once

#include "signalbox/delivery.h"
#include "signalbox/dialect.h"
#include "signalbox/tally.h"
#include "signalbox/turn.h"

/* The two kinds of meetings. */
struct meeting_kind {
    const char *word; /* in keys and entries */
    struct tally tally;
};
extern const struct meeting_kind meeting_day, meeting_hour;

/* One point or token: where it is in the index of its socket, and what another peer gets of it. */
struct meeting {
    const struct meeting_kind *kind;
    char *entry; /* in the index of its socket: word TAB point TAB peer */
    char *point;
    struct bytes *text; /* the element of another's result; NULL: nothing */
    struct registering *owner;
};

struct registering {
    struct turn turn;
    char *peer;
    struct bytes *match; /* the rendezvous_match for the others */
    long long since_ms;  /* when the peer's id was granted to this session */
    size_t count, sent, answers;
    struct meeting *meetings;
    enum err failed;
    struct builder live, drops; /* elements of the result, with their commas */
    struct matched *matched;    /* peers that are in live already */
    struct target *targets;
    size_t target_count;
};

/* Reads the fields of register_rendezvous, in the order of the dialect's row. Returns the name of the first that is
   wrong, or NULL. */
const char *registering_read(struct registering *r, const struct message *m) __attribute__((warn_unused_result));
