/* SPDX-License-Identifier: MIT */
/* keys: every name this program uses in Redis (docs/design.md, "Keys"): sb: first, and one {tag} for all that a script
   touches together. Ids are validated before they come here: at most ID_MAX bytes, no control characters, so a tab can
   join them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define ID_MAX 256
#define KEY_MAX (4 * ID_MAX + 96)

#define KEY_SCHEMA "sb:schema"                       /* string: the number of the key layout */
#define KEY_MIGRATION "sb:{sb:schema}:migration"     /* hash, in its slot: wid that migrates, until when, cursor */
#define KEY_WORKERS "sb:workers"                     /* zset: wid → last beat, ms */
#define KEY_LEADER "sb:leader"                       /* hash: wid of the leader, its number, until when it leads, ms */
#define KEY_RELAYS "sb:{relays}:all"                 /* hash: peer → address, load and public key */
#define KEY_RELAYS_FREE "sb:{relays}:free"           /* zset: peers below half load, all of one score */
#define KEY_RELAYS_TOTALS "sb:{relays}:totals"       /* hash: capacity, connected */
#define KEY_DAYS "sb:{rendezvous}:days"              /* zset: point TAB address peer → its end, ms */
#define KEY_DAY_COUNTS "sb:{rendezvous}:days:counts" /* hash: point → entries */
#define KEY_HOURS "sb:{rendezvous}:hours"            /* the same for hourly tokens */
#define KEY_HOUR_COUNTS "sb:{rendezvous}:hours:counts"

#define KEY_CHUNK_USES "sb:{chunks}:uses"              /* zset: cached chunk → last use, µs */
#define KEY_CHUNK_ENDS "sb:{chunks}:ends"              /* zset: cached chunk → when it expires, ms */
#define KEY_CHUNK_PULLS "sb:{chunks}:pulls"            /* zset: chunk → when its source is to have pushed it, ms */
#define KEY_SOURCES "sb:{chunks}:sources"              /* zset: chunk TAB address peer → its end, ms */
#define KEY_SOURCE_COUNTS "sb:{chunks}:sources:counts" /* hash: chunk → sources */
#define KEY_WAITS "sb:{chunks}:waits"                  /* the same for those who wait */
#define KEY_WAIT_COUNTS "sb:{chunks}:waits:counts"

#define KEY_SERVERS "sb:{servers}:all"       /* hash: server → its entry, JSON up to lastSeen */
#define KEY_SERVERS_SEEN "sb:{servers}:seen" /* zset: server → lastSeen, ms */
#define KEY_POLICY "sb:policy"               /* string: the version policy, JSON */

#define KEY_ROOMS "sb:{rooms}:all"        /* zset: rooms, all of one score */
#define KEY_ROOM_LOOKS "sb:{rooms}:looks" /* zset: room → when to look whether it is still there, ms */

#define KEY_POOL "sb:{pool}"                 /* hash: member → what it has registered, JSON */
#define KEY_POOL_AT "sb:{pool}:at"           /* hash: member → address, status, since when */
#define KEY_POOL_LOADS "sb:{pool}:loads"     /* hash: member → load */
#define KEY_POOL_SEEN "sb:{pool}:seen"       /* zset: member → last heartbeat, ms */
#define KEY_POOL_VERSION "sb:{pool}:version" /* number of the last change of the ring */
#define KEY_POOL_WATCH "sb:{pool}:watch"     /* hash: born, last, from: who looks for silent members (pool/expire) */
#define CHANNEL_POOL "sb:pool"               /* says that number at each change */

#define KEY_REQUESTS "sb:{requests}" /* zset: request to pair of an app → when to look at it, ms */
#define KEY_LINKS "sb:{links}"       /* zset: device TAB web client → when the request ends, ms */

void key_inbox(char out[static KEY_MAX], const char *wid);  /* channel: sb:inbox:WID */
void key_worker(char out[static KEY_MAX], const char *wid); /* hash: sb:worker:WID, the lease */
void key_owners(char out[static KEY_MAX], const char *wid); /* set: sb:{own:WID}, the sids that own something */
void key_owned(char out[static KEY_MAX], const char *wid, uint64_t sid); /* zset: sb:{own:WID}:SID, entry → its end */
void key_peer(char out[static KEY_MAX], const char *peer);               /* hash: sb:{peer:ID} */
void key_code(char out[static KEY_MAX], const char *room, const char *code);     /* hash: sb:{code:ROOM:CODE} */
void key_requests(char out[static KEY_MAX], const char *room, const char *code); /* hash: …:requests, requester → */
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
void key_challenges(char out[static KEY_MAX], const char *device);  /* zset: …:challenges, nonce → its end, ms */
void key_nonce(char out[static KEY_MAX], const char *nonce);        /* hash: sb:{nonce:N} */
/* part: "" (hash: the reference of that version and platform), ":regions" (hash: index → offset length hex) */
void key_reference(char out[static KEY_MAX], const char *version, const char *platform, const char *part);
void key_point(char out[static KEY_MAX], const char *kind,
               const char *point); /* hash: sb:{day:POINT} or sb:{hour:TOKEN} */
/* part: "data" (hash), "src" and "wait" (zsets: "address peer" → ms), "pull" (hash), "tried" (set) */
void key_chunk(char out[static KEY_MAX], const char *chunk, const char *part);      /* sb:{chunk:ID}:PART */
void key_point_ends(char out[static KEY_MAX], const char *kind, const char *point); /* zset: …:ends, peer → ms */
void key_check(char out[static KEY_MAX], const char *id); /* string: sb:{check:ID}, for the time of --check-redis */
void key_check_other(char out[static KEY_MAX], const char *id); /* …:other, which is never there */
