#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# roundtrip.sh HOST PORT: two WebSocket clients take codes in a room, and an offer goes from one to the other. They may
# be on different workers. Needs nothing but bash: a client's frame whose mask is four zero bytes is its plain text.
set -Eeuo pipefail
export LC_ALL=C

host=$1 port=$2 room=helm-test-$RANDOM$RANDOM
trap 'echo "failed: $step"' ERR
trap '' PIPE

# upgrade FD: on the open connection FD.
upgrade() {
    local line status
    printf 'GET /signal/%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n%s\r\n\r\n' "$room" \
        "$host:$port" 'Sec-WebSocket-Version: 13' 'Sec-WebSocket-Key: c2lnbmFsYm94LWhlbG0tdA==' >&"$1"
    IFS= read -r -t 10 status <&"$1"
    while IFS= read -r -t 10 line <&"$1" && [[ $line != $'\r' ]]; do :; done
    [[ $status == "HTTP/1.1 101"* ]]
}

# say FD TEXT: of at most 125 bytes.
say() {
    printf "\\x81\\x$(printf %x $((128 + ${#2})))\\0\\0\\0\\0%s" "$2" >&"$1"
}

# hear FD PATTERN: the next text that fits, of at most 125 bytes; others are passed over.
hear() {
    local kind length text
    while true; do
        IFS= read -r -d '' -n 1 -t 10 kind <&"$1"
        IFS= read -r -d '' -n 1 -t 10 length <&"$1"
        IFS= read -r -d '' -N "$(printf %d "'$length")" -t 10 text <&"$1"
        [[ $kind == $'\x81' && $text == $2 ]] && return
    done
}

step="connect to $host:$port"
exec 3<>"/dev/tcp/$host/$port" 4<>"/dev/tcp/$host/$port"
step="upgrade to WebSocket"
upgrade 3
upgrade 4
step="register two codes"
say 3 '{"type":"register","pairingCode":"ALICE"}'
hear 3 '*"registered"*'
say 4 '{"type":"register","pairingCode":"BOB"}'
hear 4 '*"registered"*'
step="hear of the other"
hear 3 '*"peer_joined"*"BOB"*'
step="an offer from one to the other"
say 3 '{"type":"offer","target":"BOB","payload":{"sdp":"there"}}'
hear 4 '{"type":"offer","from":"ALICE","payload":{"sdp":"there"}}'
step="an answer back"
say 4 '{"type":"answer","target":"ALICE","payload":{"sdp":"back"}}'
hear 3 '{"type":"answer","from":"BOB","payload":{"sdp":"back"}}'
echo "an offer and its answer went between two clients"
