-- Deploying, mended: code is taken away only when no transaction can still start a run on it; the active bytes deployed again leave a
-- roll-out alone; what a manifest says is looked at before it is in service.

-- Taking away --------------------------------------------------------------------------------------------------------------

alter table dacapo.deployment
    -- Of a retired one: the transactions that were open once its retirement was committed. They may have seen it before that, and have started
    -- a run there that nobody else sees yet. Null: nobody has looked. No clock and no transaction id says the same: a statement's snapshot
    -- is older than its transaction's id.
    add column awaited text[],
    add constraint deployment_awaited_only_when_retired check (retired_at is not null or awaited is null);

-- The transactions of this database that are open now, but for one's own.
create function dacapo.open_transactions() returns text[]
language sql volatile as $$
    select coalesce(array_agg(distinct held.virtualtransaction), '{}')
    from pg_locks as held
    join pg_stat_activity as session on session.pid = held.pid
    where held.locktype = 'virtualxid' and held.granted and held.pid <> pg_backend_pid()
        and session.datid = (select oid from pg_database where datname = current_database())
$$;

-- Notes for retired deployments which transactions are open. In a transaction of its own, before dacapo.collect_deployments.
create function dacapo.see_retirements() returns void
language sql volatile as $$
    update dacapo.deployment set awaited = dacapo.open_transactions() where retired_at is not null and awaited is null
$$;

-- As before, but for deployments that transactions may still start runs on: those stay until a later call. A dry run shows them, too.
create or replace function dacapo.collect_deployments(p_dry_run boolean, p_retired_for interval)
returns table (deployment_id bigint, namespace text, package text, number integer, digest text, bytes bigint)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_settled bigint[];
    v_doomed bigint[];
    v_digests text[];
begin
    if not p_dry_run then
        perform pg_advisory_xact_lock(hashtextextended('dacapo.collect', 0));
    end if;
    v_settled := array(
        select d.id
        from dacapo.deployment as d
        where d.retired_at <= clock_timestamp() - p_retired_for
            and (
                p_dry_run
                or (
                    d.awaited is not null and not d.awaited && dacapo.open_transactions()
                    -- One that was prepared since is under another name.
                    and not exists (select from pg_locks as held where held.pid is null and held.relation = 'dacapo.run'::regclass)
                )
            )
    );
    -- A statement of its own: what those transactions have committed is seen by it.
    v_doomed := array(
        select d.id
        from dacapo.deployment as d
        where d.id = any (v_settled)
            and not exists (select from dacapo.run where run.deployment_id = d.id)
            and exists (
                select from dacapo.deployment as newer
                where newer.namespace = d.namespace and newer.package = d.package and newer.number > d.number
            )
    );
    v_digests := array(
        select c.digest
        from dacapo.component as c
        where not exists (select from dacapo.deployment as d where d.digest = c.digest and d.id <> all (v_doomed))
    );
    return query
        select d.id, d.namespace, d.package, d.number, d.digest,
            (select octet_length(c.bytes)::bigint from dacapo.component as c where c.digest = d.digest and c.digest = any (v_digests))
        from dacapo.deployment as d
        where d.id = any (v_doomed)
        union all
        select null, null, null, null, c.digest, octet_length(c.bytes)::bigint
        from dacapo.component as c
        where c.digest = any (v_digests) and not exists (select from dacapo.deployment as d where d.digest = c.digest)
        order by 2, 3, 4;
    if not p_dry_run then
        delete from dacapo.workflow as w where w.deployment_id = any (v_doomed);
        delete from dacapo.deployment as d where d.id = any (v_doomed);
        delete from dacapo.component as c where c.digest = any (v_digests);
    end if;
end $$;

-- Manifests ----------------------------------------------------------------------------------------------------------------

-- Why this is no manifest as model/src/manifest.rs stores it, as far as names go: a worker blocks the runs of one that it cannot read. What is
-- in the settings it checks itself.
create function dacapo.manifest_names_problem(p_manifest jsonb, p_workflows jsonb) returns text
language sql immutable as $$
    select coalesce(
        (
            select 'descriptor.manifest: there is no setting "' || left(key, 200) || '"'
            from jsonb_object_keys(p_manifest) as said (key)
            where key not in (
                'retry', 'queue', 'priority', 'retention', 'sql', 'workflows', 'http', 'secrets', 'environment', 'limits'
            )
            order by key
            limit 1
        ),
        (
            select 'descriptor.manifest.workflows: expected an object, got ' || dacapo.json_excerpt((p_manifest -> 'workflows')::text)
            where jsonb_typeof(p_manifest -> 'workflows') <> 'object'
        ),
        (
            select 'descriptor.manifest.workflows: expected the full name of a workflow of the component, got "' || left(key, 200)
                || '"; it exports ' || (select string_agg(value ->> 'name', ', ') from jsonb_array_elements(p_workflows))
            from jsonb_object_keys(case when jsonb_typeof(p_manifest -> 'workflows') = 'object' then p_manifest -> 'workflows' else '{}' end)
                as said (key)
            where not exists (select from jsonb_array_elements(p_workflows) where value ->> 'name' = key)
            order by key
            limit 1
        )
    )
$$;

-- Functions that stay as they are otherwise.
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
        'dacapo.descriptor_problem(jsonb)',
        'group by value ->> ''name'' having count(*) > 1
    limit 1;
    return v_problem;',
        'group by value ->> ''name'' having count(*) > 1
    limit 1;
    return coalesce(
        v_problem, dacapo.manifest_names_problem(coalesce(p_descriptor -> ''manifest'', ''{}''), p_descriptor -> ''workflows'')
    );'
    ),
    dacapo.amend(
        'dacapo.retire(text, integer, jsonb)',
        'set retired_at = case when not v_undo then clock_timestamp() end where',
        'set retired_at = case when not v_undo then clock_timestamp() end, awaited = null where'
    ),

    -- Deploying beside a roll-out: the answer says which one goes on (`beside`) or has been ended by this (`ended`), where there is one.
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        '    v_outcome text;
',
        '    v_outcome text;
    v_rolling integer;
'
    ),
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        'if p_options ->> ''expects'' <> coalesce(v_active.number, 0)::text then',
        'select d.number into v_rolling
    from dacapo.deployment as d
    where d.namespace = v_namespace and d.package = v_package and d.rollout_percent is not null;
    if p_options ->> ''expects'' <> coalesce(v_active.number, 0)::text then'
    ),
    -- Whoever deploys what is active again and again does not mean to end what somebody rolls out beside it: that is what `activate` is for.
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        'elsif v_same.active and not v_same.shared then',
        'elsif v_same.active then'
    ),
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        '''before'', v_active.number, ''outcome'', v_outcome);',
        '''before'', v_active.number, ''outcome'', v_outcome)
            || case when v_outcome = ''same'' and v_rolling is not null then jsonb_build_object(''beside'', v_rolling) else ''{}'' end;'
    ),
    dacapo.amend(
        'dacapo.deploy(bytea, jsonb, jsonb)',
        '''before'', v_active.number, ''outcome'', ''created'');',
        '''before'', v_active.number, ''outcome'', ''created'')
        || case when v_rolling is not null then jsonb_build_object(''ended'', v_rolling) else ''{}'' end;'
    );
drop function dacapo.amend;
