/* SPDX-License-Identifier: MIT */
/* chunk: what the chunk messages of the relay dialect share (docs/design.md, "Chunks"). A chunk has sources, who can
   push it, and waiters, who get it; both are kept as holders, "address peer". */
#pragma once

#include "signalbox/address.h"
#include "signalbox/index.h"
#include "signalbox/keys.h"
#include "signalbox/schedule.h"
#include "signalbox/storage.h"
#include "signalbox/tally.h"

extern const struct tally chunk_sources, chunk_waits;

#define HOLDER_MAX (ADDRESS_MAX + ID_MAX + 1)
void holder_format(char out[static HOLDER_MAX], const struct address *a, const char *peer);
void holder_of_self(char out[static HOLDER_MAX], session_id session, const char *peer);
bool holder_parse(struct span holder, struct address *a, const char **peer); /* holder ends with a zero */

/* The entry of a source or of a waiter in the index of its socket: kind TAB chunk TAB peer. */
void chunk_entry(char out[static ENTRY_MAX], const char *kind, const char *chunk, const char *peer);

struct call;
void call_chunk_keys(struct call *c, const char *chunk, const char *parts); /* parts: as of key_chunk(), with a space */

/* What a source, a waiter and cached data count as: measured, with the index and the lists for the statistics. */
struct storing chunk_source_storing(const char *chunk, const char *peer);
struct storing chunk_wait_storing(const char *chunk, const char *peer);
struct storing chunk_data_storing(size_t chunk_len, size_t data_len);

void wire_chunk_data(struct builder *w, const char *chunk, struct span data, const char *source);
void wire_chunk_not_found(struct builder *w, const char *chunk);

/* Decides whom to ask for a chunk that is waited for, and asks; never one who waits for it himself. left: a source that
   has gone, or "". done says what came of it; it may be NULL. When a source was asked in vain and there is no other,
   all waiters are told (PULL_IDLE). */
enum pull_result { PULL_ASKED, PULL_NO_SOURCE, PULL_IDLE, PULL_FAILED };
void chunk_pull(const char *chunk, const char *left, void (*done)(enum pull_result result, void *arg), void *arg);
void chunk_watch(const char *chunk); /* the chunk is looked at again after the time of a pull */
void chunk_asked(const char *chunk, const char *source, long long until_ms); /* a script has chosen it: ask it */

void chunk_touch(const char *chunk); /* the cached chunk was used */

void chunk_push_init(void);
void chunk_request_init(void);
extern struct schedule chunk_pull_schedule; /* of the sources that have not pushed yet */
void chunk_pull_init(void);
void chunks_init(void);         /* all of it */
void chunks_let_ended_go(void); /* by the leader: sources, waiters and data whose time is over */
extern const struct entry_kind source_kind, wait_kind;
