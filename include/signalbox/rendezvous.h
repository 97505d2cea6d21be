/* SPDX-License-Identifier: MIT */
/* rendezvous: a message that registers a peer at daily points and hourly tokens, while it is being handled. */
#pragma once

#include "signalbox/delivery.h"
#include "signalbox/dialect.h"
#include "signalbox/entry.h"
#include "signalbox/redis.h"
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
    struct bytes *text; /* the element of another's result; NULL: nothing, or that of the message that is shared */
    bool shares;        /* what is left there refers to that */
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

#define DROP_ID_MAX 33 /* with its zero */
struct drop_found;

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
    struct bytes *shared; /* a drop for several points, which is stored once; or NULL */
    char shared_id[DROP_ID_MAX];
    size_t sharing;                     /* points */
    struct builder live, drops;         /* elements of the result, with their commas */
    struct drop_found *found, *looking; /* others' drops that are to be looked up, and the next of them */
    struct drop_found *replaced;        /* of one's own that entries referred to before */
    size_t left_out;                    /* entries that had no room in it */
    struct matched *matched;            /* peers that are in live already */
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
size_t shared_cost(size_t len);                           /* and for a drop that is shared */

/* Leaves the peer's entries, and asks for the others' there. next runs once, when all of that is answered, or has
   failed, or the client has left. */
void registering_meet(struct registering *r, void (*next)(struct registering *r));
/* An entry that was found there. How many bytes it stands for that are kept elsewhere. */
size_t registering_add(const struct meeting *m, const char *peer, struct span value);
void registering_add_drop(struct registering *r, struct span text);

/* Drops that are stored once (rendezvous_drop.c). */
/* Has r share that text, which so many of its points are to have; false: each has its own. Takes no reference. */
bool registering_share(struct registering *r, struct bytes *text, size_t points);
void drop_entry(const struct registering *r, char out[static ENTRY_MAX]);    /* in the index */
void registering_keep_shared(struct registering *r, redis_callback on_kept); /* replies {1 if it was kept already} */
/* An entry of another refers to one: "ID BYTES". Returns the bytes. */
size_t registering_refer(struct registering *r, const char *reference);
void registering_replaces(struct registering *r, const char *reference); /* an entry that was replaced did; or "" */
/* Adds others' to the result, and takes away those that nobody refers to any more; then next runs once. */
void registering_look_up(struct registering *r, void (*next)(struct registering *r));
void registering_free_found(struct registering *r);

void meetings_init(void);
