/* SPDX-License-Identifier: MIT */
/* rendezvous: a message that registers a peer at daily points and hourly tokens, while it is being handled. */
#pragma once

#include "signalbox/delivery.h"
#include "signalbox/dialect.h"
#include "signalbox/tally.h"
#include "signalbox/turn.h"

/* The two kinds of meetings. */
enum { DAYS, HOURS, MEETING_KINDS };
struct meeting_kind {
    int number;
    const char *word; /* in keys and entries */
    struct tally tally;
};
extern const struct meeting_kind meeting_day, meeting_hour, *const meeting_kinds[MEETING_KINDS];
long long meeting_ttl(const struct meeting_kind *kind); /* ms */
bool meeting_outlives(const struct meeting_kind *kind); /* its entries stay when their socket has closed */

/* One point or token, and what another peer gets of it. */
struct meeting {
    const struct meeting_kind *kind;
    char *point;
    struct bytes *text; /* the element of another's result; NULL: nothing */
    size_t share;       /* bytes that the answer may have */
    bool met;           /* it is answered, or will not be */
    struct registering *owner;
};

/* What a message has of one kind. */
struct part {
    size_t unsent;   /* meetings that are still to be asked at */
    size_t room;     /* bytes that their answers may have, together */
    size_t unstored; /* bytes that are counted as stored, and are not, or not any more */
};

struct registering {
    struct turn turn;
    char *peer;
    struct bytes *match; /* the rendezvous_match for the others */
    long long since_ms;  /* when the peer's id was granted to this session */
    struct meeting *meetings;
    size_t count, next_meeting, under_way;
    struct part parts[MEETING_KINDS];
    int counting; /* the kind whose bytes are being counted */
    void (*next)(struct registering *r);
    enum err failed;
    struct builder live, drops; /* elements of the result, with their commas */
    size_t left_out;            /* entries that had no room in it */
    struct matched *matched;    /* peers that are in live already */
    struct target *targets;
    size_t target_count;
};

/* Reads the fields of register_rendezvous, in the order of the dialect's row. Returns the name of the first that is
   wrong, or NULL. */
const char *registering_read(struct registering *r, const struct message *m) __attribute__((warn_unused_result));

/* Counts the bytes that Redis is to store. next runs once, if there is room for them and the client is still there;
   else the turn ends. Those that are not stored after all are given back at the end. */
void registering_count(struct registering *r, void (*next)(struct registering *r));
void registering_give_back(struct registering *r);
size_t meeting_cost(const struct meeting *m, size_t len); /* bytes for an entry whose text has that length */

/* Leaves the peer's entries, and asks for the others' there. next runs once, when all of that is answered, or has
   failed, or the client has left. */
void registering_meet(struct registering *r, void (*next)(struct registering *r));
void registering_add(const struct meeting *m, const char *peer, struct span value); /* an entry that was found there */

void meetings_init(void);
