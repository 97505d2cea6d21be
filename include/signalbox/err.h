/* SPDX-License-Identifier: MIT */
/* err: every way a message can fail, and what the client is told (docs/design.md, "Errors").
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
    X(ERR_CODE_INVALID, "Invalid pairing code")                                                                        \
    X(ERR_CODE_IN_USE, "Pairing code already in use")                                                                  \
    X(ERR_NOT_REGISTERED, "Not registered")                                                                            \
    X(ERR_TARGET_FIELDS, "Missing target or payload")                                                                  \
    X(ERR_TARGET_NOT_FOUND, "Target peer not found")                                                                   \
    X(ERR_NO_REQUEST, "No pending request from this peer")                                                             \
    X(ERR_CODE_FORMAT, "Invalid pairing code format")                                                                  \
    X(ERR_KEY_FORMAT, "Invalid public key format")                                                                     \
    X(ERR_REGISTER_FIRST, "Not registered. Send register message first.")                                              \
    X(ERR_TARGET_FORMAT, "Invalid target code format")                                                                 \
    X(ERR_PAIR_RATE, "Too many pair requests. Please slow down.")                                                      \
    X(ERR_LINK_OTHER, "Cannot respond to link request for another device")                                             \
    X(ERR_PEER_NOT_FOUND, "Peer not found: %s")                                                                        \
    X(ERR_ROOM_NOT_FOUND, "room not found")                                                                            \
    X(ERR_ROOM_FULL, "room is full")                                                                                   \
    X(ERR_ROOM_PEER_NOT_FOUND, "target peer not found")                                                                \
    X(ERR_NOT_IN_ROOM, "not in a room")                                                                                \
    X(ERR_ALREADY_IN_ROOM, "already in this room")                                                                     \
    X(ERR_NOT_ATTESTED, "Attestation required")                                                                        \
    X(ERR_NOT_AUTHENTICATED, "Not authenticated")                                                                      \
    X(ERR_NO_WORKERS, "No workers available")                                                                          \
    X(ERR_TOO_MANY_IDS, "Invalid field: peerId")                                                                       \
    X(ERR_STORAGE_LIMIT, "Storage limit reached")                                                                      \
    X(ERR_TARGET_BUSY, "Target is busy")

#define ERR_ENUM(name, text) name,
enum err { ERR_LIST(ERR_ENUM) ERR_COUNT };
#undef ERR_ENUM

const char *err_text(enum err e); /* the text of the table, %s and all */
const char *err_name(enum err e); /* for metrics: "ERR_PARSE" */
