#!/bin/sh
# SPDX-License-Identifier: MIT
# One server, or one Sentinel, of a Redis that fails over: three of each are meant.
#   redis-ha.sh server SELF FIRST [OPTION of redis-server...]
#   redis-ha.sh sentinel SELF FIRST
# SELF is the name by which the others reach it, FIRST the server that is the master until they agree on another.
# REDISCLI_AUTH is the password of all, if there is one. Where it is started it keeps what it has learned from the
# others, and must find it again: who is the master, and which Sentinels there are. All else is told anew each time.
set -eu
role=$1 self=$2 first=$3 quorum=2
shift 3
umask 077
conf=$PWD/$role.conf
touch "$conf" 2>/dev/null || { echo "redis-ha.sh: cannot write $conf" >&2; exit 1; }

if [ "$role" = server ]; then
    if [ -s "$conf" ]; then
        keep=$(grep -i '^replicaof ' "$conf" || true)
    elif [ "$self" != "$first" ]; then
        keep="replicaof $first 6379"
    fi
    # A master that nobody copies takes no writes: it may be one whose place another has taken (docs/operations.md).
    cat >"$conf.new" <<END
dir $PWD
${keep-}
replica-announce-ip $self
min-replicas-to-write 1
requirepass "${REDISCLI_AUTH-}"
masterauth "${REDISCLI_AUTH-}"
END
else
    keep=$(grep -E '^sentinel (myid|monitor|config-epoch|leader-epoch|current-epoch|known-replica|known-sentinel) ' "$conf" ||
        echo "sentinel monitor signalbox $first 6379 $quorum")
    cat >"$conf.new" <<END
port 26379
dir $PWD
requirepass "${REDISCLI_AUTH-}"
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $self
$keep
sentinel down-after-milliseconds signalbox 3000
sentinel failover-timeout signalbox 10000
END
    if [ -n "${REDISCLI_AUTH-}" ]; then
        echo "sentinel auth-pass signalbox $REDISCLI_AUTH" >>"$conf.new"
    fi
    set -- --sentinel
fi
mv "$conf.new" "$conf"
# The entrypoint of Redis' own image, where it is there, gives up the rights of root.
exec $(command -v docker-entrypoint.sh || true) redis-server "$conf" "$@"
