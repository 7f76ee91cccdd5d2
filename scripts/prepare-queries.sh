#!/usr/bin/env bash
# Writes what the compiler has to know about the store's queries into the directory named, which is emptied first.
# DATABASE_URL names an empty database. Called by `./x prepare`.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$1

for migration in migrations/*.sql; do
    # The schema itself is made by the store before the first migration, as the place of its own table.
    psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --single-transaction "$DATABASE_URL" \
        --command 'set client_min_messages = warning; create schema if not exists dacapo' --file "$migration"
done

mkdir -p "$directory"
rm -f "$directory"/query-*.json
# The macros describe a query only when its crate is compiled.
touch store/src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$(realpath "$directory") cargo check --quiet -p dacapo-store
