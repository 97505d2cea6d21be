/* SPDX-License-Identifier: MIT */
#include "signalbox/turn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "signalbox/config.h"
#include "signalbox/domain.h"
#include "signalbox/limits.h"

#define OF_OWN "{\"type\":\"own\",\"request_id\":\"1\"}"
#define OF_OTHER "{\"type\":\"other\",\"request_id\":\"2\"}"

/* In the place of net/session.c: the one session, and what it was sent. */
struct session {
    const struct dialect *dialect;
    const struct message_type *row;
    int holds;
    bool gone, poor;
    size_t kept;
    double charged;
    char heard[512];
};
static struct session client;

struct session *session_find(session_id id)
{
    return id == 1 && !client.gone ? &client : NULL;
}

session_id session_id_of(const struct session *s)
{
    (void)s;
    return 1;
}

const struct dialect *session_dialect(const struct session *s)
{
    return s->dialect;
}

const struct message_type **session_row(struct session *s)
{
    return &s->row;
}

bool session_afford(struct session *s, double units)
{
    s->charged += s->poor ? 0 : units;
    return !s->poor;
}

void session_charge(struct session *s, double units)
{
    s->charged += units;
}

static const struct session_ops *ops; /* what the dispatcher has the session do */

void session_send(struct session *s, struct bytes *b)
{
    struct span text = bytes_span(b);
    size_t len = strlen(s->heard);

    ops->on_sent(s, text);
    snprintf(s->heard + len, sizeof(s->heard) - len, "%.*s\n", (int)text.len, text.at);
    bytes_unref(b);
}

void session_turn_keeps(session_id id, size_t bytes)
{
    (void)id;
    client.kept += bytes;
}

void session_turn_kept(session_id id, size_t bytes)
{
    (void)id;
    client.kept -= bytes;
}

void session_hold(struct session *s)
{
    s->holds++;
}

void session_release(struct session *s)
{
    s->holds--;
}

/* In the place of net/limits.c: how often its client's address is held, and what it has. */
static unsigned ip_holds;
static struct bucket address;

struct bucket *ip_cost(struct ip *ip)
{
    (void)ip;
    return &address;
}

void ip_tell(struct ip *ip, const char *limit)
{
    (void)ip;
    (void)limit;
}

struct bucket bucket_full(long long burst, int64_t now_ms)
{
    return (struct bucket){(double)burst, now_ms};
}

double bucket_level(struct bucket *b, long long rate, long long burst, int64_t now_ms)
{
    (void)rate;
    (void)burst;
    (void)now_ms;
    return b->tokens;
}

struct ip *session_ip(const struct session *s)
{
    (void)s;
    return NULL;
}

struct ip *ip_find(const char *text)
{
    (void)text;
    return NULL;
}

void ip_hold(struct ip *ip)
{
    (void)ip;
    ip_holds++;
}

void ip_let_go(struct ip *ip)
{
    (void)ip;
    ip_holds--;
}

/* In the place of net/http.c: the one exchange, and how it was answered. */
struct exchange {
    bool answered;
    char answer[256];
};
static struct exchange request;

struct exchange *exchange_find(exchange_id id)
{
    return id == 1 && !request.answered ? &request : NULL;
}

exchange_id exchange_id_of(const struct exchange *x)
{
    (void)x;
    return 1;
}

const struct cost *exchange_cost(const struct exchange *x)
{
    static const struct cost cost = {.reply_kib = 10};

    (void)x;
    return &cost;
}

const char *exchange_ip(const struct exchange *x)
{
    (void)x;
    return "192.0.2.1";
}

static void answer(struct exchange *x, unsigned status, const char *text)
{
    x->answered = true;
    snprintf(x->answer, sizeof(x->answer), "%u %s", status, text);
}

void exchange_fail(struct exchange *x, unsigned status, const char *sentence)
{
    answer(x, status, sentence);
}

void exchange_reply(struct exchange *x, unsigned status, const char *content_type, struct bytes *body)
{
    assert_string_equal(content_type, "application/json");
    answer(x, status, bytes_data(body));
    bytes_unref(body);
}

void exchange_reply_json(struct exchange *x, unsigned status, json_t *body)
{
    answer(x, status, json_string_value(body));
    json_decref(body);
}

struct session *session_new(struct lws *wsi, const char *ip, const struct session_ops *session_ops,
                            const struct dialect *dialect, size_t most)
{
    (void)wsi;
    (void)ip;
    (void)most;
    ops = session_ops;
    client = (struct session){.dialect = dialect};
    return &client;
}

int64_t *session_attested_until(struct session *s)
{
    static int64_t never;

    (void)s;
    return &never;
}

/* A dialect that has joined another. Both answer each message by a turn that is under way until the test ends it. */
static struct turn *under_way[4];
static size_t count, cleared;

static void clear(void *context)
{
    (void)context;
    cleared++;
}

static enum err handle_held(struct session *s, const struct message *m)
{
    (void)m;
    under_way[count++] = turn_begin(s, sizeof(struct turn), clear);
    return ERR_NONE;
}

static enum err handle_beside(struct session *s, const struct message *m)
{
    (void)m;
    under_way[count++] = turn_begin_beside(s, sizeof(struct turn), clear);
    return ERR_NONE;
}

/* Waits for Redis, but not by a turn. */
static enum err handle_silently(struct session *s, const struct message *m)
{
    (void)s;
    (void)m;
    return ERR_NONE;
}

static enum err handle_refused(struct session *s, const struct message *m)
{
    (void)s;
    (void)m;
    return ERR_NOT_IN_ROOM;
}

static struct bytes *tell(const char *who, enum err e, const char *request_id)
{
    struct builder w = {0};
    char *at_hand = request_id ? NULL : request_id_dup();

    builder_printf(&w, "%s %s %s", who, err_name(e), request_id ? request_id : at_hand);
    free(at_hand);
    return builder_take(&w);
}

static struct bytes *tell_own(enum err e, const char *text, const char *request_id)
{
    (void)text;
    return tell("own", e, request_id);
}

static struct bytes *tell_other(enum err e, const char *text, const char *request_id)
{
    (void)text;
    return tell("other", e, request_id);
}

static const struct message_type own_types[] = {
    {"own", handle_beside},
    {"own_held", handle_held},
    {"dear", handle_beside, {{FIELD_IDS, "ids", .most = 9}}, .cost = {.base = 10, .item = 20, .reply_kib = 10240}}};
static const struct message_type other_types[] = {
    {"other", handle_beside}, {"other_silent", handle_silently}, {"other_refused", handle_refused}};
static const char *const members[] = {"request_id", NULL};
static const struct dialect other = {.name = "other", .types = other_types, .count = 3, .wire_error = tell_other};
static struct dialect joined = {.name = "joined", .wire_error = tell_own, .members = members};

/* In the place of worker/domains.c. */
static const struct socket_path paths[] = {{"/joined", "joined", &joined}, {0}};
static const struct domain domain = {.paths = paths};
const struct domain *const domains[] = {&domain, NULL};

static int load_config(void **state)
{
    static char *no_flags[] = {"test_turn"};
    char problem[256];

    (void)state;
    return config_load(1, no_flags, problem) == CONFIG_OK ? 0 : -1;
}

static int forget_config(void **state)
{
    (void)state;
    config_fini();
    return 0;
}

static int start(void **state)
{
    request = (struct exchange){0};
    count = cleared = 0;
    address.tokens = 0;
    *state = dialect_join(&joined, own_types, 3, &other);
    cost_init();
    dialect_init();
    dialect_open(&joined, NULL, "192.0.2.1");
    return 0;
}

static int stop(void **state)
{
    dialect_fini();
    free(*state);
    return 0;
}

static void receive(const char *message)
{
    struct json_members m = {.only = ops->names};

    ops->on_text(&client, span_of(message), json_scan(span_of(message), &m) ? &m : NULL);
    json_members_free(&m);
}

static void the_error_of_each_message_is_told_in_its_own_form_however_late(void **state)
{
    (void)state;
    receive(OF_OWN);
    receive(OF_OTHER);
    assert_int_equal(count, 2);
    turn_fail(under_way[0], ERR_UNAVAILABLE, NULL);
    turn_fail(under_way[1], ERR_PEER_IN_USE, NULL);
    assert_string_equal(client.heard, "own ERR_UNAVAILABLE \"1\"\nother ERR_PEER_IN_USE \"2\"\n");
    turn_end(under_way[0]);
    turn_end(under_way[1]);
}

static void the_error_of_an_earlier_message_is_not_that_of_the_one_at_hand(void **state)
{
    (void)state;
    receive(OF_OTHER);
    receive(OF_OWN);
    receive("{\"type\":\"nonsense\",\"request_id\":\"3\"}");
    turn_fail(under_way[0], ERR_UNAVAILABLE, NULL);
    turn_fail(under_way[1], ERR_UNAVAILABLE, NULL);
    assert_string_equal(client.heard,
                        "own ERR_UNKNOWN_TYPE \"3\"\nother ERR_UNAVAILABLE \"2\"\nown ERR_UNAVAILABLE \"1\"\n");
    turn_end(under_way[0]);
    turn_end(under_way[1]);
}

static void an_error_of_no_message_at_hand_is_told_as_the_dialect_does_whatever_came_last(void **state)
{
    (void)state;
    receive("{\"type\":\"other_silent\"}");
    session_fail(&client, ERR_UNAVAILABLE, NULL);
    receive("{\"type\":\"other_refused\",\"request_id\":\"4\"}");
    assert_string_equal(client.heard, "own ERR_UNAVAILABLE \nother ERR_NOT_IN_ROOM \"4\"\n");
}

static void a_session_is_held_until_its_turn_has_ended(void **state)
{
    (void)state;
    receive("{\"type\":\"own_held\"}");
    assert_int_equal(client.holds, 1);
    turn_send(under_way[0], bytes_copy(SPAN("hello")));
    assert_int_equal(client.holds, 1);
    turn_end(under_way[0]);
    assert_int_equal(client.holds, 0);
    assert_int_equal(cleared, 1);
    assert_int_equal(ip_holds, 0);
    assert_string_equal(client.heard, "hello\n");
}

static void a_turn_beside_holds_nothing(void **state)
{
    (void)state;
    receive("{\"type\":\"own\"}");
    assert_int_equal(client.holds, 0);
    turn_end(under_way[0]);
    assert_int_equal(client.holds, 0);
}

static void one_whose_client_has_left_says_nothing_and_is_freed(void **state)
{
    (void)state;
    receive("{\"type\":\"own_held\"}");
    client.gone = true;
    assert_null(turn_session(under_way[0]));
    turn_send(under_way[0], bytes_copy(SPAN("hello")));
    turn_fail(under_way[0], ERR_UNAVAILABLE, NULL);
    turn_end(under_way[0]);
    assert_string_equal(client.heard, "");
    assert_int_equal(cleared, 1);
    assert_int_equal(ip_holds, 0);
    assert_int_equal(client.holds, 1); /* of a session that is not there any more */
}

static void a_message_is_charged_by_its_row_and_its_answer_when_it_is_known(void **state)
{
    (void)state;
    receive("{\"type\":\"dear\",\"ids\":[\"a\",\"b\"]}");
    turn_send(under_way[0], bytes_copy(SPAN("ten bytes.")));
    assert_true(client.charged == 1 + 2 * 2 + 10);
    turn_end(under_way[0]);
    session_send(&client, bytes_copy(SPAN("no answer")));
    assert_true(client.charged == 1 + 2 * 2 + 10);
}

static void who_cannot_pay_for_a_message_is_told_in_its_form_and_nothing_is_done(void **state)
{
    (void)state;
    client.poor = true;
    receive("{\"type\":\"other\",\"request_id\":\"6\"}");
    assert_string_equal(client.heard, "other ERR_RATE_LIMIT \"6\"\n");
    assert_int_equal(count, 0);
}

static void the_address_of_who_has_left_pays_for_the_answer(void **state)
{
    struct turn *t;

    (void)state;
    receive("{\"type\":\"dear\",\"ids\":[\"a\"]}");
    client.gone = true;
    turn_send(under_way[0], bytes_copy(SPAN("ten bytes.")));
    turn_end(under_way[0]);
    assert_true(address.tokens == -10);
    t = turn_begin_http(&request, sizeof(*t), NULL);
    request.answered = true;
    turn_reply_json(t, 200, json_pack("[s]", "1234567890"));
    turn_end(t);
    assert_true(address.tokens < -10);
}

static void the_error_of_a_request_is_a_status(void **state)
{
    struct turn *t = turn_begin_http(&request, sizeof(*t), clear);

    (void)state;
    assert_null(turn_session(t));
    assert_ptr_equal(turn_exchange(t), &request);
    turn_fail(t, ERR_UNAVAILABLE, NULL);
    assert_string_equal(request.answer, "503 Service temporarily unavailable");
    turn_end(t);
    assert_int_equal(cleared, 1);
    assert_int_equal(ip_holds, 0);
}

static void a_request_that_is_given_up_is_answered_with_the_sentence_or_503(void **state)
{
    (void)state;
    turn_give_up(turn_begin_http(&request, sizeof(struct turn), clear), 404, "Not there");
    assert_string_equal(request.answer, "404 Not there");
    request = (struct exchange){0};
    turn_give_up(turn_begin_http(&request, sizeof(struct turn), clear), 404, NULL);
    assert_string_equal(request.answer, "503 Service temporarily unavailable");
    assert_int_equal(cleared, 2);
    assert_int_equal(ip_holds, 0);
}

static void only_the_first_answer_of_a_request_counts(void **state)
{
    struct turn *t = turn_begin_http(&request, sizeof(*t), NULL);

    (void)state;
    turn_reply(t, 200, bytes_copy((struct span){"{}", 3}));
    turn_reply(t, 201, bytes_copy((struct span){"[]", 3}));
    turn_reply_json(t, 202, json_string("x"));
    turn_give_up(t, 404, "Not there");
    assert_string_equal(request.answer, "200 {}");
}

/* Turns of requests that gather: which of them are under way, in the order in which they came to be. */
struct gatherer {
    struct turn turn;
    int number;
};
static int gathered[16];
static size_t gathered_count;

static void gather(void *context)
{
    gathered[gathered_count++] = ((struct gatherer *)context)->number;
}

static void gather_and_end(void *context)
{
    gather(context);
    turn_end(context);
}

static void begin_to_gather(struct gatherer *all[], int n, void (*then)(void *context))
{
    gathered_count = 0;
    for (int i = 0; i < n; i++) {
        all[i] = turn_begin_http(&request, sizeof(*all[i]), clear);
        all[i]->number = i;
        turn_gather(&all[i]->turn, then);
    }
}

static void eight_turns_gather_and_the_others_follow_in_their_order(void **state)
{
    struct gatherer *all[12];

    (void)state;
    begin_to_gather(all, 12, gather);
    assert_int_equal(gathered_count, 8);
    for (int i = 3; i < 12; i++)
        turn_end(&all[i == 11 ? 0 : i]->turn);
    assert_int_equal(gathered_count, 12);
    for (int i = 0; i < 12; i++)
        assert_int_equal(gathered[i], i);
    turn_end(&all[1]->turn);
    turn_end(&all[2]->turn);
    turn_end(&all[11]->turn);
    begin_to_gather(all, 12, gather_and_end);
    assert_int_equal(gathered_count, 12);
    assert_int_equal(cleared, 24);
}

static void one_whose_client_has_left_gathers_nothing(void **state)
{
    struct gatherer *all[9];

    (void)state;
    begin_to_gather(all, 9, gather);
    request.answered = true;
    for (int i = 0; i < 8; i++)
        turn_end(&all[i]->turn);
    assert_int_equal(gathered_count, 8);
    assert_int_equal(cleared, 9);
}

static void what_a_turn_keeps_counts_until_it_ends(void **state)
{
    struct turn *t = turn_begin_http(&request, sizeof(*t), NULL);

    (void)state;
    turn_keeps(t, 100);
    turn_keeps(t, 20);
    assert_int_equal(client.kept, 120);
    turn_end(t);
    assert_int_equal(client.kept, 0);
}

int main(void)
{
#define TURN_TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TURN_TEST(the_error_of_each_message_is_told_in_its_own_form_however_late),
        TURN_TEST(the_error_of_an_earlier_message_is_not_that_of_the_one_at_hand),
        TURN_TEST(an_error_of_no_message_at_hand_is_told_as_the_dialect_does_whatever_came_last),
        TURN_TEST(a_session_is_held_until_its_turn_has_ended),
        TURN_TEST(a_turn_beside_holds_nothing),
        TURN_TEST(one_whose_client_has_left_says_nothing_and_is_freed),
        TURN_TEST(a_message_is_charged_by_its_row_and_its_answer_when_it_is_known),
        TURN_TEST(who_cannot_pay_for_a_message_is_told_in_its_form_and_nothing_is_done),
        TURN_TEST(the_address_of_who_has_left_pays_for_the_answer),
        TURN_TEST(the_error_of_a_request_is_a_status),
        TURN_TEST(a_request_that_is_given_up_is_answered_with_the_sentence_or_503),
        TURN_TEST(only_the_first_answer_of_a_request_counts),
        TURN_TEST(eight_turns_gather_and_the_others_follow_in_their_order),
        TURN_TEST(one_whose_client_has_left_gathers_nothing),
        TURN_TEST(what_a_turn_keeps_counts_until_it_ends),
    };

    return cmocka_run_group_tests(tests, load_config, forget_config);
}
