-- A worker announces itself, with one open fence for each of its $5 connections, and the queues that it serves ($6; none: all). Called once for each incarnation.
with worker as (
    insert into dacapo.worker (id, name, version, lease_until, queues)
    values ($1, $2, $3, clock_timestamp() + $4::bigint * interval '1 millisecond', $6)
    returning id
)
insert into dacapo.fence (worker_id, connection)
select worker.id, connection
from worker, generate_series(0, $5::integer - 1) as connection
