-- Ends up to $1 runs whose deadline has passed, with the failure $2, and tells when the next one does.
-- Called by: a worker's control loop, any number of them at once: each row is taken by one. A run that a worker plays is told to end, and
-- looked at again after $3 milliseconds, in case its worker is dead; one whose task somebody else holds, half a second later.
-- $4 is a lower bound of `at` from which the index is read (null: none), so that it does not walk over entries of rows that are gone but still visible to
-- somebody's old snapshot; the next one that passes is looked for no further ahead than $5 milliseconds, for the same reason.
-- Locks: the deadline rows and the task rows (skipping those locked by others), then the run rows.
-- Indexes: deadline_by_time, the keys of deadline, run and the task tables.
with clock as materialized (
    -- Looked at once: it changes while a statement runs, and nothing that does bounds what is read of an index.
    select clock_timestamp() as now
),
due as materialized (
    select run_id
    from dacapo.deadline
    where at >= coalesce($4::timestamptz, '-infinity') and at <= (select now from clock)
    order by at
    limit $1
    for update skip locked
),
-- All task rows before any run's row, and none that somebody else holds: a flush that is ending one of these runs has its task.
leased as materialized (
    select run_id from dacapo.task_leased where run_id = any (array(select run_id from due)) for update skip locked
),
suspended as materialized (
    select run_id from dacapo.task_suspended where run_id = any (array(select run_id from due)) for update skip locked
),
ready as materialized (
    select run_id from dacapo.task_ready where run_id = any (array(select run_id from due)) for update skip locked
),
held as materialized (
    select run_id from leased
    union all select run_id from suspended
    union all select run_id from ready
),
asked as materialized (
    select
        due.run_id,
        case
            when due.run_id in (select run_id from held) then dacapo.end_run(due.run_id, 'deadline', $2)
            when exists (select from dacapo.run where run.id = due.run_id and run.status = 'active') then 'busy'
            else 'over'
        end as answer
    from due
),
gone as (
    delete from dacapo.deadline
    using asked
    where deadline.run_id = any (array[asked.run_id]) and asked.answer not in ('ending', 'busy')
),
later as (
    update dacapo.deadline
    set at = clock_timestamp() + case asked.answer when 'busy' then 500 else $3::bigint end * interval '1 millisecond'
    from asked
    where deadline.run_id = any (array[asked.run_id]) and asked.answer in ('ending', 'busy')
)
select
    (select count(*) from asked) as "asked!",
    (
        select at
        from dacapo.deadline
        where at > (select now from clock) and at <= (select now + $5::bigint * interval '1 millisecond' from clock)
        order by at
        limit 1
    ) as "next: Time"
