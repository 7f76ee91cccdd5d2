-- Revokes the token $2 of the namespace $1, in the name of $3. Its sessions are over, too, since they are looked up with it. Called by:
-- clients. Zero rows: there is no such token. Locks: the token's row. Index: token_by_name.
with revoked as (
    update dacapo.token
    set revoked_at = clock_timestamp(), revoked_by = $3::text
    where namespace = $1::text and name = $2::text and revoked_at is null
    returning name
),
noted as (
    insert into dacapo.audit (namespace, who, via, action, target, outcome)
    select $1, $3, 'command', 'token-revoke', name, 'done'
    from revoked
)
select name
from revoked
