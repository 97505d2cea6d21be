# SPDX-License-Identifier: MIT
# What ./signalbox lint runs: tests with the label lint. And the target format.
# Debian names the tools of a certain release clang-tidy-14; all of us should use that one where it is there.
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format)
find_program(CLANG_TIDY NAMES clang-tidy-14 clang-tidy)

file(GLOB_RECURSE C_FILES CONFIGURE_DEPENDS worker/*.[ch] include/*.[ch] tests/*.[ch] bench/*.[ch])
add_custom_target(format COMMAND ${CLANG_FORMAT} -i ${C_FILES} VERBATIM)

function(add_lint name)
    add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS lint)
endfunction()

add_lint(clang-format ${CLANG_FORMAT} --dry-run -Werror ${C_FILES})
add_lint(clang-tidy /usr/bin/python3 cmake/tidy.py ${CLANG_TIDY} ${PROJECT_BINARY_DIR})
# cppcheck reads no system headers and does not know __VA_OPT__ (of LOG_EVENT): it is told something of the same shape.
add_lint(cppcheck cppcheck --enable=warning,performance,portability --error-exitcode=1 --inline-suppr --std=c11 --quiet
         -j 2 --library=posix,gnu,bsd
         --suppress=invalidPointerCast --suppress=readdirCalled --suppress=varFuncNullUB
         -D_GNU_SOURCE= "-D__VA_OPT__(...)=+0," "-DLIST_HEAD(name, type)=struct type"
         "-DHASH_ITER(hh, head, el, next)=while ((el = next = head))"
         -I include -I ${GENERATED} worker)
add_lint(luacheck luacheck --quiet --no-color redis-lua)
add_lint(bash bash -n signalbox .ci/run)
