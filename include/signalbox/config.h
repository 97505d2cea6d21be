/* SPDX-License-Identifier: MIT */
/* config: every option of the program, from flags and the environment; read once at start, then constant.
   The flag of SOME_NAME is --some-name; a flag wins over the environment. A secret comes from the environment
   or from the file that SOME_NAME_FILE names. Lists are separated by commas. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#define MS_PER_DAY 86400000
#define MS_PER_WEEK (7 * MS_PER_DAY)
#define REDIS_PREFIX_DEFAULT "sb:"
#define REDIS_PREFIX_MAX 32 /* bytes of it */

/*  INT(field, NAME, default, least, most, help)
    TEXT(field, NAME, default, help)
    SECRET(field, NAME, help)                 no flag, empty by default, NAME_FILE is read too
    CHOICE(field, NAME, "first|second|…", help)   the value is the index; the first is the default */
#define CONFIG_OPTIONS(INT, TEXT, SECRET, CHOICE)                                                                      \
    TEXT(host, HOST, "0.0.0.0", "address to listen on")                                                                \
    INT(port, PORT, 8080, 0, 65535, "port for HTTP and WebSocket; 0 takes a free one and logs it")                     \
    TEXT(processes, PROCESSES, "1", "worker processes on this port, or auto for one per core")                         \
    TEXT(state_dir, STATE_DIR, "signalbox-state", "where the private Redis keeps its data")                            \
    TEXT(protocols, PROTOCOLS, "", "protocols served: relay, signal, rooms, registry, front; empty: all of them")      \
    TEXT(public_url, PUBLIC_URL, "", "how clients reach this server, told to apps")                                    \
    TEXT(region, REGION, "", "where this server is, told to apps")                                                     \
    SECRET(redis_url, REDIS_URL,                                                                                       \
           "redis://, rediss://, redis+sentinel:// or unix:// URL of Redis; empty starts a private one")               \
    TEXT(redis_prefix, REDIS_PREFIX, REDIS_PREFIX_DEFAULT, "what all keys and channels in Redis begin with")           \
    TEXT(redis_ca_file, REDIS_CA_FILE, "", "file with the authorities that vouch for Redis, PEM; empty: the system's") \
    TEXT(redis_cert_file, REDIS_CERT_FILE, "", "file with the client certificate for Redis and its chain, PEM")        \
    TEXT(redis_key_file, REDIS_KEY_FILE, "", "file with the key of that certificate, PEM")                             \
    TEXT(redis_server_name, REDIS_SERVER_NAME, "", "name that Redis' certificate is for; empty: the host of the URL")  \
    TEXT(redis_sentinel_user, REDIS_SENTINEL_USER, "", "user at the Sentinels, where they want one")                   \
    SECRET(redis_sentinel_password, REDIS_SENTINEL_PASSWORD, "password at the Sentinels")                              \
    TEXT(node_id, NODE_ID, "", "name of this node in logs and in Redis; the host name if empty")                       \
    CHOICE(leader_election, LEADER_ELECTION, "on|off", "off: this worker never leads the fleet")                       \
    CHOICE(environment, ENVIRONMENT, "development|production", "production hides pairing codes in logs")               \
    TEXT(log_level, LOG_LEVEL, "", "debug, info, warning or error; empty: info in production, else debug")             \
    CHOICE(log_format, LOG_FORMAT, "json|text", "one JSON object a line, or text for people")                          \
    TEXT(tls_cert, TLS_CERT, "", "file with the certificate of the port and its chain, PEM; empty: no TLS")            \
    TEXT(tls_key, TLS_KEY, "", "file with the key of that certificate, PEM")                                           \
    TEXT(trusted_proxies, TRUSTED_PROXIES, "", "address ranges whose X-Forwarded-For is believed")                     \
    TEXT(status_allow, STATUS_ALLOW, "",                                                                               \
         "address ranges that may read status; empty: any, or in production private ones")                             \
    TEXT(cors_origins, CORS_ORIGINS, "*", "origins that may read HTTP answers; * for all")                             \
    TEXT(allowed_origins, ALLOWED_ORIGINS, "*", "origins that may open a WebSocket; * for all")                        \
    INT(takeover_probe_ms, TAKEOVER_PROBE_MS, 2000, 1, 60000, "how long the holder of an id or a place has to answer") \
    INT(message_rate, MESSAGE_RATE, 100, 0, 1000000, "messages per second and connection; 0 for no limit")             \
    INT(message_burst, MESSAGE_BURST, 200, 1, 1000000, "messages a connection may send at once")                       \
    INT(cost_rate, COST_RATE, 1000, 0, 1000000, "units of 10 us of CPU per second and connection; 0 for no limit")     \
    INT(cost_burst, COST_BURST, 40000, 1, 1000000000, "units that a connection may take at once")                      \
    INT(pair_requests_per_minute, PAIR_REQUESTS_PER_MINUTE, 10, 0, 1000000, "per connection; 0 for no limit")          \
    INT(ip_connections_max, IP_CONNECTIONS_MAX, 1000, 0, 1000000,                                                      \
        "open connections per client address, HTTP or WebSocket; 0 for no limit")                                      \
    INT(ip_connect_rate, IP_CONNECT_RATE, 100, 0, 1000000, "new connections per second and address; 0 for no limit")   \
    INT(ip_connect_burst, IP_CONNECT_BURST, 500, 1, 1000000, "new connections an address may open at once")            \
    INT(ip_cost_rate, IP_COST_RATE, 2000, 0, 1000000, "units of 10 us per second and address; 0 for no limit")         \
    INT(ip_cost_burst, IP_COST_BURST, 120000, 1, 1000000000, "units that an address may take at once")                 \
    INT(ip_prefix_v6, IP_PREFIX_V6, 64, 1, 128, "bits of an IPv6 address that count as one client")                    \
    INT(http_rate, HTTP_RATE, 50, 0, 1000000, "HTTP requests per second and address; 0 for no limit")                  \
    INT(http_burst, HTTP_BURST, 100, 1, 1000000, "HTTP requests an address may send at once")                          \
    INT(miss_rate, MISS_RATE, 1, 0, 1000000,                                                                           \
        "codes, ids and rooms an address may ask for in vain, per second; 0 for no limit")                             \
    INT(miss_burst, MISS_BURST, 30, 1, 1000000, "of those, so many at once")                                           \
    INT(store_socket_max, STORE_SOCKET_MAX, 4194304, 0, 1073741824,                                                    \
        "bytes that Redis keeps for a connection; 0 for no limit")                                                     \
    INT(store_address_max, STORE_ADDRESS_MAX, 67108864, 0, 1099511627776,                                              \
        "bytes that Redis keeps for a client address, in the whole fleet; 0 for no limit")                             \
    INT(store_redis_percent, STORE_REDIS_PERCENT, 80, 0, 100,                                                          \
        "of Redis' maxmemory, past which only small registrations are taken; 0 for off")                               \
    INT(keepalive_seconds, KEEPALIVE_SECONDS, 75, 1, 3600, "how long an idle HTTP connection is kept open")            \
    INT(send_queue_max, SEND_QUEUE_MAX, 1048576, 1024, 1073741824,                                                     \
        "bytes that may wait for a client that does not read")                                                         \
    INT(max_message_bytes, MAX_MESSAGE_BYTES, 262144, 1024, 16777216, "longest message of a client")                   \
    INT(room_max_message_bytes, ROOM_MAX_MESSAGE_BYTES, 32768, 1024, 16777216, "the same for a client of /ws")         \
    INT(ping_interval_ms, PING_INTERVAL_MS, 30000, 10, MS_PER_DAY, "time between pings to a client")                   \
    INT(pong_timeout_ms, PONG_TIMEOUT_MS, 60000, 10, MS_PER_DAY, "silence after which a client is gone")               \
    INT(drain_seconds, DRAIN_SECONDS, 20, 0, 3600, "over how long the sockets are closed at SIGTERM")                  \
    INT(daily_ttl_ms, DAILY_TTL_MS, 172800000, 1, MS_PER_WEEK, "how long a daily point lives")                         \
    INT(hourly_ttl_ms, HOURLY_TTL_MS, 10800000, 1, MS_PER_WEEK, "how long an hourly token lives")                      \
    INT(chunk_cache_ttl_ms, CHUNK_CACHE_TTL_MS, 1800000, 1, MS_PER_WEEK, "how long a chunk stays cached")              \
    INT(chunk_source_ttl_ms, CHUNK_SOURCE_TTL_MS, 3600000, 1, MS_PER_WEEK, "how long an announced source counts")      \
    INT(chunk_wait_ttl_ms, CHUNK_WAIT_TTL_MS, 300000, 1, MS_PER_WEEK, "how long a request waits for a chunk")          \
    INT(chunk_pull_timeout_ms, CHUNK_PULL_TIMEOUT_MS, 5000, 1, 3600000, "how long a source has to push a chunk")       \
    INT(chunk_cache_max, CHUNK_CACHE_MAX, 1000, 1, 10000000, "chunks kept in the cache; the least recently used goes") \
    INT(chunk_max_bytes, CHUNK_MAX_BYTES, 65536, 1, 16777216, "longest data of a chunk, as compact JSON")              \
    INT(pair_timeout_ms, PAIR_TIMEOUT_MS, 120000, 1, MS_PER_DAY, "how long a pair or link request stays open")         \
    INT(pair_warning_ms, PAIR_WARNING_MS, 30000, 0, MS_PER_DAY, "how long before its end both sides are warned")       \
    INT(signal_presence_max, SIGNAL_PRESENCE_MAX, 1000, 0, 1000000, "largest room that hears who comes and goes")      \
    INT(room_max_peers, ROOM_MAX_PEERS, 0, 0, 1000000, "peers of a new room at most; 0 for no limit")                  \
    INT(room_ttl_ms, ROOM_TTL_MS, 300000, 1, MS_PER_WEEK, "how long a room lives once it is empty")                    \
    CHOICE(dead_drops_on_disconnect, DEAD_DROPS_ON_DISCONNECT, "remove|keep", "daily points of a peer that left")      \
    SECRET(bootstrap_signing_key, BOOTSTRAP_SIGNING_KEY, "64 hex digits, an Ed25519 seed: signs the list of /servers") \
    CHOICE(server_registration, SERVER_REGISTRATION, "unset|open|secret|signed",                                       \
           "who may write to /servers; unset: all in development, in production it has to be set")                     \
    SECRET(server_registration_secret, SERVER_REGISTRATION_SECRET, "bearer of those who may, with secret")             \
    INT(servers_max, SERVERS_MAX, 1000, 1, 10000, "servers that are listed at most")                                   \
    INT(server_ttl_ms, SERVER_TTL_MS, 300000, 1, MS_PER_WEEK, "how long a server is listed without a heartbeat")       \
    SECRET(attestation_signing_key, ATTESTATION_SIGNING_KEY, "64 hex digits, an Ed25519 seed: signs session tokens")   \
    TEXT(build_token_verify_key, BUILD_TOKEN_VERIFY_KEY, "",                                                           \
         "base64 of an Ed25519 public key for build tokens; empty: that of ATTESTATION_SIGNING_KEY")                   \
    SECRET(ci_upload_secret, CI_UPLOAD_SECRET, "bearer of those who upload references and set the version policy")     \
    INT(device_ttl_ms, DEVICE_TTL_MS, 2592000000, 1, 366LL * MS_PER_DAY,                                               \
        "how long a device is known after it was last seen")                                                           \
    INT(nonce_ttl_ms, NONCE_TTL_MS, 300000, 1, MS_PER_DAY, "how long a device has to answer a challenge")              \
    INT(session_token_ttl_ms, SESSION_TOKEN_TTL_MS, 3600000, 1, MS_PER_WEEK, "how long an attestation holds")          \
    CHOICE(require_attestation, REQUIRE_ATTESTATION, "off|chunks|all", "messages that need a session token")           \
    SECRET(worker_shared_key, WORKER_SHARED_KEY, "what members of the pool know; empty: /worker-sync is closed")       \
    TEXT(worker_allow, WORKER_ALLOW, "", "address ranges that members of the pool come from; empty: any")              \
    INT(worker_health_timeout, WORKER_HEALTH_TIMEOUT, 1000, 10, 3600000,                                               \
        "ms without a heartbeat after which a member is out of the ring")                                              \
    INT(consistent_hash_replicas, CONSISTENT_HASH_REPLICAS, 150, 1, 10000, "points of a member on the ring")           \
    TEXT(stun_servers, STUN_SERVERS, "", "stun: addresses told to clients")                                            \
    TEXT(turn_servers, TURN_SERVERS, "", "turn: addresses told to clients")                                            \
    SECRET(turn_secret, TURN_SECRET, "shared with the TURN servers: makes credentials that end")                       \
    INT(turn_ttl_seconds, TURN_TTL_SECONDS, 86400, 1, 31536000, "how long such credentials hold")

struct config {
#define CONFIG_INT(field, ...) long long field;
#define CONFIG_TEXT(field, ...) const char *field;
#define CONFIG_SECRET(field, ...) const char *field;
#define CONFIG_CHOICE(field, ...) int field;
    CONFIG_OPTIONS(CONFIG_INT, CONFIG_TEXT, CONFIG_SECRET, CONFIG_CHOICE)
#undef CONFIG_INT
#undef CONFIG_TEXT
#undef CONFIG_SECRET
#undef CONFIG_CHOICE
};

enum { ENVIRONMENT_DEVELOPMENT, ENVIRONMENT_PRODUCTION };
enum { LEADER_ELECTION_ON, LEADER_ELECTION_OFF };
enum { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };
enum { DEAD_DROPS_REMOVE, DEAD_DROPS_KEEP };
enum { REGISTRATION_UNSET, REGISTRATION_OPEN, REGISTRATION_SECRET, REGISTRATION_SIGNED };
enum { ATTESTATION_OFF, ATTESTATION_CHUNKS, ATTESTATION_ALL };

extern const struct config *const config;

bool protocol_is_served(const char *name); /* PROTOCOLS is empty, or lists it */

enum config_result { CONFIG_OK, CONFIG_BAD, CONFIG_HELP, CONFIG_VERSION, CONFIG_CHECK_REDIS };

/* Fills config. CONFIG_BAD: problem holds one sentence that names the option and never shows a secret.
   CONFIG_HELP, CONFIG_VERSION: --help or --version was given, and nothing else is looked at. CONFIG_CHECK_REDIS:
   --check-redis was given, and config is filled. */
enum config_result config_load(int argc, char **argv, char problem[static 256]);
void config_help(FILE *out);     /* for --help */
void config_markdown(FILE *out); /* the README's table */
void config_fini(void);          /* frees the values and wipes the secrets */
