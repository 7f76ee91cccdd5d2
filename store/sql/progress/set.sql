-- Writes how far runs are, as their code said last: $1 run, $2 done, $3 total, $4 note. Called by: the journal writer of a worker, in the
-- transaction of a flush that holds its fence. Zero rows cannot be. Locks: the rows of its own runs. Index: progress_pkey.
insert into dacapo.progress (run_id, done, total, note)
select p.run_id, p.done, p.total, p.note
from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) as p (run_id, done, total, note)
on conflict (run_id) do update
set done = excluded.done, total = excluded.total, note = excluded.note, at = excluded.at
