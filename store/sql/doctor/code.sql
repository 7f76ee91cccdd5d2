-- Components and deployments that are not as they should be.
-- Called by: `dacapo doctor`. Locks: nothing. It reads the bytes of all components.
with findings (code, what, why, advice, count, which) as (
    select 'missing-component', 'deployment ' || deployment.number || ' of ' || deployment.package || ' has no component',
        'its runs are blocked', 'deploy the file with digest ' || deployment.digest || ' again', 1,
        array[deployment.package || '@' || deployment.number]
    from dacapo.deployment
    where not exists (select from dacapo.component where component.digest = deployment.digest)
    union all
    select 'damaged-component', 'the stored bytes of component ' || component.digest || ' have another digest',
        'workers that have not compiled it yet cannot load it, and block its runs',
        'deploy the file with that digest again',
        1, coalesce(
            (
                select array_agg(package || '@' || number order by package, number)
                from dacapo.deployment
                where deployment.digest = component.digest
            ), '{}'
        )
    from dacapo.component
    where encode(sha256(bytes), 'hex') <> digest
    union all
    select 'unknown-child',
        'deployment ' || caller.number || ' of ' || caller.package || ' calls ' || count(*) || ' workflows that no active deployment has',
        'a run that calls one is blocked until it is deployed', 'deploy them with `dacapo deploy FILE.wasm`',
        count(*), (array_agg(call.value ->> 'name' order by call.value ->> 'name'))[1:3]
    from dacapo.deployment as caller
    cross join lateral jsonb_array_elements(coalesce(caller.descriptor::jsonb -> 'children', '[]')) as call (value)
    where (caller.active or caller.rollout_percent is not null)
        and not exists (
            select from dacapo.workflow
            join dacapo.deployment as there on there.id = workflow.deployment_id
            where workflow.name = call.value ->> 'name' and there.namespace = caller.namespace
                and (there.active or there.rollout_percent is not null)
        )
    group by caller.id, caller.number, caller.package
    union all
    select 'stray-roll-out',
        package || ' (namespace ' || namespace || ') has a roll-out beside an active deployment that does not share, or shares with none',
        'new runs may go to the wrong deployment',
        'activate one of them with `dacapo deployments activate ' || package || ' N`; and this is a bug of dacapo: please report it', 1, array[package]
    from dacapo.deployment
    group by namespace, package
    having bool_or(shared) <> bool_or(rollout_percent is not null)
)
select code as "code!", what as "what!", why as "why!", advice as "advice!", count as "count!", which as "which!" from findings
