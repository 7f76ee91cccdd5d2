#!/usr/bin/env bash
# A workflow survives the kill of its worker. Called by `./x demo`, which has built the guests and `dacapo`.
# Everything happens in a directory of its own, which is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
dacapo=$target/debug/dacapo
guests=$target/wasm32-wasip2/guest
steps=400

unset DATABASE_URL
directory=$(mktemp -d "${TMPDIR:-/tmp}/dacapo-demo-XXXXXX")
# As root, Postgres runs as another user, who must be able to get to its data.
chmod 755 "$directory"
export DACAPO_DATA_DIR=$directory/data
export DACAPO_CACHE_DIR=$directory/cache
dev='' worker=''

finish() {
    local status=$?
    [ -z "$worker" ] || { kill -TERM "$worker" 2>/dev/null && wait "$worker" || true; }
    [ -z "$dev" ] || { kill -INT "$dev" 2>/dev/null && wait "$dev" || true; }
    if [ $status != 0 ] && [ -s "$directory/worker.log" ]; then
        printf '\nthe worker said:\n' >&2
        tail -n 20 "$directory/worker.log" >&2
    fi
    rm -rf "$directory"
    exit $status
}
trap finish EXIT

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() {
    printf '$ dacapo'
    printf ' %s' "$@"
    printf '\n'
    "$dacapo" "$@"
}
fail() { printf 'the demo went wrong: %s\n' "$*" >&2; exit 1; }

# Tries a command every tenth of a second, for 30 seconds.
until_true() {
    local what=$1
    shift
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "gave up waiting until $what"
}

# A field of a run, by a pattern over its JSON: enough here, and needs nothing installed.
status() { "$dacapo" runs show "$1" --output json | sed -n 's/^  "status": "\(.*\)",$/\1/p'; }
has_status() { [ "$(status "$1")" = "$2" ]; }
steps_done() { "$dacapo" runs show "$1" --output json | sed -n 's/^    "done": \([0-9]*\).*$/\1/p'; }
has_steps() { [ "$(steps_done "$1")" -ge "$2" ]; }

start_worker() {
    "$dacapo" worker >>"$directory/worker.log" 2>&1 &
    worker=$!
}

say "dacapo dev: a private Postgres, and workflows deployed"
"$dacapo" dev --no-worker "$guests/onboard_user.wasm" "$guests/process_payment.wasm" "$guests/approval.wasm" \
    "$guests/probe.wasm" 2>"$directory/dev.log" &
dev=$!
until_true "dev is ready" grep -q 'ready; stop with' "$directory/dev.log"
grep ' is active' "$directory/dev.log"
start_worker

say "a run that only computes, and one that waits for its bank"
run start onboard --input '{"email": "ada@example.org", "name": "Ada"}' --wait
payment=$("$dacapo" start process --input \
    '{"orderId": 7, "amountCents": 1250, "currency": "eur", "items": [{"sku": "tea", "price": 1250}]}')
until_true "the payment waits" has_status "$payment" suspended
run runs show "$payment"
echo "(it is suspended: rows in Postgres, and nothing in any process)"

say "a run of $steps steps, and kill -9 of its worker in the middle"
long=$("$dacapo" start effects --input "$steps")
until_true "the run is under way" has_steps "$long" 20
kill -9 "$worker"
wait "$worker" 2>/dev/null || true
echo "killed worker $worker; recorded so far: $(steps_done "$long") of $steps steps, status: $(status "$long")"
[ "$(steps_done "$long")" -lt "$steps" ] || echo "(the machine was quicker than the kill: the run was done already)"

say "another worker: it takes the run over when the lease of the dead one is over, and plays it again from the top"
start_worker
until_true "the run is completed" has_status "$long" completed
printf 'completed: %s of %s steps\n' "$(steps_done "$long")" "$steps"

say "the bank settles"
run event "$payment" settled '{"reference": "bank-4711"}' --id bank-4711
until_true "the payment is completed" has_status "$payment" completed
run runs list

say "how often was each step's body executed?"
"$dacapo" runs logs "$long" | grep -o 'effect s#[0-9]*' | sort | uniq -c | awk '{print $1}' | sort -n | uniq -c |
    awk '{printf "%d steps left their line %d time(s)\n", $1, $2}'
lines=$("$dacapo" runs logs "$long" | grep -c 'effect s#')
distinct=$("$dacapo" runs logs "$long" | grep -o 'effect s#[0-9]*' | sort -u | wc -l)
[ "$distinct" = "$steps" ] || fail "expected lines of $steps steps, found $distinct"
[ "$lines" -le $((steps + 1)) ] || fail "expected at most one line twice, found $lines lines of $steps steps"
echo "Each recorded step's body was executed once. The one body that the kill interrupted, before it was recorded, may have been"
echo "executed twice (and then shows twice, if its line was written in time): a step is recorded exactly once, but its body is"
echo "tried until it is. That is why a body should be able to bear it."
run doctor
