/* SPDX-License-Identifier: MIT */
#include "signalbox/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PROBLEM_BYTES 256
#define TIME_BYTES 32

const char *pem_reason(void)
{
    unsigned long error = ERR_peek_error();
    const char *text = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);

    return text ? text : "unknown error";
}

/* OpenSSL would ask the terminal, and wait. */
static int no_password(char *out, int room, int writing, void *arg)
{
    (void)out, (void)room, (void)writing, (void)arg;
    return -1;
}

static EVP_PKEY *read_key(const char *path)
{
    BIO *in = BIO_new_file(path, "r");
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;

    BIO_free(in);
    return key;
}

/* File I/O, also while the loop runs: two small files, and only when somebody sends SIGHUP. */
bool pem_read_pair(SSL_CTX *into, struct pem_file certificate, struct pem_file key, char problem[static PROBLEM_BYTES])
{
    EVP_PKEY *read = NULL;
    bool ok = false;

    SSL_CTX_set_default_passwd_cb(into, no_password);
    if (SSL_CTX_use_certificate_chain_file(into, certificate.path) != 1)
        snprintf(problem, PROBLEM_BYTES, "%s must name a file with a certificate in PEM, not \"%.100s\": %.80s",
                 certificate.option, certificate.path, pem_reason());
    else if (!(read = read_key(key.path)))
        snprintf(problem, PROBLEM_BYTES,
                 "%s must name a file with a key in PEM and without a password, not \"%.100s\": %.80s", key.option,
                 key.path, pem_reason());
    else if (X509_check_private_key(SSL_CTX_get0_certificate(into), read) != 1)
        snprintf(problem, PROBLEM_BYTES, "%s must name the key of the certificate in %s, not \"%.100s\"", key.option,
                 certificate.option, key.path);
    else if (SSL_CTX_use_PrivateKey(into, read) != 1)
        snprintf(problem, PROBLEM_BYTES, "%s must name a key that can be used, not \"%.100s\": %.80s", key.option,
                 key.path, pem_reason());
    else
        ok = true;
    EVP_PKEY_free(read);
    ERR_clear_error();
    return ok;
}

void pem_expiry(const SSL_CTX *context, char out[static TIME_BYTES])
{
    const X509 *certificate = SSL_CTX_get0_certificate(context);
    struct tm t;

    if (!certificate || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &t) != 1 ||
        strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%SZ", &t) == 0)
        *out = '\0';
}
