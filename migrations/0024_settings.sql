-- What a manifest says of runs beside how their steps are tried again: the queue and the priority of those whose start does not say, and how
-- long they are kept once they have ended. Written down with the workflow when it is deployed, so that no start reads a manifest.

alter table dacapo.workflow
    -- The named queue of runs whose start names none.
    add column queue text,
    -- The priority of runs whose start says none.
    add column priority smallint,
    add constraint workflow_priority_within check (priority between -100 and 100);

-- How long runs on a deployment are kept, where its manifest says it. A rule of `retention` for that very workflow comes before it.
create table dacapo.workflow_retention (
    deployment_id bigint not null,
    workflow text not null,
    status text not null,
    -- That of the deployment.
    namespace text not null,
    -- Null: for ever.
    keep_seconds bigint,
    primary key (deployment_id, workflow, status),
    foreign key (deployment_id, workflow) references dacapo.workflow (deployment_id, name) on delete cascade,
    constraint workflow_retention_status_known check (status in ('completed', 'failed', 'cancelled')),
    constraint workflow_retention_keep_sensible check (keep_seconds between 60 and 3155760000)
);
-- For the shortest of a namespace.
create index workflow_retention_by_length on dacapo.workflow_retention (namespace, keep_seconds);

-- Deploying ----------------------------------------------------------------------------------------------------------------

-- What is wrong with the settings of runs in one table of a manifest. Null: nothing. The model's `Manifest::checked` says the same first.
create function dacapo.settings_problem(p_settings jsonb, p_path text) returns text
language plpgsql immutable as $$
declare
    v_priority numeric;
    v_seconds numeric;
    v_one record;
begin
    if coalesce(jsonb_typeof(p_settings -> 'queue'), 'null') <> 'null' and (
        jsonb_typeof(p_settings -> 'queue') <> 'string' or p_settings ->> 'queue' = '' or octet_length(p_settings ->> 'queue') > 200
    ) then
        return p_path || '.queue: expected the name of a queue, got ' || dacapo.json_excerpt((p_settings -> 'queue')::text);
    end if;
    v_priority := case when jsonb_typeof(p_settings -> 'priority') = 'number' then (p_settings ->> 'priority')::numeric end;
    if coalesce(jsonb_typeof(p_settings -> 'priority'), 'null') <> 'null'
        and (v_priority is null or v_priority not between -100 and 100 or v_priority <> trunc(v_priority)) then
        return p_path || '.priority: expected a whole number from -100 to 100, got '
            || dacapo.json_excerpt((p_settings -> 'priority')::text);
    end if;
    if coalesce(jsonb_typeof(p_settings -> 'retention'), 'null') = 'null' then
        return null;
    elsif jsonb_typeof(p_settings -> 'retention') <> 'object' then
        return p_path || '.retention: expected an object, got ' || dacapo.json_excerpt((p_settings -> 'retention')::text);
    end if;
    for v_one in select key, value from jsonb_each(p_settings -> 'retention') loop
        if v_one.key not in ('completed', 'failed', 'cancelled') then
            return p_path || '.retention: expected completed, failed or cancelled, got ' || v_one.key;
        end if;
        v_seconds := case when jsonb_typeof(v_one.value -> 'seconds') = 'number' then (v_one.value ->> 'seconds')::numeric end;
        if v_one.value not in ('null', '"forever"') and (v_seconds is null or v_seconds not between 60 and 3155760000) then
            return p_path || '.retention.' || v_one.key || ': expected "forever" or {"seconds": N}, a minute to a hundred years, got '
                || dacapo.json_excerpt(v_one.value::text);
        end if;
    end loop;
    return null;
end $$;

-- The same of a whole manifest.
create function dacapo.manifest_problem(p_manifest jsonb) returns text
language plpgsql immutable as $$
declare
    v_problem text := dacapo.settings_problem(p_manifest, 'descriptor.manifest');
    v_one record;
begin
    if v_problem is not null or jsonb_typeof(p_manifest -> 'workflows') is distinct from 'object' then
        return v_problem;
    end if;
    for v_one in select key, value from jsonb_each(p_manifest -> 'workflows') where jsonb_typeof(value) = 'object' loop
        v_problem := coalesce(v_problem, dacapo.settings_problem(v_one.value, 'descriptor.manifest.workflows.' || v_one.key));
    end loop;
    return v_problem;
end $$;

-- Writes down with the workflows of a new deployment what its manifest says of their runs: what it says of one of them before what it says
-- of all.
create function dacapo.write_settings(p_deployment bigint, p_namespace text, p_manifest jsonb) returns void
language sql as $$
    update dacapo.workflow
    set queue = nullif(coalesce(p_manifest #>> array['workflows', name, 'queue'], p_manifest ->> 'queue'), 'default'),
        priority = coalesce(p_manifest #>> array['workflows', name, 'priority'], p_manifest ->> 'priority')::numeric::smallint
    where deployment_id = p_deployment;
    insert into dacapo.workflow_retention (deployment_id, workflow, status, namespace, keep_seconds)
    select p_deployment, workflow.name, said.status, p_namespace, (keep ->> 'seconds')::numeric::bigint
    from dacapo.workflow
    cross join (values ('completed'), ('failed'), ('cancelled')) as said (status)
    cross join lateral (
        select coalesce(
            nullif(p_manifest #> array['workflows', workflow.name, 'retention', said.status], 'null'),
            nullif(p_manifest #> array['retention', said.status], 'null')
        ) as keep
    ) as kept
    where workflow.deployment_id = p_deployment and keep is not null;
$$;

-- Refuses a deployment whose manifest names a queue that is not there: each start of its runs would be refused.
create function dacapo.check_queues(p_deployment bigint, p_namespace text) returns void
language plpgsql as $$
declare
    v_missing record;
begin
    select workflow.name, workflow.queue into v_missing
    from dacapo.workflow
    where workflow.deployment_id = p_deployment and workflow.queue is not null
        and not exists (select from dacapo.queue where queue.namespace = p_namespace and queue.name = workflow.queue)
    order by workflow.name
    limit 1;
    if found then
        raise exception 'there is no queue "%" in the namespace %, where the manifest puts the runs of %',
            left(v_missing.queue, 200), p_namespace, v_missing.name
            using errcode = 'undefined_object', hint = 'make it first, with `dacapo queue set`; `dacapo queue list` shows what there is';
    end if;
end $$;

-- Starting -----------------------------------------------------------------------------------------------------------------

-- The options of a start, with what the manifest says where they say nothing.
create function dacapo.with_settings(p_options jsonb, p_namespace text, p_workflow text, p_queue text, p_priority smallint) returns jsonb
language plpgsql stable as $$
begin
    if p_queue is not null and p_options ->> 'queue' is null then
        if not exists (select from dacapo.queue where namespace = p_namespace and name = p_queue) then
            raise exception 'there is no queue "%", where the manifest puts the runs of %', left(p_queue, 200), p_workflow
                using errcode = 'no_data_found',
                    hint = 'make it with `dacapo queue set`, or give the option queue; `dacapo queue list` shows what there is';
        end if;
        p_options := p_options || jsonb_build_object('queue', p_queue);
    end if;
    if p_priority is not null and p_options ->> 'priority' is null then
        p_options := p_options || jsonb_build_object('priority', p_priority);
    end if;
    return p_options;
end $$;

-- The functions that deploy and start keep to it. They stay as they are otherwise.
create function dacapo.amend(p_function regprocedure, p_from text, p_to text) returns void
language plpgsql as $$
declare
    v_text constant text := pg_get_functiondef(p_function);
begin
    if (length(v_text) - length(replace(v_text, p_from, ''))) / length(p_from) <> 1 then
        raise exception '% does not say once: %', p_function, p_from;
    end if;
    execute replace(v_text, p_from, p_to);
end $$;
select
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        'v_problem := dacapo.descriptor_problem(p_descriptor);',
        'v_problem := coalesce(
        dacapo.descriptor_problem(p_descriptor), dacapo.manifest_problem(coalesce(p_descriptor -> ''manifest'', ''{}''))
    );'
    ),
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        'from jsonb_array_elements(v_bare -> ''workflows'');',
        'from jsonb_array_elements(v_bare -> ''workflows'');
    perform dacapo.write_settings(v_id, v_namespace, v_manifest);'
    ),
    -- Deploying, activating and rolling out come through here.
    dacapo.amend(
        'dacapo.let_take(bigint, smallint, jsonb, text)',
        'select * into v_one from dacapo.deployment where id = p_deployment;',
        'select * into v_one from dacapo.deployment where id = p_deployment;
    perform dacapo.check_queues(p_deployment, v_one.namespace);'
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        '    v_place := dacapo.check_placing(v_namespace, p_options);
',
        ''
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'select found.deployment_id, found.name, found.schema into v_target',
        'select found.deployment_id, found.name, found.schema, found.queue, found.priority into v_target'
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'v_schema := v_target.schema::jsonb;',
        'if v_target.queue is null and v_target.priority is null then
            v_place := dacapo.check_placing(v_namespace, p_options);
        else
            v_place := dacapo.check_placing(
                v_namespace, dacapo.with_settings(p_options, v_namespace, v_target.name, v_target.queue, v_target.priority)
            );
        end if;
        v_schema := v_target.schema::jsonb;'
    );
drop function dacapo.amend;

-- An older binary would start runs in no queue, and delete them by other rules.
update dacapo.compatibility set breaking = greatest(breaking, 24);
