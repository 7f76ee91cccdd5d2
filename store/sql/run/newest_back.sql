-- The runs of a page, oldest first: the mirror of `newest.sql`. Called by: clients that page back; its plan is kept. Locks: nothing. Index:
-- run_by_creation, backwards.
-- Other than there, $3 is created before, and $4 and $5 are the creation time and id below all that are asked for.
select id as "id!"
from dacapo.run
where namespace = $1
    and ($2::text is null or status = $2)
    and created_at < coalesce($3::timestamptz, 'infinity')
    and (created_at, id) > (coalesce($4::timestamptz, '-infinity'), coalesce($5::uuid, '00000000-0000-0000-0000-000000000000'))
order by created_at, id
limit $6::bigint
