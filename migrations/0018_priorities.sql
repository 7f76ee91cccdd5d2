-- Levels of priority by their names, wherever the options of a start give one.

-- A level as a number; null if there is none of this name. `parse_priority` in the model knows the same levels.
create function dacapo.priority_level(p_name text) returns integer
language sql immutable as $$
    select case p_name when 'lowest' then -100 when 'low' then -10 when 'normal' then 0 when 'high' then 10 when 'highest' then 100 end
$$;

-- As before, but for the levels. The options of a start that say in which queue and when. Locks the queue's row (key share), which only
-- taking it away waits for.
create or replace function dacapo.check_placing(
    p_namespace text, p_options jsonb, out queue text, out queue_id integer, out is_held boolean, out concurrency_key text,
    out priority smallint, out waits_until timestamptz
)
language plpgsql volatile as $$
declare
    v_text text;
    v_number numeric;
    v_delay interval;
begin
    is_held := false;
    queue := nullif(p_options ->> 'queue', 'default');
    if queue is not null then
        select named.id, named.holds into queue_id, is_held
        from dacapo.queue as named
        where named.namespace = p_namespace and named.name = check_placing.queue
        for key share;
        if not found then
            raise exception 'options.queue: there is no queue "%"', left(queue, 200)
                using errcode = 'no_data_found', hint = 'make it with `dacapo queue set`; `dacapo queue list` shows what there is';
        end if;
    end if;
    concurrency_key := p_options ->> 'concurrencyKey';
    if concurrency_key is not null then
        if octet_length(concurrency_key) not between 1 and 200 then
            raise exception 'options.concurrencyKey: expected 1 to 200 bytes, got %', octet_length(concurrency_key)
                using errcode = 'invalid_parameter_value';
        end if;
        if queue is null then
            raise exception 'options.concurrencyKey: limits per key are those of a named queue, and none is given'
                using errcode = 'invalid_parameter_value', hint = 'give the option queue as well';
        end if;
    end if;
    if coalesce(jsonb_typeof(p_options -> 'priority'), 'null') <> 'null' then
        v_number := case jsonb_typeof(p_options -> 'priority')
            when 'number' then (p_options ->> 'priority')::numeric
            when 'string' then dacapo.priority_level(p_options ->> 'priority')
        end;
        if v_number is null or v_number <> trunc(v_number) or v_number not between -100 and 100 then
            raise exception
                'options.priority: expected a whole number from -100 to 100, or lowest, low, normal, high or highest, got %',
                dacapo.json_excerpt((p_options -> 'priority')::text)
                using errcode = 'invalid_parameter_value';
        end if;
        priority := nullif(v_number, 0);
    end if;
    if p_options ->> 'delay' is not null and p_options ->> 'at' is not null then
        raise exception 'options.at: expected either at or delay, got both' using errcode = 'invalid_parameter_value';
    end if;
    v_text := p_options ->> 'delay';
    if v_text is not null then
        begin
            v_delay := v_text::interval;
        exception when others then
            raise exception 'options.delay: expected an interval such as 10 minutes, got "%"', left(v_text, 60)
                using errcode = 'invalid_parameter_value';
        end;
        if v_delay < interval '0' or v_delay > interval '3660 days' then
            raise exception 'options.delay: expected 0 to 10 years, got "%"', left(v_text, 60) using errcode = 'invalid_parameter_value';
        end if;
        waits_until := clock_timestamp() + v_delay;
    end if;
    v_text := p_options ->> 'at';
    if v_text is not null then
        begin
            waits_until := v_text::timestamptz;
        exception when others then
            raise exception 'options.at: expected a time such as 2026-11-23T08:00:00Z, got "%"', left(v_text, 60)
                using errcode = 'invalid_parameter_value';
        end;
        if waits_until > '2100-01-01 00:00:00+00' or waits_until = '-infinity' then
            raise exception 'options.at: expected a time before 2100, got "%"', left(v_text, 60) using errcode = 'invalid_parameter_value';
        end if;
    end if;
    if waits_until <= clock_timestamp() then
        waits_until := null;
    end if;
end $$;
