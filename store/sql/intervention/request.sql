-- Asks something of the run $1 and keeps who did ($3) and why ($4, if they said): $2 is `pause`, `resume`, `cancel` or `force-cancel`, $5 the
-- failure that the last one ends it with. Nothing is kept where the run's status does not allow it.
-- Called by: clients. Answers the word of the function that it calls. Locks: what that does. Indexes: those of that.
with asked as materialized (
    select case $2::text
        when 'pause' then dacapo.pause($1)
        when 'resume' then dacapo.resume($1)
        when 'cancel' then dacapo.cancel($1)
        when 'force-cancel' then dacapo.end_run($1, 'kill', $5::text)
    end as answer
),
kept as (
    insert into dacapo.intervention (run_id, action, who, details)
    select $1, $2, $3::text, json_strip_nulls(json_build_object('reason', $4::text))::text
    from asked
    where answer in ('paused-now', 'pausing', 'resumed', 'cancelled-now', 'cancelling-now', 'ended', 'ending')
)
select answer as "answer!"
from asked
