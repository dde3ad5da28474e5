#!/usr/bin/env bash
# Makes a throw-away PKI for tests and for the demo. Nothing made here is worth keeping: the keys
# have no passphrase, the certificates last 30 days. What each kind is: certs/README.md.
#
#   certs/make-certs.sh DIR            everything, new authorities included
#   certs/make-certs.sh DIR KIND...    these kinds; the authorities in DIR are used again if good
#
# Needs the openssl command, 3.0 or newer, and nothing else that a bare Debian lacks.
set -euo pipefail
umask 077
export LC_ALL=C

all_kinds=(server server-chain client client-other selfsigned expired notyet wronghost wildcard
    cnonly noip eku-client rsa1024 nameconstraint badca unknown)

fail() {
    printf 'make-certs.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    printf 'usage: certs/make-certs.sh DIR [KIND...]\nkinds: ca other-ca %s\n' "${all_kinds[*]}"
}

case "${1-}" in
    -h | --help)
        usage
        exit 0
        ;;
    '' | -*)
        usage >&2
        exit 2
        ;;
esac
dir=$1
shift
command -v openssl >/dev/null || fail 'the openssl command is missing: apt-get install openssl'
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# Tests of one build may ask for the same directory at the same time.
exec 9>"$dir/.lock"
flock 9
work=$(mktemp -d "$dir/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The machine's own openssl.cnf must not change what is made here. `openssl ca`, not
# `openssl x509 -req`, because in 3.0 it alone takes dates of the past and of the future.
cat >"$work/openssl.cnf" <<'CNF'
[req]
distinguished_name = name
prompt = no
[name]
CN = overridden by -subj
[ca]
default_ca = throwaway
[throwaway]
new_certs_dir = $ENV::ESCLUSA_CERTS_WORK
database = $ENV::ESCLUSA_CERTS_WORK/index.txt
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 30
policy = any
email_in_dn = no
[any]
commonName = supplied
CNF
: >"$work/index.txt"
printf 'unique_subject = no\n' >"$work/index.txt.attr"
export ESCLUSA_CERTS_WORK=$work
export OPENSSL_CONF=$work/openssl.cnf

# Quiet unless it fails: then what OpenSSL said is the only clue.
openssl_quiet() {
    openssl "$@" >>"$work/openssl.log" 2>&1 || {
        cat "$work/openssl.log" >&2
        fail "openssl $1 failed"
    }
}

when() { # WORDS...: a date as `openssl ca` takes it
    date -u -d "$*" +%Y%m%d%H%M%SZ
}

now_start=$(when '1 hour ago') # a peer's clock may be a little behind
now_end=$(when '30 days')

# issue NAME ISSUER START END EXTENSION...: makes $work/NAME.key and $work/NAME.pem. ISSUER is the
# path of an authority without its suffix, or "self". The variable "key_kind" may ask for RSA 1024.
key_kind=ec
issue() {
    local name=$1 issuer=$2 start=$3 end=$4 subject=/CN=${common_name:-esclusa test $1}
    shift 4
    local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)
    [ "$key_kind" = ec ] || key=(-newkey "$key_kind")
    openssl_quiet req -new "${key[@]}" -noenc -subj "$subject" -keyout "$work/$name.key" \
        -out "$work/$name.csr"
    printf '%s\n' "$@" >"$work/$name.ext"
    local signer=(-cert "$issuer.pem" -keyfile "$issuer.key")
    [ "$issuer" != self ] || signer=(-selfsign -keyfile "$work/$name.key")
    openssl_quiet ca -batch -notext "${signer[@]}" -startdate "$start" -enddate "$end" \
        -extfile "$work/$name.ext" -in "$work/$name.csr" -out "$work/$name.pem"
}

# publish NAME [CHAIN_FILE...]: NAME.pem is the leaf and what follows it, NAME.key its key.
publish() {
    local name=$1
    shift
    cat "$work/$name.pem" "$@" >"$work/$name.whole"
    mv "$work/$name.key" "$dir/$name.key"
    mv "$work/$name.whole" "$dir/$name.pem"
}

authority=('basicConstraints = critical, CA:TRUE' 'keyUsage = critical, keyCertSign, cRLSign'
    'subjectKeyIdentifier = hash')
key_ids=('subjectKeyIdentifier = hash' 'authorityKeyIdentifier = keyid')
leaf=('basicConstraints = critical, CA:FALSE' 'keyUsage = critical, digitalSignature'
    "${key_ids[@]}")
server_use='extendedKeyUsage = serverAuth'
client_use='extendedKeyUsage = clientAuth'
local_names='subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1'

make_root() { # NAME
    issue "$1" self "$now_start" "$now_end" "${authority[@]}"
    publish "$1"
}

need_root() { # NAME: kept when it is there and good for another day
    if [ -f "$dir/$1.pem" ] && [ -f "$dir/$1.key" ] &&
        openssl x509 -in "$dir/$1.pem" -noout -checkend 86400 >/dev/null 2>&1; then
        return
    fi
    make_root "$1"
}

# simple NAME EXTENSION...: a leaf of the root, good today.
simple() {
    local name=$1
    shift
    issue "$name" "$dir/ca" "$now_start" "$now_end" "${leaf[@]}" "$@"
    publish "$name"
}

make_kind() {
    local yesterday last_month tomorrow next_month
    yesterday=$(when '1 day ago')
    last_month=$(when '30 days ago')
    tomorrow=$(when '1 day')
    next_month=$now_end
    case "$1" in
        ca | other-ca) ;; # made by then
        server) simple server "$local_names" "$server_use" ;;
        server-chain)
            issue intermediate "$dir/ca" "$now_start" "$now_end" "${authority[@]}" \
                'authorityKeyIdentifier = keyid'
            publish intermediate
            issue server-chain "$dir/intermediate" "$now_start" "$now_end" "${leaf[@]}" \
                "$local_names" "$server_use"
            cp "$work/server-chain.pem" "$work/server-leaf-only.pem"
            cp "$work/server-chain.key" "$work/server-leaf-only.key"
            publish server-chain "$dir/intermediate.pem"
            publish server-leaf-only
            ;;
        client) simple client "$client_use" ;;
        client-other)
            issue client-other "$dir/other-ca" "$now_start" "$now_end" "${leaf[@]}" "$client_use"
            publish client-other
            ;;
        selfsigned)
            issue selfsigned self "$now_start" "$now_end" \
                'basicConstraints = critical, CA:FALSE' \
                'keyUsage = critical, digitalSignature' 'subjectKeyIdentifier = hash' \
                "$local_names" "$server_use"
            publish selfsigned
            ;;
        expired)
            issue expired "$dir/ca" "$last_month" "$yesterday" "${leaf[@]}" "$local_names" \
                "$server_use"
            publish expired
            ;;
        notyet)
            issue notyet "$dir/ca" "$tomorrow" "$next_month" "${leaf[@]}" "$local_names" \
                "$server_use"
            publish notyet
            ;;
        wronghost) simple wronghost 'subjectAltName = DNS:other.example' "$server_use" ;;
        wildcard) simple wildcard 'subjectAltName = DNS:*.wild.test' "$server_use" ;;
        cnonly) common_name=localhost simple cnonly "$server_use" ;;
        noip) simple noip 'subjectAltName = DNS:localhost' "$server_use" ;;
        eku-client) simple eku-client "$local_names" "$client_use" ;;
        rsa1024) key_kind=rsa:1024 simple rsa1024 "$local_names" "$server_use" ;;
        nameconstraint)
            issue nameconstraint-ca "$dir/ca" "$now_start" "$now_end" "${authority[@]}" \
                'authorityKeyIdentifier = keyid' \
                'nameConstraints = critical, permitted;DNS:allowed.example'
            issue nameconstraint "$work/nameconstraint-ca" "$now_start" "$now_end" "${leaf[@]}" \
                'subjectAltName = DNS:localhost' "$server_use"
            publish nameconstraint "$work/nameconstraint-ca.pem"
            ;;
        badca)
            # keyCertSign is there, so that the missing CA flag is its one fault.
            issue badca-ca "$dir/ca" "$now_start" "$now_end" \
                'basicConstraints = critical, CA:FALSE' \
                'keyUsage = critical, digitalSignature, keyCertSign' "${key_ids[@]}"
            issue badca "$work/badca-ca" "$now_start" "$now_end" "${leaf[@]}" "$local_names" \
                "$server_use"
            publish badca "$work/badca-ca.pem"
            ;;
        unknown)
            issue unknown "$dir/other-ca" "$now_start" "$now_end" "${leaf[@]}" "$local_names" \
                "$server_use"
            publish unknown
            ;;
        *) fail "unknown kind '$1'; kinds: ca other-ca ${all_kinds[*]}" ;;
    esac
}

# Asked for by the other half of their name.
canonical() {
    case "$1" in
        intermediate | server-leaf-only) printf 'server-chain\n' ;;
        *) printf '%s\n' "$1" ;;
    esac
}

if [ $# -eq 0 ]; then
    make_root ca
    make_root other-ca
    set -- "${all_kinds[@]}"
else
    need_root ca
    need_root other-ca
fi
for kind in "$@"; do
    make_kind "$(canonical "$kind")"
done
