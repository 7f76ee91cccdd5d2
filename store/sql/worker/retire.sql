-- A worker that has handed everything back takes its name off. Called at the end of a drain. Zero rows: it was fenced before.
with retired as (
    delete from dacapo.worker
    where id = $1 and not exists (select from dacapo.task_leased where worker_id = $1)
    returning id
)
delete from dacapo.fence using retired where fence.worker_id = retired.id
