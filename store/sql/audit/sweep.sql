-- Deletes rows that are older than $1 seconds, $2 at most, and sessions that are over. Called by: the worker whose turn it is to sweep. Answers
-- how many rows are gone. Locks: what it deletes, skipping what is locked. Indexes: audit_by_time, audit_pkey, session_by_end.
with old as (
    select id
    from dacapo.audit
    where at < clock_timestamp() - $1::bigint * interval '1 second'
    order by at
    limit $2
    for update skip locked
),
over as (
    delete from dacapo.session
    where hash = any (array(
        select hash
        from dacapo.session
        where expires_at < clock_timestamp()
        order by expires_at
        limit $2
        for update skip locked
    ))
),
gone as (
    delete from dacapo.audit
    where id = any (array(select id from old))
    returning id
)
select count(*) as "gone!"
from gone
