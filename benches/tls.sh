#!/usr/bin/env bash
# CPU per operation over TLS, Ringfold beside redis-server, one after the other in each round:
#
#   cargo build --release --workspace && benches/tls.sh [rounds] [seconds]
#
# The servers run on CPU 0 and loadgen on CPU 1; certificates are made anew (ECDSA P-256), TLS is 1.3.
# Prints a line per run and the medians: nanoseconds of the server's CPU for each request.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5} seconds=${2:-5}
bin=$(cd "${CARGO_TARGET_DIR:-target}/${PROFILE:-release}" && pwd)
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$dir"' EXIT

key() { openssl ecparam -genkey -name prime256v1 -noout -out "$dir/$1.key" 2>/dev/null; }
key ca
openssl req -x509 -new -key "$dir/ca.key" -subj /CN=bench-ca -days 2 -out "$dir/ca.crt"
key server
openssl req -new -key "$dir/server.key" -subj /CN=bench -out "$dir/server.csr"
printf 'subjectAltName=DNS:localhost\n' > "$dir/ext"
openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.crt" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
    -extfile "$dir/ext" -out "$dir/server.crt" 2>/dev/null

base=$((20000 + RANDOM % 20000))
common=(--bind 127.0.0.1 --port 0 --save "" --tls-cert-file "$dir/server.crt" --tls-key-file "$dir/server.key"
        --tls-ca-cert-file "$dir/ca.crt" --tls-protocols TLSv1.3)
declare -A port pid
start() { # name port command ..
    local name=$1; port[$name]=$2; shift 2
    (cd "$dir" && exec taskset -c 0 "$@" "${common[@]}" --tls-port "${port[$name]}" >"$dir/$name.log" 2>&1) &
    pid[$name]=$!; pids+=($!)
}
start ringfold $base "$bin/ringfold" --cores 1
start redis $((base + 1)) redis-server
tls=(--tls --cacert "$dir/ca.crt" --cert "$dir/server.crt" --key "$dir/server.key")
for name in ringfold redis; do
    until redis-cli "${tls[@]}" --insecure -p "${port[$name]}" PING 2>/dev/null | grep -q PONG; do sleep 0.1; done
done

for name in ringfold redis; do # all keys are there: not counted
    "$bin/loadgen" "${tls[@]}" -p "${port[$name]}" -n 50 --fill >/dev/null
done

uname -r; redis-server --version; git rev-parse --short HEAD
for command in get set; do
    for pipeline in 1 16; do
        for round in $(seq "$rounds"); do
            for name in ringfold redis; do
                taskset -c 1 "$bin/loadgen" "${tls[@]}" -p "${port[$name]}" --server-pid "${pid[$name]}" -c 50 \
                    -P "$pipeline" -d "$seconds" --command "$command" --json "$dir/run.json" >/dev/null
                each=$(python3 -c 'import json, sys; print(round(json.load(open(sys.argv[1]))["server_cpu_ns_per_request"]))' "$dir/run.json")
                echo "$command pipeline $pipeline round $round $name $each"
            done
        done
    done
done | tee "$dir/lines"
sort "$dir/lines" | awk '{ key = $1 " " $2 " " $3 " " $6; n[key]++; v[key, n[key]] = $7 }
    END { for (key in n) { for (i = 1; i <= n[key]; i++) for (j = i + 1; j <= n[key]; j++)
        if (v[key, j] < v[key, i]) { t = v[key, i]; v[key, i] = v[key, j]; v[key, j] = t }
        print "median:", key, v[key, int((n[key] + 1) / 2)], "ns" } }' | sort
