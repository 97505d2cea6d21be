# SPDX-License-Identifier: MIT
# Turns every file of SOURCE_DIR into OUTPUT_DIR/web_data.c, one `struct page_file` each.
#   cmake -D SOURCE_DIR=web -D OUTPUT_DIR=build/generated -P cmake/embed_files.cmake
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/embed.cmake)

set(type_html "text/html; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_svg "image/svg+xml")

set(rows "")
set(count 0)
file(GLOB names RELATIVE "${SOURCE_DIR}" "${SOURCE_DIR}/*")
list(SORT names)
foreach(name IN LISTS names)
    set(file "${SOURCE_DIR}/${name}")
    string(REGEX REPLACE "^.*\\." "" extension "${name}")
    if(NOT name MATCHES "^[a-z0-9_-]+\\.[a-z]+$" OR NOT DEFINED type_${extension})
        message(FATAL_ERROR "${file}: a name is lower case with one of the endings that have a type in embed_files.cmake")
    endif()

    file(SIZE "${file}" size)
    file(SHA256 "${file}" hash)
    string(SUBSTRING "${hash}" 0 32 hash)
    file(READ "${file}" bytes HEX)
    hex_literal("${bytes}" literal)
    string(APPEND rows "    {\"${name}\", \"${type_${extension}}\", \"\\\"${hash}\\\"\", {\n    ${literal},\n"
        "    ${size}}},\n")
    math(EXPR count "${count} + 1")
endforeach()

write_if_different("${OUTPUT_DIR}/web_data.c" "/* Made from web by embed_files.cmake. */
#include \"signalbox/page.h\"

const struct page_file page_files[] = {
${rows}    {0}};
const size_t page_files_count = ${count};
")
