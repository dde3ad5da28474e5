#!/usr/bin/env bash
# Shows the gateway at work: builds it, starts a TLS server as the "cloud" and the gateway in front
# of it, both on loopback, sends a real request through, says what happened and how to do it by
# hand, and goes on serving until Ctrl-C.
#
#   scripts/run.sh           until Ctrl-C
#   scripts/run.sh --once    ends after the exchange: 0 if the page came through
#
# ESCLUSA_RUN_PORT=N: the consumer port (8080, or the next that is free, up to 8099).
set -euo pipefail
export LC_ALL=C

once=no
case "${1-}" in
    '') ;;
    --once) once=yes ;;
    -h | --help)
        printf 'usage: scripts/run.sh [--once]\n'
        exit 0
        ;;
    *)
        printf 'run.sh: unknown argument %s; usage: scripts/run.sh [--once]\n' "$1" >&2
        exit 2
        ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
out=build/run
gateway=$out/esclusa
certs=$out/certs
cloud_log=$out/cloud.log
gateway_log=$out/gateway.log
page=$out/page.html

say() {
    printf '\n==> %s\n' "$*"
}
fail() {
    printf 'run.sh: %s\n' "$*" >&2
    exit 1
}

pids=()
alive() {
    kill -0 "$1" 2>/dev/null
}
# The youngest first, so that the gateway ends its sessions while the cloud still answers.
stop_all() {
    local i pid
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill "$pid" 2>/dev/null || continue
        # The gateway lets live sessions finish for 5 s.
        for ((turn = 0; turn < 80; turn++)); do
            alive "$pid" || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
}
trap stop_all EXIT
trap 'exit 130' INT TERM HUP

# in_time SECONDS COMMAND...: asks again until it is true.
in_time() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}
# In a subshell, which closes the connection again.
listens() { # PORT
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
has_line() { # FILE PATTERN
    grep -Eq -- "$2" "$1"
}

scripts/deps.sh build

say 'Building (release)'
mkdir -p "$out"
if ! { cmake --preset release -B "$out" -DESCLUSA_TESTS=OFF && cmake --build "$out" -j "$(nproc)"; } \
    >"$out/build.log" 2>&1; then
    cat "$out/build.log" >&2
    fail 'the build failed'
fi
"$gateway" --version

say "Throw-away certificates in $certs"
certs/make-certs.sh "$certs" ca server

cloud_command=(openssl s_server -accept 127.0.0.1:0 -www -tls1_3
    -cert "$certs/server.pem" -key "$certs/server.key")
"${cloud_command[@]}" </dev/null >"$cloud_log" 2>&1 &
pids+=($!)
cloud_is_up() {
    alive "${pids[0]}" || return 0 # dead: no reason to wait
    has_line "$cloud_log" '^ACCEPT .*:[0-9]+$'
}
in_time 10 cloud_is_up || fail "the cloud did not start in time: $(cat "$cloud_log")"
cloud_port=$(sed -n 's/^ACCEPT .*:\([0-9]*\)$/\1/p' "$cloud_log")
[ -n "$cloud_port" ] || fail "the cloud did not start: $(cat "$cloud_log")"

# A port that looked free may be taken a moment later: then the next one is tried.
start_gateway() { # PORT
    gateway_command=("$gateway" --listen "127.0.0.1:$1" --connect "127.0.0.1:$cloud_port"
        --ca "$certs/ca.pem" --server-name localhost)
    "${gateway_command[@]}" </dev/null 2>"$gateway_log" &
    pids[1]=$!
    gateway_is_up() {
        ! alive "${pids[1]}" || has_line "$gateway_log" ' listening '
    }
    in_time 10 gateway_is_up || fail "the gateway does not listen: $(cat "$gateway_log")"
    alive "${pids[1]}"
}
port=
: >"$gateway_log"
for candidate in ${ESCLUSA_RUN_PORT:-$(seq 8080 8099)}; do
    if ! listens "$candidate" && start_gateway "$candidate"; then
        port=$candidate
        break
    fi
done
if [ -z "$port" ]; then
    [ -s "$gateway_log" ] || fail 'the ports for consumers are all taken; ESCLUSA_RUN_PORT=N gives another'
    fail "the gateway did not start: $(cat "$gateway_log")"
fi

say "A plaintext request through the gateway: curl http://127.0.0.1:$port/"
arrived=yes
curl --noproxy '*' -sS --max-time 20 -o "$page" "http://127.0.0.1:$port/" || arrived=no
# -www answers with a page about the TLS session that the cloud sees: the gateway's.
if [ "$arrived" = yes ] && ! grep -q 'TLSv1.3' "$page"; then
    arrived=no
fi
in_time 5 has_line "$gateway_log" ' session ' || true

if [ "$arrived" = yes ]; then
    printf 'The page of the cloud arrived, %s bytes. What the cloud says of its TLS peer:\n' \
        "$(wc -c <"$page")"
    grep -E '^ *(Protocol|Cipher) *:|^New, ' "$page" | sed 's/^ */    /' || true
else
    printf 'The page did NOT arrive.\n'
fi
printf 'The gateway, in its own words:\n'
sed 's/^/    /' "$gateway_log"

say 'The same by hand, from this directory, in three terminals:'
cloud_command[3]=127.0.0.1:$cloud_port
printf '    %s\n' "cd $root" "${cloud_command[*]}" "${gateway_command[*]}" \
    "curl http://127.0.0.1:$port/"

[ "$arrived" = yes ] || fail "the page did not arrive; see $root/$gateway_log and $root/$cloud_log"
[ "$once" = no ] || exit 0

trap 'printf "\n"; exit 0' INT TERM HUP
say "Serving on http://127.0.0.1:$port/ until Ctrl-C; the gateway's further lines:"
tail -n 0 -f "$gateway_log" &
pids+=($!)
# Ends with the gateway, or with Ctrl-C.
wait "${pids[1]}" || fail "the gateway ended by itself: $(tail -n 1 "$gateway_log")"
