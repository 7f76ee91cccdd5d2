-- Events that a workflow declares: their payloads are checked when they are sent.

-- [{"name": "paid", "type": …}], or null: any event will do.
alter table dacapo.workflow add column events jsonb generated always as ((schema::jsonb) -> 'events') stored;

-- Why a text cannot be a value of this type; p_root says what it is. Without a type the only value is null, and p_nothing says what has
-- no value. Null: it can.
create function dacapo.value_problem(p_text text, p_type jsonb, p_root text, p_nothing text) returns text
language plpgsql immutable as $$
declare
    v_json json;
    v_problem text;
    v_detail text;
begin
    if octet_length(p_text) > 1048576 then
        return p_root || ': payload is ' || ltrim(to_char(octet_length(p_text), '999,999,999,999'))
            || ' bytes, the limit is 1,048,576 bytes (max-payload-bytes)';
    end if;
    begin
        v_json := btrim(dacapo.without_nul(p_text), e' \t\r\n')::json;
        v_problem := dacapo.json_problem(v_json, 100);
    exception
        when data_exception then
            get stacked diagnostics v_detail = pg_exception_detail;
            v_problem := 'not JSON: ' || coalesce(nullif(v_detail, ''), sqlerrm);
        when statement_too_complex then
            v_problem := 'JSON nests deeper than 100 levels';
    end;
    if v_problem is not null then
        return p_root || ': ' || v_problem;
    end if;
    if p_type is not null then
        return nullif(array_to_string(dacapo.mismatches(v_json, p_type, p_root), e'\n'), '');
    elsif json_typeof(v_json) <> 'null' then
        return p_root || ': ' || p_nothing || ', got ' || dacapo.json_excerpt(p_text);
    end if;
    return null;
end $$;

-- As before.
create or replace function dacapo.input_problem(p_input text, p_schema jsonb) returns text
language sql immutable as $$
    select case when p_schema -> 'param' is not null or btrim(p_input, e' \t\r\n') <> '' then
        dacapo.value_problem(p_input, p_schema #> '{param,type}', 'input', (p_schema ->> 'name') || ' takes no input')
    end
$$;

-- Why this is no event of the run's workflow, as far as that declares its events. Null: it is one, or there is no such run.
create function dacapo.event_problem(p_run uuid, p_name text, p_payload text) returns text
language plpgsql stable as $$
declare
    v_events jsonb;
    v_event jsonb;
begin
    select workflow.events into v_events
    from dacapo.run join dacapo.workflow on workflow.deployment_id = run.deployment_id and workflow.name = run.workflow
    where run.id = p_run;
    -- Names with a / are our own: the ends of children.
    if v_events is null or position('/' in p_name) > 0 then
        return null;
    end if;
    select event into v_event from jsonb_array_elements(v_events) as events (event) where event ->> 'name' = p_name;
    if v_event is null then
        return 'there is no event ' || p_name || ': expected ' || dacapo.listed(array(
            select event ->> 'name'
            from jsonb_array_elements(v_events) with ordinality as events (event, at) order by at
        ));
    end if;
    return dacapo.value_problem(p_payload, v_event -> 'type', 'payload', p_name || ' has no payload');
end $$;

-- As before, and refuses what the run's workflow does not declare.
-- sent | duplicate | not-found | or the final status that the run has | or bad-event: and why
create or replace function dacapo.send_event(p_run uuid, p_name text, p_payload text, p_delivery_id text default null) returns text
language plpgsql as $$
declare
    v_seq integer;
    v_status text;
    v_wakes boolean;
    v_problem constant text := dacapo.event_problem(p_run, p_name, p_payload);
begin
    if v_problem is not null then
        return 'bad-event: ' || v_problem;
    end if;
    for i in 1..1000 loop
        if p_delivery_id is not null
            and exists (select from dacapo.event where run_id = p_run and delivery_id = p_delivery_id) then
            return 'duplicate';
        end if;
        v_wakes := false;
        update dacapo.task_leased set inbox_seq = inbox_seq + 1 where run_id = p_run returning inbox_seq into v_seq;
        if v_seq is null then
            update dacapo.task_suspended set inbox_seq = inbox_seq + 1 where run_id = p_run
            returning inbox_seq, not paused and p_name = any (events) into v_seq, v_wakes;
        end if;
        if v_seq is null then
            update dacapo.task_ready set inbox_seq = inbox_seq + 1 where run_id = p_run returning inbox_seq into v_seq;
        end if;
        if v_seq is not null then
            insert into dacapo.event (run_id, seq, name, payload, delivery_id)
            values (p_run, v_seq, p_name, p_payload, p_delivery_id)
            on conflict (run_id, delivery_id) where delivery_id is not null do nothing;
            if not found then
                return 'duplicate';
            end if;
            if v_wakes then
                perform dacapo.wake(p_run, 0, null);
            end if;
            return 'sent';
        end if;
        select status into v_status from dacapo.run where id = p_run;
        if v_status is null then
            return 'not-found';
        elsif v_status <> 'active' then
            return v_status;
        end if;
    end loop;
    raise exception 'run % is active but has no task', p_run;
end $$;

-- As before, with what the run's workflow says about it.
create or replace function dacapo.send_event(run uuid, name text, payload jsonb, options jsonb default '{}') returns text
language plpgsql volatile as $$
declare
    p_run constant uuid := run;
    p_name constant text := name;
    p_payload constant text := payload::text;
    p_options constant jsonb := coalesce(options, '{}');
    v_answer text;
begin
    perform dacapo.check_options(p_options, array['id']);
    if p_run is null or p_payload is null or p_name is null then
        raise exception 'cannot send an event: the % is null',
            case when p_run is null then 'run' when p_name is null then 'name' else 'payload' end
            using errcode = 'null_value_not_allowed', hint = 'JSON null is written ''null''';
    end if;
    if p_name = '' or octet_length(p_name) > 200 or p_name ~ U&'[/#\0001-\001F\007F-\009F]' then
        raise exception 'bad event name "%": expected 1 to 200 bytes without `/`, `#` and control characters', left(p_name, 60)
            using errcode = 'invalid_parameter_value';
    end if;
    if octet_length(p_options ->> 'id') > 200 then
        raise exception 'options.id: expected at most 200 bytes, got %', octet_length(p_options ->> 'id')
            using errcode = 'invalid_parameter_value';
    end if;
    if octet_length(p_payload) > 1048576 then
        raise exception 'payload of event "%": it is % bytes, the limit is 1,048,576 bytes', p_name, octet_length(p_payload)
            using errcode = 'invalid_parameter_value';
    end if;
    v_answer := dacapo.send_event(p_run, p_name, p_payload, p_options ->> 'id');
    if v_answer in ('sent', 'duplicate') then
        return v_answer;
    elsif v_answer = 'not-found' then
        raise exception 'there is no run %', p_run
            using errcode = 'no_data_found', hint = '`dacapo runs list` shows the runs of this database';
    elsif starts_with(v_answer, 'bad-event: ') then
        raise exception 'event "%" for run %: %', p_name, p_run, substr(v_answer, length('bad-event: ') + 1)
            using errcode = 'invalid_parameter_value', hint = 'the workflow declares its events in its WIT: `dacapo workflows` shows them';
    end if;
    raise exception 'cannot send an event to run %: it is %', p_run, v_answer
        using errcode = 'object_not_in_prerequisite_state', hint = 'events can be sent to a run until it ends';
end $$;
