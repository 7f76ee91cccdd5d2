-- The runs of a page, newest first, where no more is asked of them than a time, or that they completed. Called by: clients; its plan is kept.
-- Locks: nothing. Index: run_by_creation.
-- $1 namespace, $2 status, $3 created since, $4 and $5 creation time and id above all that are asked for, $6 rows.
select id as "id!"
from dacapo.run
where namespace = $1
    and ($2::text is null or status = $2)
    and created_at >= coalesce($3::timestamptz, '-infinity')
    and (created_at, id) < (coalesce($4::timestamptz, 'infinity'), coalesce($5::uuid, '00000000-0000-0000-0000-000000000000'))
order by created_at desc, id desc
limit $6::bigint
