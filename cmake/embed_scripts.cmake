# SPDX-License-Identifier: MIT
# Turns SOURCE_DIR/<domain>/<verb>.lua into OUTPUT_DIR/scripts_data.c and .h, one `struct script` each.
# The comment lines that open a script are its contract: its name, its KEYS and ARGV, its reply. Only this reads them:
# what is embedded, and hashed, begins behind them. `-- USES a, b` puts shared/a.lua and shared/b.lua before it;
# `-- TEXT`, and why, has each call carry its text.
#   cmake -D SOURCE_DIR=redis-lua -D OUTPUT_DIR=build/generated -P cmake/embed_scripts.cmake
cmake_minimum_required(VERSION 3.25)
include(${CMAKE_CURRENT_LIST_DIR}/embed.cmake)

# The lines from the top that start with "--", each ended by a newline; and what comes behind them.
function(read_script path header_out body_out)
    file(READ "${path}" rest)
    set(header "")
    while(rest MATCHES "^--")
        string(FIND "${rest}" "\n" end)
        if(end EQUAL -1)
            message(FATAL_ERROR "${path}: nothing but comment lines")
        endif()
        math(EXPR end "${end} + 1")
        string(SUBSTRING "${rest}" 0 ${end} line)
        string(SUBSTRING "${rest}" ${end} -1 rest)
        string(APPEND header "${line}")
    endwhile()
    # Brackets and semicolons mean something in CMake's lists.
    string(REPLACE "[" "<" header "${header}")
    string(REPLACE "]" ">" header "${header}")
    string(REPLACE ";" "," header "${header}")
    string(REPLACE "…" "..." header "${header}")
    set(${header_out} "${header}" PARENT_SCOPE)
    set(${body_out} "${rest}" PARENT_SCOPE)
endfunction()

# The highest n of WORD[n] in the header; 0 without any.
function(count_named header word out)
    string(REGEX MATCHALL "${word}<[0-9]+>" found "${header}")
    set(highest 0)
    foreach(one IN LISTS found)
        string(REGEX REPLACE "[^0-9]" "" n "${one}")
        if(n GREATER highest)
            set(highest ${n})
        endif()
    endforeach()
    set(${out} ${highest} PARENT_SCOPE)
endfunction()

# The pieces that a `-- USES` line of the header names, one after the other.
function(read_used header out)
    set(used "")
    if(header MATCHES "\n-- USES +([^\n]*)")
        string(REPLACE ", " ";" names "${CMAKE_MATCH_1}")
        foreach(name IN LISTS names)
            read_script("${SOURCE_DIR}/shared/${name}.lua" piece_header piece)
            string(APPEND used "${piece}")
        endforeach()
    endif()
    set(${out} "${used}" PARENT_SCOPE)
endfunction()

set(declarations "")
set(definitions "")
set(list "")
set(count 0)
file(GLOB paths RELATIVE "${SOURCE_DIR}" "${SOURCE_DIR}/*/*.lua")
list(FILTER paths EXCLUDE REGEX "^shared/")
list(SORT paths)
foreach(path IN LISTS paths)
    string(REGEX REPLACE "\\.lua$" "" name "${path}")
    string(MAKE_C_IDENTIFIER "script_${name}" symbol)
    set(file "${SOURCE_DIR}/${path}")

    read_script("${file}" header body)
    string(FIND "${header}" "-- ${name}: " at)
    if(NOT at EQUAL 0)
        message(FATAL_ERROR "${file}: its first line must be `-- ${name}: ` and what the script does")
    endif()
    if(NOT header MATCHES "\n-- RETURN")
        message(FATAL_ERROR "${file}: no `-- RETURN` line among the comment lines at its top")
    endif()
    if(header MATCHES "KEYS<[0-9]+\\.\\.\\.>")
        message(FATAL_ERROR "${file}: the number of KEYS must be fixed; only ARGV may end with `ARGV[n...]`")
    endif()

    count_named("${header}" KEYS keys)
    count_named("${header}" ARGV args)
    set(more false)
    if(header MATCHES "ARGV<([0-9]+)\\.\\.\\.>")
        set(more true)
        math(EXPR before "${CMAKE_MATCH_1} - 1")
        if(args GREATER before)
            message(FATAL_ERROR "${file}: ARGV[${CMAKE_MATCH_1}...] takes all from there, yet ARGV[${args}] has a name")
        endif()
        set(args ${before})
    endif()

    set(with_text false)
    if(header MATCHES "\n-- TEXT ")
        set(with_text true)
    endif()
    read_used("${header}" used)
    string(PREPEND body "${used}")
    string(LENGTH "${body}" size)
    string(SHA1 sha1 "${body}")
    string(HEX "${body}" bytes)
    hex_literal("${bytes}" literal)
    string(APPEND declarations "extern const struct script ${symbol};\n")
    string(APPEND definitions "const struct script ${symbol} = {\n    ${count}, \"${name}\",\n    ${literal},\n"
        "    ${size}, \"${sha1}\", ${keys}, ${args}, ${more}, ${with_text}};\n\n")
    string(APPEND list "    &${symbol},\n")
    math(EXPR count "${count} + 1")
endforeach()

write_if_different("${OUTPUT_DIR}/scripts_data.h" "/* Made from redis-lua by embed_scripts.cmake. */
#pragma once

#include \"signalbox/script.h\"

${declarations}
extern const struct script *const scripts_all[]; /* ends with a NULL that scripts_count leaves out */
extern const size_t scripts_count;
")
write_if_different("${OUTPUT_DIR}/scripts_data.c" "/* Made from redis-lua by embed_scripts.cmake. */
#include <stdbool.h>
#include <stddef.h>

#include \"scripts_data.h\"

${definitions}const struct script *const scripts_all[] = {
${list}    NULL};
const size_t scripts_count = ${count};
")
