-- Runs that were moved to the deployment $1, by who moved them and from which number of its package, the last first. Of each of its workflows
-- $2 no more than the $3 oldest runs on it are looked at: what was moved began elsewhere, mostly before the deployment was there.
-- Called by: clients. Locks: nothing. Indexes: run_by_code, intervention_pkey.
select
    move.who as "who!",
    move.from_number as "from_number!",
    count(*) as "runs!",
    max(move.at) as "last_at!: Time"
from unnest($2::text[]) as workflow (name)
cross join lateral (
    select id
    from dacapo.run
    where run.deployment_id = $1 and run.workflow = workflow.name
    order by run.created_at, run.id
    limit $3
) as oldest
cross join lateral (
    -- What an imported run says of its former life is not about deployments here.
    select who, (details::json ->> 'from')::integer as from_number, at
    from dacapo.intervention
    where run_id = oldest.id and action = 'move' and details::json ->> 'from' ~ '^[0-9]{1,9}$'
        and details::json ->> 'to' = (select number::text from dacapo.deployment where id = $1)
        and not exists (
            select from dacapo.intervention as later
            where later.run_id = oldest.id and later.action = 'import' and later.at >= intervention.at
        )
    order by at desc
    limit 1
) as move
group by move.who, move.from_number
order by max(move.at) desc
limit 20
