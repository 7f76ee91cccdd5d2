-- Ends up to $1 runs whose deadline has passed, with the failure $2, and tells when the next one does.
-- Called by: a worker's control loop, any number of them at once: each row is taken by one. A run that a worker plays is told to end, and
-- looked at again after $3 milliseconds, in case its worker is dead.
-- Locks: the deadline rows (skipping those locked by others), then what dacapo.end_run locks. Indexes: deadline_by_time, deadline_pkey.
with due as materialized (
    select run_id
    from dacapo.deadline
    where at <= clock_timestamp()
    order by at
    limit $1
    for update skip locked
),
asked as materialized (
    select run_id, dacapo.end_run(run_id, 'deadline', $2) as answer
    from due
),
gone as (
    delete from dacapo.deadline
    using asked
    where deadline.run_id = asked.run_id and asked.answer <> 'ending'
),
later as (
    update dacapo.deadline
    set at = clock_timestamp() + $3::bigint * interval '1 millisecond'
    from asked
    where deadline.run_id = asked.run_id and asked.answer = 'ending'
)
select
    (select count(*) from asked) as "asked!",
    (
        select at
        from dacapo.deadline
        where at > statement_timestamp()
        order by at
        limit 1
    ) as "next: Time"
