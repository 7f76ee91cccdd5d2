-- Deployments as things to steer: deployed from SQL, activated, rolled out by and by, retired, and taken away when nothing needs them.

alter table dacapo.deployment
    -- Of the active one: another one is being rolled out beside it, and `dacapo.takes` says which of them a new run goes to. False where
    -- nothing is rolled out, so that starts have nothing more to ask.
    add column shared boolean not null default false,
    -- Of one that is being rolled out: of a hundred new runs so many go to it, and in any case those that have all these labels.
    add column rollout_percent smallint,
    add column rollout_labels jsonb,
    -- No new run can go there.
    add column retired_at timestamptz,
    -- A worker has found the descriptor to be that of the component. Those that are there already were all described by `dacapo deploy`.
    add column verified boolean not null default true,
    add constraint deployment_rollout_percent_is_part check (rollout_percent between 0 and 99),
    add constraint deployment_rollout_has_labels check ((rollout_percent is null) = (rollout_labels is null)),
    add constraint deployment_rollout_is_not_active check (rollout_percent is null or not active),
    add constraint deployment_shared_only_when_active check (active or not shared),
    add constraint deployment_retired_takes_no_runs check (retired_at is null or (not active and rollout_percent is null));
alter table dacapo.deployment alter column verified set default false;
create unique index deployment_one_rollout on dacapo.deployment (namespace, package) where rollout_percent is not null;
create index deployment_by_digest on dacapo.deployment (digest);

-- Who did what to deployments, and when.
create table dacapo.deployment_change (
    id bigint generated always as identity primary key,
    deployment_id bigint not null references dacapo.deployment (id) on delete cascade,
    what text not null,
    who text not null,
    at timestamptz not null default clock_timestamp(),
    -- {"percent": 10, "labels": {…}} of a roll-out.
    details jsonb,
    constraint deployment_change_known check (what in ('deployed', 'activated', 'rolled-out', 'retired', 'unretired'))
);
create index deployment_change_by_deployment on dacapo.deployment_change (deployment_id, id);

-- Where new runs go --------------------------------------------------------------------------------------------------------

-- In which of a hundred parts a run is, from 0: by the end of its id, which is random or a hash. Rollout::part_of of the model.
create function dacapo.part_of(p_run uuid) returns integer
language sql immutable parallel safe as $$
    select (get_byte(uuid_send(p_run), 14) * 256 + get_byte(uuid_send(p_run), 15)) % 100
$$;

-- Whether this new run goes to this deployment. Called by starts that find the deployment shared, or not active.
create function dacapo.takes(p_deployment bigint, p_run uuid, p_workflow text, p_labels jsonb) returns boolean
language sql stable as $$
    select coalesce((
        select p_deployment = case
            when rollout.id is null then active.id
            -- What only one of them has goes there.
            when not exists (select from dacapo.workflow where deployment_id = rollout.id and name = p_workflow) then active.id
            when not exists (select from dacapo.workflow where deployment_id = active.id and name = p_workflow) then rollout.id
            when rollout.rollout_labels <> '{}' and coalesce(p_labels, '{}') @> rollout.rollout_labels then rollout.id
            when dacapo.part_of(p_run) < rollout.rollout_percent then rollout.id
            else active.id
        end
        from dacapo.deployment as asked
        join dacapo.deployment as active
            on active.namespace = asked.namespace and active.package = asked.package and active.active
        left join dacapo.deployment as rollout
            on rollout.namespace = asked.namespace and rollout.package = asked.package and rollout.rollout_percent is not null
        where asked.id = p_deployment
    ), false)
$$;

-- The functions that start runs ask it, too. They stay as they are otherwise.
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
        'dacapo.start_special(uuid, text, text, bigint, jsonb, bigint, text, smallint, text, timestamptz, text, text, text, bigint, bigint)',
        'where id = p_deployment and active;',
        'where id = p_deployment and (active and not shared or dacapo.takes(id, p_id, p_workflow, p_labels));'
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'where deployment.active and deployment.namespace = v_namespace
                and (',
        'where (deployment.active or deployment.rollout_percent is not null) and deployment.namespace = v_namespace
                and ('
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'order by found.name = p_workflow desc, found.name',
        'group by found.name
            order by found.name = p_workflow desc, found.name'
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'select found.deployment_id, found.name, found.schema into v_target',
        'v_id := case
            when v_key is null then dacapo.new_run_id()
            else dacapo.keyed_run_id(v_namespace, v_names[1], v_key)
        end;
        select found.deployment_id, found.name, found.schema into v_target'
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'where deployment.active and deployment.namespace = v_namespace and found.name = v_names[1];',
        'where (deployment.active or deployment.rollout_percent is not null) and deployment.namespace = v_namespace
            and found.name = v_names[1]
            and (deployment.active and not deployment.shared or dacapo.takes(deployment.id, v_id, found.name, v_labels));'
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        '        v_id := case
            when v_key is null then dacapo.new_run_id()
            else dacapo.keyed_run_id(v_namespace, v_target.name, v_key)
        end;
',
        ''
    ),
    dacapo.amend(
        'dacapo.start(text, text, jsonb)',
        'where deployment.id = v_target.deployment_id and deployment.active',
        'where deployment.id = v_target.deployment_id
            and (deployment.active and not deployment.shared or dacapo.takes(deployment.id, v_id, v_target.name, v_labels))'
    );
drop function dacapo.amend;

-- Deploying ----------------------------------------------------------------------------------------------------------------

-- Why this is no type as model/src/schema.rs stores it. Null: it is one.
create function dacapo.type_problem(p_type jsonb, p_path text) returns text
language plpgsql immutable as $$
declare
    v_kind text;
    v_parts jsonb;
    v_part jsonb;
    v_problem text;
    v_list text;
begin
    if jsonb_typeof(p_type) = 'string' then
        if p_type #>> '{}' in (
            'bool', 'u8', 'u16', 'u32', 'u64', 's8', 's16', 's32', 's64', 'f32', 'f64', 'char', 'string', 'bytes'
        ) then
            return null;
        end if;
        return p_path || ': expected a type such as "u32", got ' || dacapo.json_excerpt(p_type::text);
    end if;
    if jsonb_typeof(p_type) is distinct from 'object' or (select count(*) <> 1 from jsonb_object_keys(p_type)) then
        return p_path || ': expected a type, got ' || coalesce(dacapo.json_excerpt(p_type::text), 'nothing');
    end if;
    select key, value into v_kind, v_parts from jsonb_each(p_type);
    if v_kind in ('list', 'option') then
        return dacapo.type_problem(v_parts, p_path);
    elsif v_kind = 'fixed-list' then
        if jsonb_typeof(v_parts) = 'array' and jsonb_array_length(v_parts) = 2 and jsonb_typeof(v_parts -> 1) = 'number' then
            return dacapo.type_problem(v_parts -> 0, p_path);
        end if;
    elsif v_kind = 'result' then
        if jsonb_typeof(v_parts) = 'object' then
            return coalesce(
                case when v_parts ? 'ok' then dacapo.type_problem(v_parts -> 'ok', p_path) end,
                case when v_parts ? 'err' then dacapo.type_problem(v_parts -> 'err', p_path) end
            );
        end if;
    elsif v_kind in ('tuple', 'record', 'variant', 'enum', 'flags') then
        v_list := case v_kind when 'record' then 'fields' when 'flags' then 'flags' else 'cases' end;
        v_parts := case when v_kind = 'tuple' then v_parts else v_parts -> v_list end;
        if jsonb_typeof(v_parts) = 'array' then
            for v_part in select value from jsonb_array_elements(v_parts) loop
                v_problem := case
                    when v_kind = 'tuple' then dacapo.type_problem(v_part, p_path)
                    when v_kind in ('enum', 'flags') then
                        case when jsonb_typeof(v_part) <> 'string' then p_path || ': expected names, got ' || v_part::text end
                    when jsonb_typeof(v_part -> 'name') is distinct from 'string' then
                        p_path || ': expected parts with names, got ' || dacapo.json_excerpt(v_part::text)
                    when v_kind = 'record' or v_part ? 'type' then
                        dacapo.type_problem(v_part -> 'type', p_path || '.' || (v_part ->> 'name'))
                end;
                if v_problem is not null then
                    return v_problem;
                end if;
            end loop;
            return null;
        end if;
    end if;
    return p_path || ': expected a type, got ' || dacapo.json_excerpt(p_type::text);
end $$;

-- Why this is no workflow of a descriptor. Null: it is one.
create function dacapo.workflow_problem(p_workflow jsonb, p_path text) returns text
language plpgsql immutable as $$
declare
    v_problem text;
    v_event jsonb;
begin
    select p_path || '.' || name || ': expected a text, got ' || coalesce(dacapo.json_excerpt((p_workflow -> name)::text), 'nothing')
    into v_problem
    from unnest(array['name', 'interface', 'function']) as names (name)
    where jsonb_typeof(p_workflow -> name) is distinct from 'string'
    limit 1;
    if v_problem is not null then
        return v_problem;
    end if;
    if right(p_workflow ->> 'name', length(p_workflow ->> 'function') + 1) <> '.' || (p_workflow ->> 'function') then
        return p_path || '.name: expected a name that ends in .' || (p_workflow ->> 'function') || ', got ' || (p_workflow ->> 'name');
    end if;
    if p_workflow ? 'param' then
        v_problem := dacapo.type_problem(p_workflow #> '{param,type}', p_path || '.param');
    end if;
    if v_problem is null and p_workflow ? 'result' then
        v_problem := dacapo.type_problem(p_workflow -> 'result', p_path || '.result');
    end if;
    if v_problem is null and p_workflow ? 'events' then
        if jsonb_typeof(p_workflow -> 'events') <> 'array' then
            return p_path || '.events: expected a list';
        end if;
        for v_event in select value from jsonb_array_elements(p_workflow -> 'events') loop
            if jsonb_typeof(v_event -> 'name') is distinct from 'string' then
                return p_path || '.events: expected events with names, got ' || dacapo.json_excerpt(v_event::text);
            elsif v_event ? 'type' then
                v_problem := coalesce(v_problem, dacapo.type_problem(v_event -> 'type', p_path || '.events.' || (v_event ->> 'name')));
            end if;
        end loop;
    end if;
    return v_problem;
end $$;

-- Why this is not what `dacapo describe` prints. Null: it may be.
create function dacapo.descriptor_problem(p_descriptor jsonb) returns text
language plpgsql immutable as $$
declare
    v_problem text;
    v_one record;
begin
    if jsonb_typeof(p_descriptor) is distinct from 'object' then
        return 'descriptor: expected an object, got ' || coalesce(dacapo.json_excerpt(p_descriptor::text), 'null');
    elsif coalesce(p_descriptor ->> 'package', '') !~ '^[^:/@\s]+:[^:/@\s]+$' then
        return 'descriptor.package: expected ns:name, got ' || coalesce(dacapo.json_excerpt((p_descriptor -> 'package')::text), 'nothing');
    elsif coalesce(p_descriptor ->> 'digest', '') !~ '^[0-9a-f]{64}$' then
        return 'descriptor.digest: expected a SHA-256 in hex, got '
            || coalesce(dacapo.json_excerpt((p_descriptor -> 'digest')::text), 'nothing');
    elsif p_descriptor ? 'manifest' and jsonb_typeof(p_descriptor -> 'manifest') <> 'object' then
        return 'descriptor.manifest: expected an object, got ' || dacapo.json_excerpt((p_descriptor -> 'manifest')::text);
    end if;
    select 'descriptor.' || part || ': expected a list, got ' || coalesce(dacapo.json_excerpt((p_descriptor -> part)::text), 'nothing')
    into v_problem
    from unnest(array['workflows', 'imports', 'children']) as parts (part)
    where case when part = 'children' then p_descriptor ? part else true end
        and jsonb_typeof(p_descriptor -> part) is distinct from 'array'
    limit 1;
    if v_problem is not null then
        return v_problem;
    end if;
    if jsonb_array_length(p_descriptor -> 'workflows') = 0 then
        return 'descriptor.workflows: expected at least one workflow';
    end if;
    for v_one in
        select value as workflow, 'descriptor.workflows[' || place - 1 || ']' as path, true as is_own
        from jsonb_array_elements(p_descriptor -> 'workflows') with ordinality as w (value, place)
        union all
        select value, 'descriptor.children[' || place - 1 || ']', false
        from jsonb_array_elements(coalesce(p_descriptor -> 'children', '[]')) with ordinality as c (value, place)
    loop
        v_problem := dacapo.workflow_problem(v_one.workflow, v_one.path);
        if v_problem is null and v_one.is_own
            and not starts_with(v_one.workflow ->> 'name', (p_descriptor ->> 'package') || '/') then
            v_problem := v_one.path || '.name: expected a workflow of ' || (p_descriptor ->> 'package') || ', got '
                || (v_one.workflow ->> 'name');
        end if;
        if v_problem is not null then
            return v_problem;
        end if;
    end loop;
    select 'descriptor.workflows: ' || (value ->> 'name') || ' is there twice' into v_problem
    from jsonb_array_elements(p_descriptor -> 'workflows')
    group by value ->> 'name' having count(*) > 1
    limit 1;
    return v_problem;
end $$;

-- The options of a roll-out: a share in percent, labels, or both. None: no roll-out. 100 percent is none either.
create function dacapo.check_rollout(p_options jsonb, out percent smallint, out labels jsonb)
language plpgsql immutable as $$
declare
    v_percent constant jsonb := nullif(p_options -> 'percent', 'null');
    v_labels constant jsonb := nullif(p_options -> 'labels', 'null');
begin
    if v_percent is null and coalesce(v_labels, '{}') = '{}' then
        return;
    end if;
    if v_percent is not null and (jsonb_typeof(v_percent) <> 'number' or v_percent::text !~ '^[0-9]{1,3}$'
        or v_percent::text::integer not between 1 and 100) then
        raise exception 'options.percent: expected a whole number from 1 to 100, got %', dacapo.json_excerpt(v_percent::text)
            using errcode = 'invalid_parameter_value';
    end if;
    if v_labels is not null and (
        jsonb_typeof(v_labels) <> 'object' or exists (select from jsonb_each(v_labels) where jsonb_typeof(value) <> 'string')
    ) then
        raise exception 'options.labels: expected an object of strings, got %', dacapo.json_excerpt(v_labels::text)
            using errcode = 'invalid_parameter_value';
    end if;
    if v_percent = '100' then
        return;
    end if;
    percent := coalesce(v_percent::text::smallint, 0);
    labels := coalesce(v_labels, '{}');
end $$;

-- Lets new runs go to a deployment: all of its package (p_percent null), or a part. Callers hold the lock of the package, and have looked.
create function dacapo.let_take(p_deployment bigint, p_percent smallint, p_labels jsonb, p_who text) returns void
language plpgsql as $$
declare
    v_one dacapo.deployment;
begin
    select * into v_one from dacapo.deployment where id = p_deployment;
    if p_percent is null then
        update dacapo.deployment set active = false, shared = false, rollout_percent = null, rollout_labels = null
        where namespace = v_one.namespace and package = v_one.package and (active or rollout_percent is not null);
        update dacapo.deployment set active = true where id = p_deployment;
    else
        update dacapo.deployment set rollout_percent = p_percent, rollout_labels = p_labels where id = p_deployment;
        update dacapo.deployment set shared = true
        where namespace = v_one.namespace and package = v_one.package and active;
    end if;
    insert into dacapo.deployment_change (deployment_id, what, who, details)
    values (
        p_deployment, case when p_percent is null then 'activated' else 'rolled-out' end, p_who,
        case when p_percent is not null then jsonb_build_object('percent', p_percent, 'labels', p_labels) end
    );
    perform pg_notify('dacapo_deployment', p_deployment::text);
end $$;

-- Deploys and the like go one after the other within a package, so that numbers have no gaps and one of them is active.
create function dacapo.lock_package(p_namespace text, p_package text) returns void
language sql as $$
    -- Nothing is taken away meanwhile.
    select pg_advisory_xact_lock_shared(hashtextextended('dacapo.collect', 0));
    select pg_advisory_xact_lock(hashtextextended('dacapo.deploy ' || p_namespace || ' ' || p_package, 0));
$$;

-- Why another deployment cannot be rolled out now beside the active one.
create function dacapo.check_rollout_goes(p_namespace text, p_package text, p_number integer) returns void
language plpgsql stable as $$
declare
    v_other integer;
begin
    if not exists (select from dacapo.deployment where namespace = p_namespace and package = p_package and active) then
        raise exception 'nothing of % is active, so there is nothing that a roll-out could begin beside', p_package
            using errcode = 'object_not_in_prerequisite_state', hint = 'deploy or activate it for all new runs: without a percentage and labels';
    end if;
    select number into v_other
    from dacapo.deployment
    where namespace = p_namespace and package = p_package and rollout_percent is not null and number is distinct from p_number;
    if found then
        raise exception 'deployment % of % is being rolled out', v_other, p_package
            using errcode = 'object_not_in_prerequisite_state',
                hint = 'finish that with `dacapo deployments activate ' || p_package || ' ' || v_other
                    || '`, or go back by activating the active one';
    end if;
end $$;

-- Stores a component and puts it into service: `select dacapo.deploy(component, descriptor)`, with what `dacapo describe` prints, in a
-- transaction of whoever calls it: what else that does, a change of tables, say, is there when new runs go to this code, or neither is.
-- Options: namespace, by (who does it), percent and labels (only those new runs go to it; the rest stays where it was), expects (the
-- number that must be active, 0 for none; if another one is the answer is `moved`, and nothing was changed).
-- Answers with package, number, before (what was active) and outcome: `created`, `same` (the active deployment is this very one), `activated` or
-- `rolled-out` (this very one was being rolled out), `moved`. Everything that is wrong is an error, and nothing is written then.
create function dacapo.deploy(component bytea, descriptor jsonb, options jsonb default '{}') returns jsonb
language plpgsql volatile as $$
declare
    p_component constant bytea := component;
    p_descriptor constant jsonb := descriptor;
    p_options constant jsonb := coalesce(options, '{}');
    v_namespace text;
    v_package text;
    v_who text;
    v_digest text;
    v_problem text;
    v_rollout record;
    v_bare jsonb;
    v_manifest jsonb;
    v_active dacapo.deployment;
    v_same dacapo.deployment;
    v_id bigint;
    v_number integer;
    v_outcome text;
begin
    perform dacapo.check_options(p_options - 'expects' - 'percent', array['by', 'expects', 'labels', 'namespace', 'percent']);
    v_namespace := coalesce(p_options ->> 'namespace', 'default');
    v_who := coalesce(p_options ->> 'by', session_user);
    v_rollout := dacapo.check_rollout(p_options);
    if p_component is null or p_descriptor is null then
        raise exception 'cannot deploy: the % is null', case when p_component is null then 'component' else 'descriptor' end
            using errcode = 'null_value_not_allowed';
    end if;
    v_problem := dacapo.descriptor_problem(p_descriptor);
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'invalid_parameter_value', hint = '`dacapo describe FILE.wasm` prints the descriptor';
    end if;
    if substr(p_component, 1, 8) <> '\x0061736d0d000100' then
        raise exception 'expected a WebAssembly component, got % bytes that begin with %', octet_length(p_component),
            encode(substr(p_component, 1, 8), 'hex')
            using errcode = 'invalid_parameter_value',
                hint = 'of a core module `dacapo describe FILE.wasm --component OUT.wasm` makes the component that the descriptor is of';
    end if;
    v_digest := encode(sha256(p_component), 'hex');
    if v_digest <> p_descriptor ->> 'digest' then
        raise exception 'the descriptor is that of a component with the SHA-256 %, and these % bytes have %',
            p_descriptor ->> 'digest', octet_length(p_component), v_digest
            using errcode = 'invalid_parameter_value',
                hint = 'the bytes are cut short or another component''s: send the whole file, with what `dacapo describe` prints of it';
    end if;
    v_package := p_descriptor ->> 'package';
    v_manifest := coalesce(p_descriptor -> 'manifest', '{}');
    v_bare := p_descriptor - 'digest' - 'manifest';

    perform dacapo.lock_package(v_namespace, v_package);
    select * into v_active from dacapo.deployment where namespace = v_namespace and package = v_package and active;
    if p_options ->> 'expects' <> coalesce(v_active.number, 0)::text then
        return jsonb_build_object('package', v_package, 'number', 0, 'before', v_active.number, 'outcome', 'moved');
    end if;
    select * into v_same
    from dacapo.deployment
    where namespace = v_namespace and package = v_package and (active or rollout_percent is not null)
        and digest = v_digest and deployment.descriptor::jsonb = v_bare and manifest::jsonb = v_manifest
    order by active desc
    limit 1;
    if v_same.id is not null then
        v_id := v_same.id;
        v_number := v_same.number;
        if v_same.active and v_rollout.percent is not null then
            raise exception 'deployment % of % is this very component, and active for all new runs but those of a roll-out', v_number, v_package
                using errcode = 'object_not_in_prerequisite_state', hint = 'there is nothing to roll out';
        elsif v_same.active and not v_same.shared then
            v_outcome := 'same';
        else
            perform dacapo.let_take(v_id, v_rollout.percent, v_rollout.labels, v_who);
            v_outcome := case when v_rollout.percent is null then 'activated' else 'rolled-out' end;
        end if;
        -- A stored component that is damaged is mended by whoever brings the right bytes.
        update dacapo.component set bytes = p_component where digest = v_digest and bytes <> p_component;
        return jsonb_build_object('package', v_package, 'number', v_number, 'before', v_active.number, 'outcome', v_outcome);
    end if;
    if v_rollout.percent is not null then
        perform dacapo.check_rollout_goes(v_namespace, v_package, null);
    end if;
    insert into dacapo.component as known (digest, bytes) values (v_digest, p_component)
    on conflict (digest) do update set bytes = excluded.bytes where known.bytes <> excluded.bytes;
    insert into dacapo.deployment (namespace, package, number, digest, descriptor, manifest, active)
    select v_namespace, v_package, coalesce(max(number), 0) + 1, v_digest, v_bare::text, v_manifest::text, false
    from dacapo.deployment where namespace = v_namespace and package = v_package
    returning id, number into v_id, v_number;
    insert into dacapo.workflow (deployment_id, name, function, schema)
    select v_id, value ->> 'name', value ->> 'function', value::text
    from jsonb_array_elements(v_bare -> 'workflows');
    insert into dacapo.deployment_change (deployment_id, what, who) values (v_id, 'deployed', v_who);
    perform dacapo.let_take(v_id, v_rollout.percent, v_rollout.labels, v_who);
    return jsonb_build_object('package', v_package, 'number', v_number, 'before', v_active.number, 'outcome', 'created');
end $$;

-- One deployment, or an error that says that there is none.
create function dacapo.the_deployment(p_namespace text, p_package text, p_number integer) returns dacapo.deployment
language plpgsql stable as $$
declare
    v_one dacapo.deployment;
    v_last integer;
begin
    select * into v_one from dacapo.deployment where namespace = p_namespace and package = p_package and number = p_number;
    if not found then
        select max(number) into v_last from dacapo.deployment where namespace = p_namespace and package = p_package;
        raise exception 'there is no deployment % of %: %', p_number, p_package,
            case when v_last is null then 'nothing was deployed under that name' else 'the newest is ' || v_last end
            using errcode = 'no_data_found', hint = '`dacapo deployments list` shows what there is';
    end if;
    return v_one;
end $$;

-- Lets new runs go to a deployment that is there: to an older one, that is going back. Options: namespace, by, percent, labels.
-- Answers with package, number, before (what was active) and outcome: `activated`, `rolled-out`, `same`.
create function dacapo.activate(package text, number integer, options jsonb default '{}') returns jsonb
language plpgsql volatile as $$
declare
    p_package constant text := package;
    p_number constant integer := number;
    p_options constant jsonb := coalesce(options, '{}');
    v_namespace text;
    v_rollout record;
    v_one dacapo.deployment;
    v_before integer;
    v_outcome text;
begin
    perform dacapo.check_options(p_options - 'percent', array['by', 'labels', 'namespace', 'percent']);
    v_namespace := coalesce(p_options ->> 'namespace', 'default');
    v_rollout := dacapo.check_rollout(p_options);
    perform dacapo.lock_package(v_namespace, p_package);
    v_one := dacapo.the_deployment(v_namespace, p_package, p_number);
    if v_one.retired_at is not null then
        raise exception 'deployment % of % is retired: no new run can go there', p_number, p_package
            using errcode = 'object_not_in_prerequisite_state',
                hint = '`dacapo deployments retire ' || p_package || ' ' || p_number || ' --undo` takes that back; then activate it';
    end if;
    select d.number into v_before from dacapo.deployment as d where d.namespace = v_namespace and d.package = p_package and d.active;
    if v_rollout.percent is not null then
        if v_one.active then
            raise exception 'deployment % of % is active: it takes all new runs but those of a roll-out', p_number, p_package
                using errcode = 'object_not_in_prerequisite_state', hint = 'give the share to another one; without a share this ends its roll-out';
        end if;
        perform dacapo.check_rollout_goes(v_namespace, p_package, p_number);
    end if;
    if v_one.active and not v_one.shared then
        v_outcome := 'same';
    else
        perform dacapo.let_take(
            v_one.id, v_rollout.percent, v_rollout.labels, coalesce(p_options ->> 'by', session_user)
        );
        v_outcome := case when v_rollout.percent is null then 'activated' else 'rolled-out' end;
    end if;
    return jsonb_build_object('package', p_package, 'number', p_number, 'before', v_before, 'outcome', v_outcome);
end $$;

-- Lets no new run go to a deployment any more; runs in flight end there. Options: namespace, by, undo (it may be activated again).
-- Answers with package, number and outcome: `retired`, `unretired`, `same`.
create function dacapo.retire(package text, number integer, options jsonb default '{}') returns jsonb
language plpgsql volatile as $$
declare
    p_package constant text := package;
    p_number constant integer := number;
    p_options constant jsonb := coalesce(options, '{}');
    v_namespace text;
    v_undo boolean;
    v_one dacapo.deployment;
    v_outcome text;
begin
    perform dacapo.check_options(p_options - 'undo', array['by', 'namespace', 'undo']);
    v_namespace := coalesce(p_options ->> 'namespace', 'default');
    v_undo := coalesce(p_options ->> 'undo', 'false') = 'true';
    perform dacapo.lock_package(v_namespace, p_package);
    v_one := dacapo.the_deployment(v_namespace, p_package, p_number);
    if not v_undo and (v_one.active or v_one.rollout_percent is not null) then
        raise exception 'deployment % of % %', p_number, p_package,
            case when v_one.active then 'is active: new runs go there' else 'is being rolled out: a part of the new runs goes there' end
            using errcode = 'object_not_in_prerequisite_state',
                hint = 'activate another one first: `dacapo deployments activate ' || p_package || ' N`';
    end if;
    if (v_one.retired_at is null) = v_undo then
        v_outcome := 'same';
    else
        v_outcome := case when v_undo then 'unretired' else 'retired' end;
        update dacapo.deployment set retired_at = case when not v_undo then clock_timestamp() end where id = v_one.id;
        insert into dacapo.deployment_change (deployment_id, what, who)
        values (v_one.id, v_outcome, coalesce(p_options ->> 'by', session_user));
    end if;
    return jsonb_build_object('package', p_package, 'number', p_number, 'outcome', v_outcome);
end $$;

-- Takes away deployments that have been retired for so long and have no runs, and components that no deployment has; or only says which they are. The newest
-- deployment of a package stays, so that no number is given twice. A row without a package is a component alone; `bytes` is null where
-- the component stays, since others have it.
create function dacapo.collect_deployments(p_dry_run boolean, p_retired_for interval)
returns table (deployment_id bigint, namespace text, package text, number integer, digest text, bytes bigint)
language plpgsql volatile as $$
#variable_conflict use_column
declare
    v_doomed bigint[];
    v_digests text[];
begin
    if not p_dry_run then
        perform pg_advisory_xact_lock(hashtextextended('dacapo.collect', 0));
    end if;
    v_doomed := array(
        select d.id
        from dacapo.deployment as d
        where d.retired_at <= clock_timestamp() - p_retired_for
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
