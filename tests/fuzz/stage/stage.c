/* SPDX-License-Identifier: MIT */
/* A play. Its first line sets options, by letter: s secret or S signed SERVER_REGISTRATION, c chunks or a all of
   REQUIRE_ATTESTATION, k keeps dead drops, r rooms of two, p a rate for messages, requests and costs. Each other
   line is a step; N is one of four clients:

   - oNPATH?ARGUMENT: a WebSocket is opened
   - NTEXT: a message; bNTEXT: in a binary frame; fNTEXT: the first part of one
   - cN: it closes; hN: it answers a ping; kN: it stops reading, or reads on
   - xNMETHOD PATH?QUERY|AUTHORIZATION|SIGNATURE|TIMESTAMP|ACCEPT|ETAG|BODY: an HTTP request, on the connection that the
     client has, or on a new one
   - yNBYTES: bytes of HTTP (\r \n \t \0 and \\ are what they are in C); zN: it says nothing more
   - rWORDS: answers the oldest command to Redis, RWORDS all of them (what that is: fake_redis.c); n and N: the same,
     with nothing; e: with an error
   - d: Redis goes; u: it comes back; tMS: time goes on
   - iC|OPERATION|FROM|TARGETS|TARGET|ENTRY…|BODY: a frame on channel C; mC|TEXT: any message

   In texts @0 to @3 is a client's address, @w this worker, @x an address elsewhere, @a to @d the peer id of a client of
   /ws, @h the HMAC that the last challenge wants, @t a session token. A signature "ok" is good. */
#undef NDEBUG /* the asserts are what is tested */
#include "stage.h"

#include <arpa/inet.h>
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signalbox/address.h"
#include "signalbox/claim.h"
#include "signalbox/config.h"
#include "signalbox/connection.h"
#include "signalbox/cost.h"
#include "signalbox/crypto.h"
#include "signalbox/delivery.h"
#include "signalbox/dialect.h"
#include "signalbox/domain.h"
#include "signalbox/forward.h"
#include "signalbox/forward_inbound.h"
#include "signalbox/front.h"
#include "signalbox/group.h"
#include "signalbox/inbox.h"
#include "signalbox/index.h"
#include "signalbox/keys.h"
#include "signalbox/leader.h"
#include "signalbox/lease.h"
#include "signalbox/limits.h"
#include "signalbox/log.h"
#include "signalbox/loop.h"
#include "signalbox/page.h"
#include "signalbox/pool.h"
#include "signalbox/reaper.h"
#include "signalbox/registry.h"
#include "signalbox/relay.h"
#include "signalbox/room.h"
#include "signalbox/script.h"
#include "signalbox/signal.h"
#include "signalbox/status.h"

#define TURNS_MAX 100000
#define STEPS_MAX 400
#define FAREWELL_MS 6000 /* longer than any time that a single thing waits for */
#define FAREWELL_TURNS 64
#define STEP_MS 100     /* longer than the steps of what is done bit by bit */
#define RESYNC_STEPS 40 /* until a resync has settled */
#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"

bool stage_trusted;
struct lws stage_clients[STAGE_CLIENTS];
struct signing_key *stage_key;
static size_t timers, channels; /* that are there without a client */
static uint64_t random_state;

/* --- what chance is made of --- */

static const char *random_name(void)
{
    return "stage";
}

static uint32_t random_next(void)
{
    random_state = random_state * 6364136223846793005 + 1442695040888963407;
    return (uint32_t)(random_state >> 32);
}

static void random_fill(void *const buf, const size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((unsigned char *)buf)[i] = (unsigned char)(random_next() >> 24);
}

static struct randombytes_implementation chance = {
    .implementation_name = random_name, .random = random_next, .buf = random_fill};

/* Nobody can sign by chance. --wrap gives these two their names. */
bool __real_signature_verify(const unsigned char *public_key, struct span text, struct span base64_signature);
bool __wrap_signature_verify(const unsigned char *public_key, struct span text, struct span base64_signature);

bool __wrap_signature_verify(const unsigned char *public_key, struct span text, struct span base64_signature)
{
    return __real_signature_verify(public_key, text, base64_signature) || span_is(base64_signature, "ok");
}

/* --- steps --- */

static void request_bytes(int client, struct span bytes);

/* A handshake as browsers make it. */
static void step_open(int client, struct span text)
{
    char *target = stage_put_in(text);
    struct builder w = {0};

    fake_lws_close(&stage_clients[client]);
    builder_printf(&w,
                   "GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                   target);
    request_bytes(client, bytes_span(w.bytes));
    builder_free(&w);
    free(target);
}

static void step_message(struct lws *client, struct span text, bool last, bool binary)
{
    char *message;

    if (!client->session || client->paused)
        return;
    message = stage_put_in(text);
    session_received(client->session, span_of(message), last, binary, 0);
    free(message);
}

static void request_bytes(int client, struct span bytes)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};

    if (fake_wire_open(client))
        connection_new(client, (struct sockaddr *)&from);
    fake_wire_send(client, bytes);
}

static void step_request(int client, struct span text)
{
    static const char *const names[] = {"Authorization", "X-Server-Signature", "X-Server-Timestamp", "Accept",
                                        "If-None-Match"};
    struct words w = {text};
    struct builder b = {0};
    char *line = words_take(&w), *body;

    builder_printf(&b, "%s HTTP/1.1\r\nHost: x\r\nOrigin: http://localhost\r\n", line);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *value = words_take(&w);

        if (*value)
            builder_printf(&b, "%s: %s\r\n", names[i], value);
        free(value);
    }
    body = stage_put_in(w.rest);
    if (*body)
        builder_printf(&b, "Content-Length: %zu\r\n", strlen(body));
    builder_printf(&b, "\r\n%s", body);
    request_bytes(client, bytes_span(b.bytes));
    builder_free(&b);
    free(body);
    free(line);
}

static void step_bytes(int client, struct span text)
{
    static const char letters[] = "rnt0\\", meant[] = "\r\n\t\0\\";
    struct builder b = {0};

    for (size_t i = 0; i < text.len; i++) {
        const char *letter = text.at[i] == '\\' && i + 1 < text.len ? strchr(letters, text.at[i + 1]) : NULL;

        builder_add(&b, (struct span){letter && *letter ? &meant[letter - letters] : &text.at[i], 1});
        i += letter && *letter;
    }
    if (b.bytes)
        request_bytes(client, bytes_span(b.bytes));
    builder_free(&b);
}

static void step_answers(struct span text, bool all)
{
    struct words w = {text};

    for (size_t i = all ? fake_redis_waiting() : 1; i > 0; i--)
        fake_redis_answer(&w);
}

static void step_nothing(bool all)
{
    for (size_t i = all ? fake_redis_waiting() : 1; i > 0; i--)
        fake_redis_refuse(NULL);
}

static void step_time(struct span text)
{
    struct words w = {text};

    fake_loop_jump((int64_t)(words_take_number(&w) % 100000));
}

static struct address take_address(struct words *w)
{
    struct address a;
    char *word = words_take(w);

    if (!address_parse(span_of(word), &a))
        a = self_address(strtoull(word, NULL, 10));
    free(word);
    return a;
}

static void step_frame(struct span text)
{
    struct words w = {text};
    size_t channel = words_take_number(&w);
    enum inbox_operation operation = (enum inbox_operation)(words_take_number(&w) % INBOX_OPERATIONS);
    struct builder frame = {0};
    uint16_t targets;
    char *word;

    inbox_frame_begin(&frame, operation, take_address(&w));
    targets = (uint16_t)(words_take_number(&w) % 8);
    for (unsigned i = 0; i < targets; i++) {
        uint64_t sid = take_address(&w).sid;

        word = words_take_stored(&w);
        inbox_frame_target(&frame, (struct inbox_target){sid, span_of(word)});
        free(word);
    }
    bytes_data(frame.bytes)[18] = (char)targets;
    word = stage_put_in(w.rest);
    builder_text(&frame, word);
    free(word);
    fake_redis_publish(channel, bytes_span(frame.bytes));
    builder_free(&frame);
}

static void step_text(struct span text)
{
    struct words w = {text};
    size_t channel = words_take_number(&w);
    char *message = stage_put_in(w.rest);

    fake_redis_publish(channel, span_of(message));
    free(message);
}

static void step_of_client(char step, int client, struct span text)
{
    struct lws *wsi = &stage_clients[client];

    if (step == 'o')
        step_open(client, text);
    else if (step == 'x')
        step_request(client, text);
    else if (step == 'y')
        step_bytes(client, text);
    else if (step == 'z')
        fake_wire_end(client);
    else if (step == 'c')
        fake_lws_close(wsi);
    else if (step == 'h' && wsi->session)
        session_ponged(wsi->session);
    else if (step == 'k')
        fake_wire_block(client, wsi->blocked = !wsi->blocked);
    else if (step == 'b' || step == 'f')
        step_message(wsi, text, step == 'b', step == 'b');
}

static void step_of_redis(char step, struct span text)
{
    if (step == 'r' || step == 'R')
        step_answers(text, step == 'R');
    else if (step == 'n' || step == 'N')
        step_nothing(step == 'N');
    else if (step == 'e')
        fake_redis_refuse("ERR no");
    else if (step == 'd' || step == 'u')
        fake_redis_go(step == 'u');
    else if (step == 'i')
        step_frame(text);
    else if (step == 'm')
        step_text(text);
}

static void step_run(struct span line, const char *steps)
{
    struct span text = {line.at + 1, line.len - 1};
    char step = *line.at;
    size_t client = text.len ? (size_t)(unsigned char)*text.at - '0' : STAGE_CLIENTS;

    if (step >= '0' && step < '0' + STAGE_CLIENTS) {
        step_message(&stage_clients[step - '0'], text, true, false);
    } else if (!strchr(steps, step)) {
        return;
    } else if (step == 't') {
        step_time(text);
    } else if (strchr("oxyzchkbf", step)) {
        if (client < STAGE_CLIENTS)
            step_of_client(step, (int)client, (struct span){text.at + 1, text.len - 1});
    } else {
        step_of_redis(step, text);
    }
}

/* The loop, until it would sleep. */
static void settle(void)
{
    bool again = true;

    for (unsigned turns = 0; again; turns++) {
        assert(turns < TURNS_MAX);
        again = fake_loop_turn() || fake_redis_confirm();
        for (int i = 0; i < STAGE_CLIENTS; i++)
            again = fake_wire_turn(i) || fake_lws_write(&stage_clients[i]) || again;
    }
}

/* --- the worker --- */

static void load_config(void)
{
    static char *no_flags[] = {"stage"};
    char problem[256];

    setenv("ATTESTATION_SIGNING_KEY", SEED, 1);
    setenv("BOOTSTRAP_SIGNING_KEY", SEED, 1);
    setenv("SERVER_REGISTRATION_SECRET", "secret", 1);
    setenv("CI_UPLOAD_SECRET", "secret", 1);
    setenv("WORKER_SHARED_KEY", POOL_KEY, 1);
    setenv("TURN_SECRET", "secret", 1);
    setenv("TURN_SERVERS", "turn:turn.example:3478", 1);
    setenv("CHUNK_MAX_BYTES", "256", 1);
    setenv("CONSISTENT_HASH_REPLICAS", "3", 1);
    assert(config_load(1, no_flags, problem) == CONFIG_OK);
    stage_key = signing_key_new(SEED);
}

/* As main.c has it. */
static void init_worker(void)
{
    keys_init(config->redis_prefix, 0);
    scripts_init();
    domains_init();
    inbox_init();
    sessions_init();
    dialect_init();
    connections_init();
    limits_init();
    cost_init();
}

static void answer_all(void)
{
    step_answers((struct span){"", 0}, true);
    settle();
}

/* What is done bit by bit goes on. */
static void step(void)
{
    fake_loop_jump(STEP_MS);
    settle();
    while (fake_redis_waiting() > 0)
        answer_all();
}

static void init_once(void)
{
    static bool done;

    if (done)
        return;
    done = true;
    randombytes_set_implementation(&chance);
    assert(sodium_init() >= 0);
    log_init((enum log_level)(LOG_LEVEL_ERROR + 1), false, false);
    load_config();
    init_worker();
    fake_redis_go(true);
    settle();
    for (unsigned i = 0; i < RESYNC_STEPS; i++)
        step();
    timers = fake_loop_timers();
    channels = fake_redis_channels();
}

/* The modules ask for these each time they need them. */
static void choose_options(struct span letters)
{
    struct config *c = (struct config *)(uintptr_t)config;

    c->server_registration = REGISTRATION_OPEN;
    c->require_attestation = ATTESTATION_OFF;
    c->dead_drops_on_disconnect = DEAD_DROPS_REMOVE;
    c->room_max_peers = 0;
    c->message_rate = c->http_rate = c->cost_rate = c->ip_cost_rate = 0;
    c->cost_burst = c->ip_cost_burst = 30;
    for (size_t i = 0; i < letters.len; i++) {
        if (letters.at[i] == 's')
            c->server_registration = REGISTRATION_SECRET;
        else if (letters.at[i] == 'S')
            c->server_registration = REGISTRATION_SIGNED;
        else if (letters.at[i] == 'c')
            c->require_attestation = ATTESTATION_CHUNKS;
        else if (letters.at[i] == 'a')
            c->require_attestation = ATTESTATION_ALL;
        else if (letters.at[i] == 'k')
            c->dead_drops_on_disconnect = DEAD_DROPS_KEEP;
        else if (letters.at[i] == 'r')
            c->room_max_peers = 2;
        else if (letters.at[i] == 'p')
            c->message_rate = c->http_rate = c->cost_rate = c->ip_cost_rate = 1;
    }
}

/* To be called again when Redis has answered: an upgrade may have waited behind a request. */
static void all_leave(void)
{
    for (int i = 0; i < STAGE_CLIENTS; i++) {
        fake_lws_close(&stage_clients[i]);
        fake_wire_block(i, false);
        fake_wire_end(i);
    }
    settle();
}

/* One whose address has spent too much is answered late, several times if it asked for much. */
static bool somebody_stays(void)
{
    for (int i = 0; i < STAGE_CLIENTS; i++)
        if (fake_wire_is_open(i))
            return true;
    return false;
}

/* All clients leave, and Redis answers whatever it is asked: then nothing of them is left. */
static void farewell(void)
{
    fake_redis_go(true);
    for (unsigned turns = 0; turns < 3; turns++) {
        all_leave();
        for (unsigned i = 0; fake_redis_waiting() > 0; i++) {
            assert(i < FAREWELL_TURNS);
            answer_all();
        }
        fake_loop_jump(FAREWELL_MS);
        settle();
    }
    all_leave();
    while (fake_redis_waiting() > 0)
        answer_all();
    for (unsigned i = 0; fake_loop_timers() != timers || somebody_stays(); i++) {
        assert(i < FAREWELL_TURNS);
        step();
    }
    lease_fini();
    pool_fini();
    server_list_fini(); /* what Redis said in one play is not said in the next */
    server_list_init();
    for (int i = 0; i < STAGE_CLIENTS; i++)
        assert(fake_wire_open(i));
    for (int i = 0; i < STAGE_CLIENTS; i++)
        fake_wire_drop(i);
    assert(session_count() == 0 && index_pending() == 0);
    assert(fake_loop_timers() == timers && fake_redis_channels() == channels);
}

int stage_play(const uint8_t *data, size_t size, const char *steps)
{
    struct span rest = {(const char *)data, size};
    unsigned count = 0;

    random_state = 1;
    stage_trusted = true;
    init_once();
    while (rest.len > 0 && count < STEPS_MAX) {
        const char *end = memchr(rest.at, '\n', rest.len);
        struct span line = {rest.at, end ? (size_t)(end - rest.at) : rest.len};
        size_t used = line.len + (end != NULL);

        rest = (struct span){rest.at + used, rest.len - used};
        if (count++ == 0)
            choose_options(line);
        else if (line.len > 0)
            step_run(line, steps);
        settle();
    }
    farewell();
    return 0;
}
