/* SPDX-License-Identifier: MIT */
#include "signalbox/config_check.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "signalbox/cidr.h"
#include "signalbox/config.h"
#include "signalbox/crypto.h"

#define PROCESSES_MOST 256
#define HOST_NAME_MOST 253

static bool processes_is_count(void)
{
    const char *text = config->processes;
    size_t digits = strspn(text, "0123456789");

    if (strcmp(text, "auto") == 0)
        return true;
    if (digits < 1 || digits > 3 || text[digits] || text[0] == '0')
        return false;
    return atoi(text) <= PROCESSES_MOST;
}

/* Each worker would take another free port. */
static bool port_suits_processes(void)
{
    return config->port != 0 || strcmp(config->processes, "1") == 0;
}

static bool log_level_is_known(void)
{
    static const char *const known[] = {"", "debug", "info", "warning", "error"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(config->log_level, known[i]) == 0)
            return true;
    return false;
}

static bool are_ranges(const char *text)
{
    struct cidr_list *list = cidr_parse(text);

    cidr_free(list);
    return list != NULL;
}

static bool trusted_proxies_are_ranges(void)
{
    return are_ranges(config->trusted_proxies);
}

static bool status_allow_is_ranges(void)
{
    return are_ranges(config->status_allow);
}

static bool tls_is_whole(void)
{
    return !*config->tls_cert == !*config->tls_key;
}

static bool redis_tls_is_whole(void)
{
    return !*config->redis_cert_file == !*config->redis_key_file;
}

static bool redis_server_name_is_short(void)
{
    return strlen(config->redis_server_name) <= HOST_NAME_MOST;
}

static bool redis_prefix_is_name(void)
{
    size_t len = strlen(config->redis_prefix);

    return len >= 1 && len <= REDIS_PREFIX_MAX &&
           strspn(config->redis_prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_") == len;
}

static bool worker_allow_is_ranges(void)
{
    return are_ranges(config->worker_allow);
}

/* Each is the scheme, perhaps with an s, a colon and a host (RFC 7064, RFC 7065); they are separated as clients are
   told of them. */
static bool have_scheme(const char *list, const char *scheme)
{
    size_t len = strlen(scheme);

    for (const char *at = list + strspn(list, ", "); *at; at += strspn(at, ", ")) {
        const char *rest = at + len + (strlen(at) > len && tolower((unsigned char)at[len]) == 's');

        if (strncasecmp(at, scheme, len) != 0 || *rest != ':' || !(rest[1] == '[' || isalnum((unsigned char)rest[1])))
            return false;
        at += strcspn(at, ", ");
    }
    return true;
}

static bool stun_servers_are_urls(void)
{
    return have_scheme(config->stun_servers, "stun");
}

static bool turn_servers_are_urls(void)
{
    return have_scheme(config->turn_servers, "turn");
}

static bool is_seed_or_empty(const char *text)
{
    struct signing_key *k = signing_key_new(text);
    bool ok = k || !*text;

    signing_key_free(k);
    return ok;
}

static bool bootstrap_key_is_seed(void)
{
    return is_seed_or_empty(config->bootstrap_signing_key);
}

static bool registration_has_secret(void)
{
    return config->server_registration != REGISTRATION_SECRET || *config->server_registration_secret;
}

static bool registration_is_chosen(void)
{
    return config->server_registration != REGISTRATION_UNSET || config->environment != ENVIRONMENT_PRODUCTION ||
           !protocol_is_served("registry");
}

static bool attestation_key_is_seed(void)
{
    return is_seed_or_empty(config->attestation_signing_key) &&
           (*config->attestation_signing_key || config->require_attestation == ATTESTATION_OFF);
}

static bool build_key_is_public_key(void)
{
    unsigned char key[PUBLIC_KEY_LEN];

    return !*config->build_token_verify_key || public_key_read(span_of(config->build_token_verify_key), key);
}

static const struct config_check checks[] = {
    {"PROCESSES", processes_is_count, "auto or a whole number from 1 to 256"},
    {"PORT", port_suits_processes, "from 1 to 65535 where PROCESSES is not 1"},
    {"LOG_LEVEL", log_level_is_known, "empty, debug, info, warning or error"},
    {"TRUSTED_PROXIES", trusted_proxies_are_ranges, "address ranges such as 10.0.0.0/8, separated by commas"},
    {"STATUS_ALLOW", status_allow_is_ranges, "address ranges such as 10.0.0.0/8, separated by commas"},
    {"TLS_KEY", tls_is_whole, "given where TLS_CERT is, and only there", .hidden = true},
    {"REDIS_SERVER_NAME", redis_server_name_is_short, "a host name or an IP address, of up to 253 bytes"},
    {"REDIS_PREFIX", redis_prefix_is_name, "1 to 32 letters, digits, :, - or _"},
    {"REDIS_KEY_FILE", redis_tls_is_whole, "given where REDIS_CERT_FILE is, and only there", .hidden = true},
    {"BOOTSTRAP_SIGNING_KEY", bootstrap_key_is_seed, "64 hexadecimal digits"},
    {"SERVER_REGISTRATION", registration_is_chosen,
     "open, secret or signed where ENVIRONMENT is production and the registry is one of PROTOCOLS", .hidden = true},
    {"SERVER_REGISTRATION_SECRET", registration_has_secret, "given where SERVER_REGISTRATION is secret"},
    {"ATTESTATION_SIGNING_KEY", attestation_key_is_seed,
     "64 hexadecimal digits, and given where REQUIRE_ATTESTATION is not off"},
    {"WORKER_ALLOW", worker_allow_is_ranges, "address ranges such as 10.0.0.0/8, separated by commas"},
    {"STUN_SERVERS", stun_servers_are_urls, "addresses such as stun:host:3478, separated by commas"},
    {"TURN_SERVERS", turn_servers_are_urls, "addresses such as turn:host:3478, separated by commas"},
    {"BUILD_TOKEN_VERIFY_KEY", build_key_is_public_key, "the base64 of 32 bytes", .hidden = true},
};

const struct config_check *config_check_failed(void)
{
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
        if (!checks[i].holds())
            return &checks[i];
    return NULL;
}
