-- Who did what, the newest first: of the namespace $1; $2 who, $3 action, $4 target, $5 outcome, $6 since and $7 before these times, $8 below
-- this id (the last of the page before), $9 rows. Called by: clients, with a plan of its own for each call. Locks: nothing.
-- Indexes: audit_by_namespace, or what fits of audit_by_who, audit_by_action, audit_by_target.
select
    id,
    at as "at: Time",
    who,
    via,
    role,
    action,
    target,
    outcome,
    status,
    address
from dacapo.audit
where namespace = $1
    and ($2::text is null or who = $2)
    and ($3::text is null or action = $3)
    and ($4::text is null or target = $4)
    and ($5::text is null or outcome = $5)
    and at >= coalesce($6::timestamptz, '-infinity')
    and at < coalesce($7::timestamptz, 'infinity')
    and id < coalesce($8::bigint, 9223372036854775807)
order by id desc
limit $9
