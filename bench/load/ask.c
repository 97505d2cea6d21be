/* SPDX-License-Identifier: MIT */
/* idle and ask: clients that do nothing, and clients that ask the same again and again. */
#include <string.h>

#include "load.h"

static bool take_anything(struct client *c, const char *text, size_t len)
{
    (void)c;
    (void)text;
    (void)len;
    return true;
}

const struct scenario scenario_idle = {"idle", NULL, NULL, NULL, take_anything};

static bool always(struct client *c)
{
    (void)c;
    return true;
}

static void send_question(struct client *c)
{
    static char text[65536];

    client_send(c, text, load_fill(text, sizeof(text), options.ask, c));
}

/* Answers come in the order of the questions. What else comes, as a match that somebody else has caused, is a delivery
   of its own. */
static bool take_answer(struct client *c, const char *text, size_t len)
{
    const char *type = text_after(text, len, "{\"type\":\"");

    if (!type || !text_begins(type, len - (size_t)(type - text), options.answer)) {
        load_delivered();
        return true;
    }
    load_time(c, c->arrived + c->refused + 1);
    load_arrived(c, c->arrived + c->refused + 1);
    load_next(c);
    return true;
}

const struct scenario scenario_ask = {"ask", NULL, always, send_question, take_answer};
