# SPDX-License-Identifier: MIT
# What embed_scripts.cmake and embed_files.cmake share.

# A C string literal of these bytes, which are given in hexadecimal, one source line each; nothing in it needs quoting.
function(hex_literal bytes out)
    string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${bytes}")
    string(REPLACE "\\x0a" "\\x0a\"\n    \"" bytes "${bytes}")
    set(${out} "\"${bytes}\"" PARENT_SCOPE)
endfunction()

function(write_if_different path content)
    file(WRITE "${path}.new" "${content}")
    file(COPY_FILE "${path}.new" "${path}" ONLY_IF_DIFFERENT)
    file(REMOVE "${path}.new")
endfunction()
