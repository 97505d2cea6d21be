/* SPDX-License-Identifier: MIT */
/* app: the dialect of today's apps (docs/design.md, "Pairing by code"), in files by group of messages. */
#pragma once

#include "signalbox/caller.h"
#include "signalbox/schedule.h"

bool is_pairing_code(struct span value, char code[static 7]); /* a JSON string of 6 letters of the alphabet: decoded */
bool is_public_key(struct span value);                        /* a JSON string: base64 of 32 bytes */
const char *server_id(void);

enum err handle_call(struct session *s, const struct message *m);
enum err handle_link_request(struct session *s, const struct message *m);
enum err handle_link_response(struct session *s, const struct message *m);
extern struct dialect app_dialect;
extern const struct entry_kind linking_kind;
extern const struct schedule linking_schedule; /* of the links that nobody has answered */
void app_init(void);
void app_fini(void);
