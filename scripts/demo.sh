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

all_completed() {
    local statuses
    statuses=$("$dacapo" runs list --output json | grep '"status"') && ! grep -qv '"completed"' <<<"$statuses"
}

# The keys of a run's recorded steps, one a line.
keys_of() { "$dacapo" runs show "$1" --output json | sed -n 's/^ *"key": "\(.*\)",$/\1/p'; }

# check_bodies RECORDED_AT_KILL RECORDED LINES: files with a key a line. Says how often bodies ran, and whether that is as promised.
check_bodies() {
    awk -v steps="$steps" '
        FILENAME == ARGV[1] { at_kill[$1] = 1; before++ }
        FILENAME == ARGV[2] { recorded[$1]++ }
        FILENAME == ARGV[3] { lines[$1]++ }
        END {
            for (key in recorded) {
                kinds++
                if (recorded[key] != 1) { print key " is recorded " recorded[key] " times"; exit 1 }
                if (lines[key] < 1) { print "no line of " key; exit 1 }
                if (lines[key] == 1) { continue }
                if (key in at_kill) { print key " was recorded before the kill, and its body left " lines[key] " lines"; exit 1 }
                interrupted++
                extra += lines[key] - 1
            }
            if (kinds != steps) { print "expected " steps " recorded steps, found " kinds + 0; exit 1 }
            for (key in lines) { if (!(key in recorded)) { print "a line of " key ", which is not recorded"; exit 1 } }
            if (extra > 1) { print extra " lines too many, after one kill"; exit 1 }
            print before + 0 " steps were recorded before the kill: each of their bodies was executed once, and none again after it."
            print steps - before " steps came after it; bodies that show twice: " interrupted + 0 "."
        }' "$1" "$2" "$3"
}

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
# A quick machine may be done before the kill, which would show nothing: then another run is tried.
for _ in 1 2 3 4 5; do
    long=$("$dacapo" start effects --input "$steps")
    until_true "the run is under way" has_steps "$long" 20
    kill -9 "$worker"
    wait "$worker" 2>/dev/null || true
    killed=$worker worker=''
    keys_of "$long" >"$directory/recorded-at-kill"
    recorded=$(wc -l <"$directory/recorded-at-kill")
    [ "$recorded" -ge "$steps" ] || break
    echo "(the run was done before the kill; once more)"
    start_worker
done
[ "$recorded" -lt "$steps" ] || fail "each of five runs was done before its worker was killed"
echo "killed worker $killed; recorded so far: $recorded of $steps steps, status: $(status "$long")"

say "another worker: it takes the run over when the lease of the dead one is over, and plays it again from the top"
start_worker
until_true "the run is completed" has_status "$long" completed
printf 'completed: %s of %s steps\n' "$(steps_done "$long")" "$steps"

say "the bank settles"
run event "$payment" settled '{"reference": "bank-4711"}' --id bank-4711
until_true "all runs are completed" all_completed
run runs list

say "how often was each step's body executed?"
# Each body writes one line to the run's log. The line is committed no later than the body's outcome, so a recorded step whose body
# ran again would show two.
keys_of "$long" >"$directory/recorded"
"$dacapo" runs logs "$long" | sed -n 's/.*effect \(s#[0-9]*\).*/\1/p' >"$directory/lines"
counted=$(check_bodies "$directory/recorded-at-kill" "$directory/recorded" "$directory/lines") || fail "$counted"
echo "$counted"
echo "A step is recorded exactly once, and its body is tried until it is: the one body that the kill interrupted may have been"
echo "executed twice. It shows twice if its first line was written before the kill, and may show once although it ran twice if not."
echo "That is why a body should be able to bear it."
run doctor
