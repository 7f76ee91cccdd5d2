-- Queues of schedules and children; a deadline for runs that SQL starts; retries that go back to all failed branches, and bring children back
-- that were cancelled on account of the run's end.

alter table dacapo.schedule
    -- Null: `default`, 0 and none, as for a run.
    add column queue text,
    add column priority smallint,
    add column concurrency_key text;

alter table dacapo.child
    -- It was cancelled because its parent had ended, or was being cancelled.
    add column cancelled boolean not null default false;

-- As before, but whoever lets the parent go on meanwhile is waited for, and it is noted on whose account the child was cancelled.
create or replace function dacapo.cancel_child() returns boolean
language plpgsql as $$
declare
    v_parent uuid;
    v_child uuid;
begin
    -- Taken away first: whoever notes it meanwhile waits, and notes it again.
    delete from dacapo.child_cancel
    where parent = (select parent from dacapo.child_cancel limit 1 for update skip locked)
    returning parent into v_parent;
    if v_parent is null then
        return false;
    end if;
    perform from dacapo.run where id = v_parent for key share;
    select child.run_id into v_child
    from dacapo.run as parent
    join dacapo.child on child.parent = parent.id
    join dacapo.run as run on run.id = child.run_id
    where parent.id = v_parent and not child.detached and run.status = 'active' and run.cancel_requested_at is null
        and (parent.status <> 'active' or run.created_at <= parent.cancel_requested_at)
    limit 1;
    if v_child is not null then
        insert into dacapo.child_cancel (parent) values (v_parent) on conflict do nothing;
        update dacapo.child set cancelled = true where parent = v_parent and run_id = v_child;
        perform dacapo.cancel(v_child);
    end if;
    return true;
end $$;

-- As before, but of a child that is just being brought back nothing is told.
create or replace function dacapo.tell_parent() returns integer
language plpgsql as $$
declare
    v_parent uuid;
    v_child uuid;
    v_outcome text;
    v_told integer := 0;
begin
    select parent into v_parent from dacapo.child_end limit 1 for update skip locked;
    if v_parent is null then
        return 0;
    end if;
    for v_child in
        delete from dacapo.child_end
        where parent = v_parent and run_id in (
            -- Another worker may be at some of them.
            select run_id from dacapo.child_end where parent = v_parent for update skip locked
        )
        returning run_id
    loop
        select dacapo.outcome_of(run) into v_outcome
        from dacapo.run
        -- One that somebody has let go on is noted again when it ends.
        where id = v_child and status <> 'active'
        for key share;
        if found then
            perform dacapo.send_event(v_parent, 'child/' || v_child, v_outcome, 'child/' || v_child);
        end if;
        v_told := v_told + 1;
    end loop;
    return v_told;
end $$;

drop function dacapo.retry(uuid, text);
drop function dacapo.retry_plan(uuid);

-- What a failed run would go back to: the steps that are opened again, and the keys that are removed from the journal. `is_possible` is false
-- when its code would come to the same end again, whatever was mended.
--
-- If the last row of the journal is a failure, that is what ended the run. If the workflow returned an error after that, what comes behind
-- its last failure is what it did about it. If the run was ended for something else, such as a limit or its deadline, its journal
-- has nothing to do with it.
--
-- The last failure of a stretch of code that runs in one line (the workflow, or a branch) is a failed row, or a fork with branches that have
-- failed. Of such a fork all these are gone back in, each to its own last failure. What other branches did beside them does not follow from
-- it, whenever that was; nor does what went wrong in branches that succeeded all the same, or lost a race.
create function dacapo.retry_plan(p_run uuid, out is_possible boolean, out opened text[], out removed text[])
language plpgsql stable as $$
declare
    v_code text;
    v_failed integer;
    v_last integer;
    v_live integer[];
    v_only integer;
begin
    is_possible := true;
    opened := '{}';
    removed := '{}';
    select failure::json ->> 'code' into v_code from dacapo.run where id = p_run;
    if v_code = 'deadline' then
        return;
    end if;
    -- That a branch has failed follows from something that failed in it.
    select max(position), max(position) filter (where outcome = 'failed') into v_last, v_failed
    from dacapo.step where run_id = p_run and kind <> 'branch';
    if v_code in ('trap', 'memory-limit', 'stack-overflow', 'timeout', 'payload-limit', 'misuse', 'internal', 'refused') then
        if v_failed is distinct from v_last or v_last is null then
            return;
        end if;
        v_only := v_failed;
    end if;
    -- A key is made of the names of forks and the numbers of branches, in turn.
    v_live := array(
        select failed.position
        from dacapo.step as failed
        cross join lateral (select string_to_array(failed.key, '/') as parts) as split
        where failed.run_id = p_run and failed.outcome = 'failed' and failed.kind <> 'branch'
            and not exists (
                select from generate_series(1, (cardinality(parts) - 1) / 2) as level
                left join dacapo.step as branch
                    on branch.run_id = p_run and branch.key = array_to_string(parts[:2 * level], '/')
                left join dacapo.step as fork
                    on fork.run_id = p_run and fork.key = array_to_string(parts[:2 * level - 1], '/')
                where branch.outcome is distinct from 'failed'
                    or (fork.outcome = 'ok' and fork.payload::json ->> 'winner' is not null)
            )
    );
    -- What ended the run in the middle of a branch is in that branch alone.
    if v_only is not null and v_only <> all (v_live) then
        v_live := array[v_only];
    end if;
    if cardinality(v_live) = 0 then
        is_possible := false;
        return;
    end if;
    with place as materialized (
        select step.key, step.position, step.kind,
            array_to_string(parts[:2 * level], '/') as line,
            array_to_string(parts[:2 * level + 1], '/') as direct
        from dacapo.step
        cross join lateral (select string_to_array(step.key, '/') as parts) as split
        cross join lateral generate_series(0, (cardinality(parts) - 1) / 2) as level
        where run_id = p_run
    ),
    -- Each row, and where it stands in each line of code on the way to it: itself, or the fork that it is in.
    way as materialized (
        select place.key, place.position, place.kind, place.line, own.position as at
        from place
        join dacapo.step as own on own.run_id = p_run and own.key = place.direct
    ),
    failed_way as materialized (
        select key, line, at, max(at) over (partition by line) as last_at
        from way
        where position in (select unnest(v_live))
    ),
    -- Those that are the last failure in each line on the way to them.
    last_failure as materialized (
        select key from failed_way group by key having bool_and(at = last_at)
    ),
    turn as materialized (
        select distinct line, at from failed_way where key in (select key from last_failure)
    ),
    judged as materialized (
        select
            way.key, way.position, way.kind,
            bool_or(way.at > turn.at) as is_behind,
            way.key in (select key from last_failure) as has_failed,
            way.key in (select line from turn) as is_branch
        from way
        left join turn on turn.line = way.line
        group by way.key, way.position, way.kind
    )
    select
        coalesce(array_agg(key order by position) filter (where has_failed and kind = 'step'), '{}'),
        coalesce(array_agg(key order by position) filter (where is_behind or is_branch or (has_failed and kind <> 'step')), '{}')
    into opened, removed
    from judged;
end $$;

-- Takes what a run goes back over out of its journal: the rows that are removed go, steps that are opened are tried again, and so are forks
-- around either. Called by: those that have locked the run's row; nobody plays it.
create function dacapo.cut_journal(p_run uuid, p_opened text[], p_removed text[]) returns void
language plpgsql volatile as $$
begin
    -- What was taken by a wait that is gone can be taken again.
    update dacapo.event set taken_by = null where run_id = p_run and taken_by in (select unnest(p_removed));
    -- Their numbers begin anew when their steps are reached again.
    delete from dacapo.attempt where run_id = p_run and key in (select unnest(p_removed));
    delete from dacapo.step where run_id = p_run and key in (select unnest(p_removed));
    -- A fork around a row that is gone or open is not over, either; its payload says how many branches it has.
    update dacapo.step
    set outcome = null, finished_at = null,
        payload = case when kind = 'fork' then payload end,
        due = case when kind = 'step' then clock_timestamp() end
    where run_id = p_run and outcome is not null
        and (key in (select unnest(p_opened)) or kind = 'fork' and key in (
            select array_to_string(parts[:level], '/')
            from unnest(p_removed || p_opened) as dropped
            cross join lateral (select string_to_array(dropped, '/') as parts) as split
            cross join lateral generate_series(1, cardinality(parts) - 1) as level
        ));
end $$;

-- Lets a run that has ended go on, in the queue that it was in; one that was cancelled is so no more. Called by: those that have locked its row.
create function dacapo.go_on(p_run dacapo.run, p_is_cancelled boolean default false) returns void
language plpgsql volatile as $$
declare
    v_deadline timestamptz := p_run.deadline;
begin
    -- A deadline that has passed would end it at once: it gets as long again as it had.
    if v_deadline is not null then
        if v_deadline <= clock_timestamp() then
            v_deadline := clock_timestamp() + (v_deadline - p_run.created_at);
        end if;
        insert into dacapo.deadline (run_id, at) values (p_run.id, v_deadline)
        on conflict (run_id) do update set at = excluded.at;
    end if;
    update dacapo.run set status = 'active', failure = null, finished_at = null, deadline = v_deadline,
        cancel_requested_at = case when not p_is_cancelled then cancel_requested_at end, retries = retries + 1
    where id = p_run.id;
    insert into dacapo.task_suspended (run_id, reason, paused, started_at, inbox_seq, queue, queue_key, priority)
    select p_run.id, 'boundary', true, p_run.started_at, coalesce((select max(seq) from dacapo.event where run_id = p_run.id), 0),
        queue.id, case when queue.id is not null then coalesce(p_run.concurrency_key, '') end, p_run.priority
    from (select p_run.queue as name) as named
    left join dacapo.queue on queue.namespace = p_run.namespace and queue.name = named.name;
    perform dacapo.wake(p_run.id, 0, null);
end $$;

-- Brings the children of a run back that were cancelled on account of its end, and whose starts are still in its journal: each goes on where
-- it was told, or from its beginning if it has done anything since, since that made up for what it had done before. So do their children.
-- An error with the code DC001: some of them are still ending.
-- Locks: the run rows of the children, parents first; runs that have ended have no tasks.
create function dacapo.bring_back(p_parent uuid, p_who text) returns void
language plpgsql volatile as $$
declare
    v_child dacapo.run;
    v_id uuid;
    v_told text[];
    v_has_acted boolean;
    v_removed text[];
begin
    for v_id in
        select child.run_id
        from dacapo.child
        where child.parent = p_parent and child.cancelled and not child.detached
            and child.run_id in (
                select (payload::json ->> 'run')::uuid from dacapo.step
                where run_id = p_parent and kind = 'child' and outcome = 'ok'
            )
        order by child.run_id
    loop
        select * into v_child from dacapo.run where id = v_id for update;
        continue when not found or v_child.status in ('completed', 'failed');
        if v_child.status = 'active' then
            raise exception 'the child run % is still ending', v_id using errcode = 'DC001';
        end if;
        -- What was told of the cancel. Branches that have lost a race are told the same.
        v_told := array(
            select told.key
            from dacapo.step as told
            cross join lateral (select string_to_array(told.key, '/') as parts) as split
            where told.run_id = v_id and told.outcome = 'cancelled'
                and not exists (
                    select from generate_series(1, (cardinality(parts) - 1) / 2) as level
                    join dacapo.step as fork on fork.run_id = v_id and fork.key = array_to_string(parts[:2 * level - 1], '/')
                    join dacapo.step as branch on branch.run_id = v_id and branch.kind = 'branch' and branch.outcome = 'ok'
                        and starts_with(branch.key, fork.key || '/')
                        and strpos(substr(branch.key, length(fork.key) + 2), '/') = 0
                    where (fork.payload::json ->> 'race')::boolean
                )
        );
        with place as materialized (
            select step.key, step.position, step.kind, step.outcome, step.payload,
                array_to_string(parts[:2 * level], '/') as line,
                array_to_string(parts[:2 * level + 1], '/') as direct
            from dacapo.step
            cross join lateral (select string_to_array(step.key, '/') as parts) as split
            cross join lateral generate_series(0, (cardinality(parts) - 1) / 2) as level
            where run_id = v_id
        ),
        way as materialized (
            select place.*, own.position as at
            from place
            join dacapo.step as own on own.run_id = v_id and own.key = place.direct
        ),
        turn as materialized (
            select line, min(at) as at from way where key in (select unnest(v_told)) group by line
        ),
        judged as materialized (
            select
                way.key, way.position,
                -- In the same line of code, or behind a fork with it. That a branch has ended is no deed.
                bool_or(way.at > turn.at and way.kind <> 'branch' and way.outcome is distinct from 'cancelled') as has_acted,
                bool_or(
                    way.key in (select unnest(v_told)) or way.at > turn.at or way.key in (select line from turn)
                    -- Branches that never began.
                    or (way.kind = 'branch' and way.direct in (select direct from way as other where other.key in (select unnest(v_told)))
                        and way.outcome = 'failed' and way.payload::json ->> 'code' = 'cancelled')
                ) as is_gone
            from way
            left join turn on turn.line = way.line
            group by way.key, way.position
        )
        select coalesce(bool_or(has_acted), false), coalesce(array_agg(key order by position) filter (where is_gone or has_acted), '{}')
        into v_has_acted, v_removed
        from judged;
        if v_has_acted then
            v_removed := array(select key from dacapo.step where run_id = v_id order by position);
            -- It starts others instead of them.
            perform from dacapo.child join dacapo.run on run.id = child.run_id
            where child.parent = v_id and not child.detached and run.status = 'active';
            if found then
                raise exception 'children of the child run % are still ending', v_id using errcode = 'DC001';
            end if;
        end if;
        perform dacapo.cut_journal(v_id, '{}', v_removed);
        update dacapo.child set cancelled = false where parent = p_parent and run_id = v_id;
        insert into dacapo.intervention (run_id, action, who, details)
        values (v_id, 'retry', p_who, json_build_object('parent', p_parent, 'removed', to_json(v_removed))::text);
        perform dacapo.go_on(v_child, true);
        perform dacapo.bring_back(v_id, p_who);
    end loop;
end $$;

-- Lets a failed run go on from its failed steps: the same run, with the attempts that it has made, in the queue that it was in, and its
-- children that were cancelled on account of its end with it.
-- retried | nothing-failed | children-ending (nothing was changed) | or the status that does not allow it | not-found
-- `opened` and `removed` are what the run went back to. Locks the run's row; a run that has ended has no task.
create function dacapo.retry(p_run uuid, p_who text, out answer text, out opened text[], out removed text[])
language plpgsql as $$
declare
    v_run dacapo.run;
    v_possible boolean;
begin
    select * into v_run from dacapo.run where id = p_run for update;
    if v_run.status is distinct from 'failed' then
        answer := dacapo.status_of(p_run);
        return;
    end if;
    select plan.is_possible, plan.opened, plan.removed into v_possible, opened, removed from dacapo.retry_plan(p_run) as plan;
    if not v_possible then
        answer := 'nothing-failed';
        return;
    end if;
    begin
        perform dacapo.cut_journal(p_run, opened, removed);
        insert into dacapo.intervention (run_id, action, who, details)
        values (
            p_run, 'retry', p_who,
            json_build_object('opened', to_json(opened), 'removed', to_json(removed), 'failure', v_run.failure::json)::text
        );
        perform dacapo.go_on(v_run);
        perform dacapo.bring_back(p_run, p_who);
    exception when sqlstate 'DC001' then
        answer := 'children-ending';
        return;
    end;
    answer := 'retried';
end $$;

-- The option of a start that says when the run is ended at the latest, in milliseconds.
create function dacapo.check_deadline(p_options jsonb) returns bigint
language plpgsql stable as $$
declare
    v_text constant text := p_options ->> 'deadline';
    v_deadline interval;
begin
    if v_text is null then
        return null;
    end if;
    begin
        v_deadline := v_text::interval;
    exception when others then
        raise exception 'options.deadline: expected an interval such as 2 hours, got "%"', left(v_text, 60)
            using errcode = 'invalid_parameter_value';
    end;
    if v_deadline < interval '1 millisecond' or v_deadline > interval '3660 days' then
        raise exception 'options.deadline: expected 1 ms to 10 years, got "%"', left(v_text, 60) using errcode = 'invalid_parameter_value';
    end if;
    -- Looked at before, it is an interval.
    if (p_options ->> 'delay')::interval >= v_deadline then
        raise exception 'options.delay: the run would fail by its deadline before it begins: expected less than the deadline, got "%"',
            left(p_options ->> 'delay', 60) using errcode = 'invalid_parameter_value';
    end if;
    return ceil(extract(epoch from v_deadline) * 1000);
end $$;

-- As before, with a deadline.
-- Starts a run if and when the caller's transaction commits, and answers with its id. The workflow's name is a full one
-- (ns:pkg/interface.function), or an end of one where that is unique. Options:
--   key             at most one run of the workflow has this key while it is kept: starting it again answers with that run's id
--   labels          an object of strings, to find the run by
--   namespace       the tenant; default: default
--   queue           a named queue of the namespace; default: the one without limits
--   priority        a number from -100 to 100; higher goes first
--   concurrencyKey  what the queue's limits per key go by
--   delay           how much later the run begins, as an interval: 10 minutes
--   at              when it begins
--   deadline        the run fails when it has not ended by itself this long after its start, as an interval: 2 hours
--   singleton       at most one active run of the workflow has this key; if there is one when another is started, onConflict says what
--                   happens: reject (the default; an error), queue (it begins when the other has ended), replace (the other is cancelled)
--   debounce        starts with this key that come within debounceFor (an interval) of each other are one run, which has the newest input
--                   and begins when it has been quiet for that long, or debounceMax after the first start (default: ten times as long)
-- Everything that is wrong is an error, and nothing is written then.
create or replace function dacapo.start(workflow text, input text default 'null', options jsonb default '{}') returns uuid
language plpgsql volatile as $$
declare
    p_workflow constant text := workflow;
    p_input constant text := input;
    p_options constant jsonb := coalesce(options, '{}');
    v_namespace text;
    v_key text;
    v_labels jsonb;
    v_names text[];
    v_target record;
    v_schema jsonb;
    v_problem text;
    v_input text;
    v_id uuid;
    v_existing record;
    v_place record;
    v_special record;
    v_outcome record;
    v_deadline_ms bigint;
    v_deadline timestamptz;
begin
    perform dacapo.check_options(
        p_options, array[
            'at', 'concurrencyKey', 'deadline', 'debounce', 'debounceFor', 'debounceMax', 'delay', 'key', 'labels', 'namespace',
            'onConflict', 'priority', 'queue', 'singleton'
        ]
    );
    v_namespace := coalesce(p_options ->> 'namespace', 'default');
    v_key := p_options ->> 'key';
    v_labels := coalesce(nullif(p_options -> 'labels', 'null'), '{}');
    if octet_length(v_key) not between 1 and 1000 then
        raise exception 'options.key: expected 1 to 1000 bytes, got %', octet_length(v_key) using errcode = 'invalid_parameter_value';
    end if;
    if jsonb_typeof(v_labels) <> 'object' then
        raise exception 'options.labels: expected an object of strings, got %', dacapo.json_excerpt(v_labels::text)
            using errcode = 'invalid_parameter_value';
    end if;
    select dacapo.path_to('options.labels', key) into v_problem
    from jsonb_each(v_labels)
    where jsonb_typeof(value) <> 'string' or key = '' or octet_length(key) > 200 or octet_length(value #>> '{}') > 200
    limit 1;
    if found then
        raise exception '%: expected a name and a string of at most 200 bytes each', v_problem
            using errcode = 'invalid_parameter_value';
    end if;
    v_place := dacapo.check_placing(v_namespace, p_options);
    v_special := dacapo.check_special(p_options);
    v_deadline_ms := dacapo.check_deadline(p_options);
    if p_workflow is null or p_input is null then
        raise exception 'cannot start a run: the % is null', case when p_workflow is null then 'workflow' else 'input' end
            using errcode = 'null_value_not_allowed', hint = 'JSON null is written ''null''';
    end if;

    -- A deployment may be replaced between the look and the insert; then all is looked at again.
    for i in 1..100 loop
        v_names := array(
            select found.name
            from dacapo.workflow as found
            join dacapo.deployment on deployment.id = found.deployment_id
            where deployment.active and deployment.namespace = v_namespace
                and (
                    found.name = p_workflow
                    or right(found.name, length(p_workflow) + 1) in ('.' || p_workflow, '/' || p_workflow, ':' || p_workflow)
                )
            order by found.name = p_workflow desc, found.name
        );
        if cardinality(v_names) = 0 then
            raise exception 'there is no workflow "%"', p_workflow
                using errcode = 'no_data_found', hint = '`dacapo workflows` shows what is deployed';
        elsif cardinality(v_names) > 1 and v_names[1] <> p_workflow then
            raise exception 'the name "%" is ambiguous; it stands for %', p_workflow, array_to_string(v_names, ' and ')
                using errcode = 'ambiguous_alias', hint = 'use a full name';
        end if;
        select found.deployment_id, found.name, found.schema into v_target
        from dacapo.workflow as found
        join dacapo.deployment on deployment.id = found.deployment_id
        where deployment.active and deployment.namespace = v_namespace and found.name = v_names[1];
        continue when not found;
        v_schema := v_target.schema::jsonb;
        v_problem := dacapo.input_problem(p_input, v_schema);
        if v_problem is not null then
            raise exception '%', v_problem using errcode = 'invalid_parameter_value',
                -- By its parts, even if it has a name: that says little to somebody who got the parts wrong.
                hint = v_target.name || ' takes ' || coalesce(dacapo.wit_type(
                    case jsonb_typeof(v_schema #> '{param,type}')
                        when 'object'
                        then v_schema #> '{param,type}' #- '{record,name}' #- '{variant,name}' #- '{enum,name}' #- '{flags,name}'
                        else v_schema #> '{param,type}'
                    end
                ), 'nothing');
        end if;
        v_input := case when v_schema -> 'param' is null then 'null' else p_input end;
        v_id := case
            when v_key is null then dacapo.new_run_id()
            else dacapo.keyed_run_id(v_namespace, v_target.name, v_key)
        end;
        if v_special.singleton is not null or v_special.debounce is not null then
            v_outcome := dacapo.start_special(
                v_id, v_target.name, v_input, v_target.deployment_id, v_labels, v_deadline_ms,
                v_place.queue, v_place.priority, v_place.concurrency_key, v_place.waits_until,
                v_special.singleton, v_special.on_conflict, v_special.debounce, v_special.debounce_ms, v_special.debounce_max_ms
            );
            if v_outcome.outcome in ('started', 'debounced') then
                return v_outcome.run;
            elsif v_outcome.outcome = 'taken' then
                raise exception 'the singleton "%" belongs to run %, which is active', v_special.singleton, v_outcome.run
                    using errcode = 'unique_violation', hint = 'wait until it has ended, or say with onConflict: queue or replace';
            end if;
            continue when v_outcome.outcome <> 'exists';
        end if;
        v_deadline := clock_timestamp() + v_deadline_ms * interval '1 millisecond';
        insert into dacapo.run (id, namespace, workflow, deployment_id, input, labels, deadline, queue, priority, concurrency_key)
        select v_id, v_namespace, v_target.name, deployment.id, v_input, v_labels, v_deadline,
            v_place.queue, v_place.priority, v_place.concurrency_key
        from dacapo.deployment
        where deployment.id = v_target.deployment_id and deployment.active
        on conflict (id) do nothing;
        if found then
            insert into dacapo.deadline (run_id, at) select v_id, v_deadline where v_deadline is not null;
            perform dacapo.place(
                v_id, v_place.queue_id, v_place.is_held, v_place.concurrency_key, v_place.priority, v_place.waits_until
            );
            return v_id;
        end if;
        select run.input into v_existing from dacapo.run where run.id = v_id;
        if found and v_key is not null then
            if dacapo.is_same_input(v_existing.input, v_input, v_schema) then
                return v_id;
            end if;
            raise exception 'the key "%" belongs to run %, which was started with another input: it has %, this start has %',
                v_key, v_id, dacapo.shortened(v_existing.input), dacapo.shortened(v_input)
                using errcode = 'unique_violation',
                    hint = 'a key names one run: use another key for another input, or the first input to get the same run';
        end if;
    end loop;
    raise exception 'workflow "%" was deployed anew again and again while the run was being started', p_workflow
        using errcode = 'serialization_failure';
end $$;

-- An older worker would start ticks in no queue, and older binaries do not understand what a retry went back to.
update dacapo.compatibility set breaking = greatest(breaking, 16);
