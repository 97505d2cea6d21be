/* SPDX-License-Identifier: MIT */
/* page: the web page, at / for those who accept HTML, and its files at /static/. The files are those of web/, made
   into C data by embed_files.cmake. */
#pragma once

#include <stddef.h>

#include "signalbox/bytes.h"
#include "signalbox/domain.h"

struct page_file {
    const char *name, *content_type;
    const char *etag; /* with its quotes */
    struct span content;
};
extern const struct page_file page_files[]; /* ends with an empty one that page_files_count leaves out */
extern const size_t page_files_count;

extern const struct domain page_domain;
