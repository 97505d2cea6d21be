/* SPDX-License-Identifier: MIT */
/* keys: every name this program uses in Redis (docs/design.md, "Keys"): REDIS_PREFIX first, which is sb: here, and one
   {tag} for all that a script touches together. Ids are validated before they come here: at most ID_MAX bytes, no
   control characters, so a tab can join them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ID_MAX 256
#define KEY_MAX (4 * ID_MAX + 128)
#define FIXED_NAME_MAX 64

/* name, what follows the prefix */
#define FIXED_KEYS(KEY)                                                                                                \
    KEY(KEY_SCHEMA, "schema")                       /* string: the number of the key layout */                         \
    KEY(KEY_WORKERS, "workers")                     /* zset: wid -> last beat, ms */                                   \
    KEY(KEY_LEADER, "leader")                       /* hash: wid of the leader, its number, until when it leads, ms */ \
    KEY(KEY_RELAYS, "{relays}:all")                 /* hash: peer -> address, load and public key */                   \
    KEY(KEY_RELAYS_FREE, "{relays}:free")           /* zset: peers below half load, all of one score */                \
    KEY(KEY_RELAYS_TOTALS, "{relays}:totals")       /* hash: capacity, connected */                                    \
    KEY(KEY_DAYS, "{rendezvous}:days")              /* zset: point TAB address peer -> its end, ms */                  \
    KEY(KEY_DAY_COUNTS, "{rendezvous}:days:counts") /* hash: point -> entries */                                       \
    KEY(KEY_HOURS, "{rendezvous}:hours")            /* the same for hourly tokens */                                   \
    KEY(KEY_HOUR_COUNTS, "{rendezvous}:hours:counts")                                                                  \
    KEY(KEY_CHUNK_USES, "{chunks}:uses")              /* zset: cached chunk -> last use, in microseconds */            \
    KEY(KEY_CHUNK_ENDS, "{chunks}:ends")              /* zset: cached chunk -> when it expires, ms */                  \
    KEY(KEY_CHUNK_PULLS, "{chunks}:pulls")            /* zset: chunk -> when its source is to have pushed it, ms */    \
    KEY(KEY_CHUNK_OWNERS, "{chunks}:owners")          /* hash: cached chunk -> "ip µs": who pushed it, last use */    \
    KEY(KEY_CHUNK_ORDER, "{chunks}:order")            /* zset: "ip µs chunk", all of one score */                     \
    KEY(KEY_CHUNK_COUNTS, "{chunks}:counts")          /* zset: ip -> cached chunks that it pushed */                   \
    KEY(KEY_SOURCES, "{chunks}:sources")              /* zset: chunk TAB address peer -> its end, ms */                \
    KEY(KEY_SOURCE_COUNTS, "{chunks}:sources:counts") /* hash: chunk -> sources */                                     \
    KEY(KEY_WAITS, "{chunks}:waits")                  /* the same for those who wait */                                \
    KEY(KEY_WAIT_COUNTS, "{chunks}:waits:counts")                                                                      \
    KEY(KEY_SERVERS, "{servers}:all")             /* hash: server -> its entry, JSON up to lastSeen */                 \
    KEY(KEY_SERVERS_SEEN, "{servers}:seen")       /* zset: server -> lastSeen, ms */                                   \
    KEY(KEY_SERVERS_CHANGED, "{servers}:changed") /* number of the last change of the list */                          \
    KEY(KEY_SERVERS_SIGNED, "{servers}:signed")   /* zset: server -> timestamp of its last signed write, ms */         \
    KEY(KEY_POLICY, "policy")                     /* string: the version policy, JSON */                               \
    KEY(KEY_ROOMS, "{rooms}:all")                 /* zset: rooms, all of one score */                                  \
    KEY(KEY_ROOM_LOOKS, "{rooms}:looks")          /* zset: room -> when to look whether it is still there, ms */       \
    KEY(KEY_POOL, "{pool}")                       /* hash: member -> what it has registered, JSON */                   \
    KEY(KEY_POOL_AT, "{pool}:at")                 /* hash: member -> address, status, since when */                    \
    KEY(KEY_POOL_LOADS, "{pool}:loads")           /* hash: member -> load */                                           \
    KEY(KEY_POOL_SEEN, "{pool}:seen")             /* zset: member -> last heartbeat, ms */                             \
    KEY(KEY_POOL_VERSION, "{pool}:version")       /* number of the last change of the ring */                          \
    KEY(KEY_POOL_WATCH, "{pool}:watch") /* hash: born, last, from: who looks for silent members (pool/expire) */       \
    KEY(KEY_REQUESTS, "{requests}")     /* zset: request to pair of an app -> when to look at it, ms */                \
    KEY(KEY_LINKS, "{links}")           /* zset: device TAB web client -> when the request ends, ms */

/* Made by keys_init(), then constant. */
#define FIXED_NAME(name, ...) extern char name[FIXED_NAME_MAX];
FIXED_KEYS(FIXED_NAME)
#undef FIXED_NAME
extern char
    KEY_MIGRATION[2 * FIXED_NAME_MAX];    /* hash, in the slot of KEY_SCHEMA: wid that migrates, until when, cursor */
extern char CHANNEL_POOL[FIXED_NAME_MAX]; /* says KEY_POOL_VERSION at each change */

/* Before any other name is made or used. Channels know no databases: with the default prefix a db other than 0 is in
   their names, so that two fleets do not hear each other. prefix: as config_load() lets it through. */
void keys_init(const char *prefix, int db);

void key_inbox(char out[static KEY_MAX], const char *wid);  /* channel: sb:inbox:WID */
void key_worker(char out[static KEY_MAX], const char *wid); /* hash: sb:worker:WID, the lease */
void key_owners(char out[static KEY_MAX], const char *wid); /* set: sb:{own:WID}, the sids that own something */
void key_owned(char out[static KEY_MAX], const char *wid, uint64_t sid); /* zset: sb:{own:WID}:SID, entry → its end */
void key_peer(char out[static KEY_MAX], const char *peer);               /* hash: sb:{peer:ID} */
void key_code(char out[static KEY_MAX], const char *room, const char *code);     /* hash: sb:{code:ROOM:CODE} */
void key_requests(char out[static KEY_MAX], const char *room, const char *code); /* hash: …:requests, requester → */
void key_askers(char out[static KEY_MAX], const char *room, const char *code);   /* hash: …:askers, requester → */
void key_link(char out[static KEY_MAX], const char *code);                       /* hash: …:link, of an app's code */
void key_room_codes(char out[static KEY_MAX], const char *room);    /* hash: sb:{signal:ROOM}, code → addr */
void key_presence(char out[static KEY_MAX], const char *room);      /* channel: sb:signal:ROOM */
void key_room(char out[static KEY_MAX], const char *room);          /* hash: sb:{room:ID} */
void key_room_peers(char out[static KEY_MAX], const char *room);    /* hash: …:peers, peer → address and info */
void key_room_channel(char out[static KEY_MAX], const char *room);  /* channel: sb:room:ID */
void key_room_peer(char out[static KEY_MAX], const char *peer);     /* hash: sb:{member:ID}, a peer of /ws */
void key_pool_member(char out[static KEY_MAX], const char *member); /* hash: sb:{pool:ID}, a member of the pool */
void key_client(char out[static KEY_MAX], const char *client);      /* hash: sb:{client:ID}, a client of /signaling */
void key_device(char out[static KEY_MAX], const char *device);      /* hash: sb:{device:ID} */
/* zset: sb:{ip:ADDRESS}:challenges, those that an address (ip_range()) has open: "nonce device" → its end, ms */
void key_challenges(char out[static KEY_MAX], const char *ip);
void key_nonce(char out[static KEY_MAX], const char *nonce); /* hash: sb:{nonce:N} */
/* part: "" (hash: the reference of that version and platform), ":regions" (hash: index → offset length hex) */
void key_reference(char out[static KEY_MAX], const char *version, const char *platform, const char *part);
void key_point(char out[static KEY_MAX], const char *kind,
               const char *point);                       /* hash: sb:{day:POINT} or sb:{hour:TOKEN} */
void key_drop(char out[static KEY_MAX], const char *id); /* string: sb:{drop:ID}, text of a drop for several points */
/* part: "data" (hash), "src", "rest" and "wait" (zsets: "address peer" → ms), "pull" (hash), "tried" (set) */
void key_chunk(char out[static KEY_MAX], const char *chunk, const char *part);      /* sb:{chunk:ID}:PART */
void key_point_ends(char out[static KEY_MAX], const char *kind, const char *point); /* zset: …:ends, peer → ms */
/* part: "" (hash: wid, or end of what is kept → bytes, and total), ":workers" and ":kept" (zsets: the same → ms) */
void key_stored(char out[static KEY_MAX], const char *range, const char *part); /* sb:{stored:RANGE}PART */
void key_check(char out[static KEY_MAX], const char *id); /* string: sb:{check:ID}, for the time of --check-redis */
void key_check_other(char out[static KEY_MAX], const char *id); /* …:other, which is never there */
