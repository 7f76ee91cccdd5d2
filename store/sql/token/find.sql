-- The token of the namespace $1 whose secret has the hash $2. Called by: the server, at each request. Zero rows: there is none, or it is
-- revoked or has expired. Locks: nothing. Index: token_by_hash.
select
    id,
    name,
    role,
    workflows,
    labels::text as "labels!",
    payloads,
    used_at is null or used_at < clock_timestamp() - interval '1 minute' as "is_use_to_note!"
from dacapo.token
where hash = $2
    and namespace = $1
    and revoked_at is null
    and (expires_at is null or expires_at > clock_timestamp())
