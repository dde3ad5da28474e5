#!/usr/bin/env bash
# Checks that certs/make-certs.sh makes what certs/README.md says, each bad certificate with the one
# fault it is named after. usage: certs_check.sh [MAKE_CERTS]
set -euo pipefail
export LC_ALL=C OPENSSL_CONF=/dev/null

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
make_certs=${1:-$root/certs/make-certs.sh}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0

complain() {
    printf 'certs_check: %s\n' "$*"
    failures=$((failures + 1))
}

# verdict NAME OPTION...: "ok" or the number of OpenSSL's first complaint. The variable "trust"
# names the trust anchor.
trust=ca
verdict() {
    local name=$1 said
    shift
    if said=$(openssl verify -no-CApath -no-CAstore -trusted "$dir/$trust.pem" \
        -untrusted "$dir/$name.pem" "$@" "$dir/$name.pem" 2>&1); then
        printf 'ok\n'
    else
        sed -n 's/^error \([0-9]*\) at .*/\1/p' <<<"$said" | head -n 1
    fi
}

expect() { # VERDICT (a|b for either) NAME OPTION...
    local wanted=$1 got
    shift
    got=$(verdict "$@")
    case "|$wanted|" in
        *"|$got|"*) ;;
        *) complain "$*: expected $wanted, got ${got:-nothing}" ;;
    esac
}

expect_text() { # yes|no NAME PATTERN
    local found=no
    if openssl x509 -in "$dir/$2.pem" -noout -text | grep -Eq -- "$3"; then
        found=yes
    fi
    [ "$found" = "$1" ] || complain "$2: text matches '$3': $found, expected $1"
}

"$make_certs" "$dir"

server=(-purpose sslserver -verify_hostname localhost)
# The numbers are X509_V_ERR_* of <openssl/x509_vfy.h>; 24 became 79 on the way to OpenSSL 3.
expect ok server "${server[@]}"
expect ok server -purpose sslserver -verify_ip 127.0.0.1
expect ok server -purpose sslserver -verify_ip ::1
expect ok server-chain "${server[@]}"
expect 20 server-leaf-only "${server[@]}"
expect ok client -purpose sslclient
expect 20 client-other -purpose sslclient
trust=other-ca expect ok client-other -purpose sslclient
expect 18 selfsigned "${server[@]}"
expect 10 expired "${server[@]}"
# The root is younger than that, so the leaf alone is asked.
trust=expired expect ok expired "${server[@]}" -partial_chain -attime "$(date -d '3 days ago' +%s)"
expect 9 notyet "${server[@]}"
expect ok notyet "${server[@]}" -attime "$(date -d '3 days' +%s)"
expect 62 wronghost "${server[@]}"
expect ok wronghost -purpose sslserver -verify_hostname other.example
expect ok wildcard -purpose sslserver -verify_hostname a.wild.test
expect 62 wildcard -purpose sslserver -verify_hostname a.b.wild.test
expect 62 wildcard -purpose sslserver -verify_hostname wild.test
expect ok cnonly -purpose sslserver # the command has a CN fallback: the text tells
expect_text yes cnonly 'Subject: CN ?= ?localhost$'
expect_text no cnonly 'Subject Alternative Name'
expect ok noip "${server[@]}"
expect 64 noip -purpose sslserver -verify_ip 127.0.0.1
expect 26 eku-client "${server[@]}"
expect ok rsa1024 "${server[@]}" -auth_level 1
expect 66 rsa1024 "${server[@]}" -auth_level 2
expect_text yes rsa1024 'Public-Key: \(1024 bit\)'
expect 47 nameconstraint "${server[@]}"
expect '24|79' badca "${server[@]}"
expect 20 unknown "${server[@]}"
trust=other-ca expect ok unknown "${server[@]}"

for key in "$dir"/*.key; do
    name=$(basename "$key" .key)
    of_key=$(openssl pkey -in "$key" -pubout)
    of_cert=$(openssl x509 -in "$dir/$name.pem" -noout -pubkey)
    [ "$of_key" = "$of_cert" ] || complain "$name: the key is not that of the certificate"
    [ "$(stat -c %a "$key")" = 600 ] || complain "$name.key: mode $(stat -c %a "$key"), not 600"
    case "$name" in
        expired) ;;
        *)
            openssl x509 -in "$dir/$name.pem" -noout -checkend $((29 * 86400)) >/dev/null ||
                complain "$name: ends in less than 29 days"
            if openssl x509 -in "$dir/$name.pem" -noout -checkend $((31 * 86400)) >/dev/null; then
                complain "$name: is good for more than 31 days"
            fi
            ;;
    esac
done

# One kind again: under the same authority, and nothing else changes.
before=$(cat "$dir/ca.pem" "$dir/client.pem" | sha256sum)
server_before=$(sha256sum <"$dir/server.pem")
"$make_certs" "$dir" server
[ "$(cat "$dir/ca.pem" "$dir/client.pem" | sha256sum)" = "$before" ] ||
    complain 'making one kind changed others'
[ "$(sha256sum <"$dir/server.pem")" != "$server_before" ] || complain 'server was not made anew'
expect ok server "${server[@]}"

if "$make_certs" "$dir" nonsense 2>/dev/null; then
    complain 'an unknown kind was taken'
fi
if compgen -G "$dir/.work.*" >/dev/null; then
    complain 'work files were left behind'
fi

if [ "$failures" -gt 0 ]; then
    printf 'certs_check: %d faults\n' "$failures"
    exit 1
fi
printf 'certs_check: every certificate is what it claims to be\n'
