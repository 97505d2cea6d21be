/* SPDX-License-Identifier: MIT */
/* err: every way a message can fail, and what the client is told (PROTOCOL.md sections 5 and 6).
   ERR_TOO_MANY_IDS: the limit of IDENTITIES_MAX. A text with %s gets the detail that goes with the error. */
#pragma once

#define ERR_LIST(X)                                                                                                    \
    X(ERR_NONE, "")                                                                                                    \
    X(ERR_PARSE, "Invalid message format: JSON parse error")                                                           \
    X(ERR_UNKNOWN_TYPE, "Unknown message type: %s")                                                                    \
    X(ERR_MISSING_FIELD, "Missing required field: %s")                                                                 \
    X(ERR_INVALID_FIELD, "Invalid field: %s")                                                                          \
    X(ERR_RATE_LIMIT, "Rate limit exceeded")                                                                           \
    X(ERR_UNAVAILABLE, "Service temporarily unavailable")                                                              \
    X(ERR_PEER_IN_USE, "Peer id in use by another connection")                                                         \
    X(ERR_CHUNKS_MISSING, "Missing or empty chunks array")                                                             \
    X(ERR_REQUEST_FIELDS, "Missing required fields: peerId, chunkId")                                                  \
    X(ERR_PUSH_FIELDS, "Missing required fields: chunkId, data")                                                       \
    X(ERR_CHUNK_TOO_LARGE, "Chunk payload too large: %s byte limit")                                                   \
    X(ERR_TOO_MANY_IDS, "Invalid field: peerId")

#define ERR_ENUM(name, text) name,
enum err { ERR_LIST(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

const char *err_text(enum err e); /* the text of the table, %s and all */
const char *err_name(enum err e); /* for metrics: "ERR_PARSE" */
