-- Makes a token in the namespace $1: $2 its name, $3 the hash of its secret, $4 role, $5 patterns of workflows, $6 labels, $7 whether it
-- shows payloads, $8 in how many milliseconds it expires (null: never), $9 who makes it. Called by: clients. Zero rows: there is one of
-- this name. Locks: nothing that was there. Index: token_by_name.
with made as (
    insert into dacapo.token (namespace, name, hash, role, workflows, labels, payloads, expires_at, created_by)
    values ($1::text, $2::text, $3::bytea, $4::text, $5::text[], $6::text::jsonb, $7::boolean, clock_timestamp() + $8::bigint * interval '1 millisecond', $9::text)
    on conflict (namespace, name) where revoked_at is null do nothing
    returning name, created_at, expires_at
),
noted as (
    insert into dacapo.audit (namespace, who, via, action, target, outcome)
    select $1, $9, 'command', 'token-create', name, 'done'
    from made
)
select created_at as "created_at!: Time", expires_at as "expires_at: Time"
from made
