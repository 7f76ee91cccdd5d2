-- Starting runs and sending events from SQL, inside the caller's own transaction: dacapo.start and dacapo.send_event.
-- What they are given is checked against the stored schema of the workflow, as the Rust client does it (model/src/from_json.rs): the
-- same texts are refused, at the same places, with the same expectation. A property test holds the two together.

-- What events carry is JSON, whoever sends them.
alter table dacapo.event add constraint event_payload_is_json check (payload::json is not null) not valid;

-- Words for people -----------------------------------------------------------------------------------------------------------------

-- order-id as orderId, HTTP-status as httpStatus.
create function dacapo.camel_case(p_kebab text) returns text
language sql immutable strict parallel safe as $$
    select string_agg(
        case when at = 1 then lower(part) else upper(left(part, 1)) || lower(substr(part, 2)) end, '' order by at
    )
    from unnest(string_to_array(p_kebab, '-')) with ordinality as parts (part, at)
$$;

-- The beginning of a piece of JSON. NUL, which no text of Postgres holds, is U+FDD0 in here (see input_problem).
create function dacapo.json_excerpt(p_json text) returns text
language sql immutable parallel safe as $$
    select case when char_length(shown) > 60 then left(shown, 59) || '…' else shown end
    from (
        select replace(replace(regexp_replace(btrim(left(p_json, 1000), e' \t\r\n'), e'[\t\r\n]+', ' ', 'g'), '\ufdd0', '\u0000'), U&'\FDD0', '\u0000') as shown
    ) as one
$$;

-- one of a, b, c; shortened when there are many.
create function dacapo.listed(p_names text[]) returns text
language sql immutable parallel safe as $$
    select case when cardinality(p_names) = 1 then '' else 'one of ' end
        || array_to_string(p_names[1:20], ', ')
        || case when cardinality(p_names) > 20 then ' and ' || cardinality(p_names) - 20 || ' more' else '' end
$$;

-- The names of the parts of a type: fields in JSON's spelling, cases, flags.
create function dacapo.part_names(p_type jsonb) returns text[]
language sql immutable parallel safe as $$
    select case
        when p_type ? 'record' then array(
            select dacapo.camel_case(part ->> 'name')
            from jsonb_array_elements(p_type #> '{record,fields}') with ordinality as parts (part, at) order by at
        )
        when p_type ? 'variant' then array(
            select part ->> 'name'
            from jsonb_array_elements(p_type #> '{variant,cases}') with ordinality as parts (part, at) order by at
        )
        when p_type ? 'enum' then array(
            select part
            from jsonb_array_elements_text(p_type #> '{enum,cases}') with ordinality as parts (part, at) order by at
        )
        else array(
            select part
            from jsonb_array_elements_text(p_type #> '{flags,flags}') with ordinality as parts (part, at) order by at
        )
    end
$$;

-- A stored type in WIT syntax: one with a name by its name, one without by its parts.
create function dacapo.wit_type(p_type jsonb) returns text
language plpgsql immutable as $$
declare
    v_kind text;
    v_of jsonb;
begin
    if jsonb_typeof(p_type) = 'string' then
        return case p_type #>> '{}' when 'bytes' then 'list<u8>' else p_type #>> '{}' end;
    end if;
    select key, value into v_kind, v_of from jsonb_each(p_type);
    if jsonb_typeof(v_of) = 'object' and v_kind in ('record', 'variant', 'enum', 'flags') and v_of ->> 'name' is not null then
        return v_of ->> 'name';
    end if;
    return case v_kind
        when 'list' then 'list<' || dacapo.wit_type(v_of) || '>'
        when 'fixed-list' then 'list<' || dacapo.wit_type(v_of -> 0) || ', ' || (v_of ->> 1) || '>'
        when 'option' then 'option<' || dacapo.wit_type(v_of) || '>'
        when 'tuple' then 'tuple<' || (
            select string_agg(dacapo.wit_type(item), ', ' order by at)
            from jsonb_array_elements(v_of) with ordinality as items (item, at)
        ) || '>'
        when 'record' then 'record { ' || (
            select string_agg((field ->> 'name') || ': ' || dacapo.wit_type(field -> 'type'), ', ' order by at)
            from jsonb_array_elements(v_of -> 'fields') with ordinality as fields (field, at)
        ) || ' }'
        when 'variant' then 'variant { ' || (
            select string_agg((item ->> 'name') || coalesce('(' || dacapo.wit_type(item -> 'type') || ')', ''), ', ' order by at)
            from jsonb_array_elements(v_of -> 'cases') with ordinality as cases (item, at)
        ) || ' }'
        when 'result' then 'result' || case
            when v_of ? 'ok' and v_of ? 'err'
                then '<' || dacapo.wit_type(v_of -> 'ok') || ', ' || dacapo.wit_type(v_of -> 'err') || '>'
            when v_of ? 'ok' then '<' || dacapo.wit_type(v_of -> 'ok') || '>'
            when v_of ? 'err' then '<_, ' || dacapo.wit_type(v_of -> 'err') || '>'
            else ''
        end
        -- enum, flags
        else v_kind || ' { ' || array_to_string(dacapo.part_names(p_type), ', ') || ' }'
    end;
end $$;

-- What to write for a type: its JSON form too where that is not obvious.
create function dacapo.wit_expected(p_type jsonb) returns text
language sql immutable parallel safe as $$
    select case
        when p_type ? 'enum' then dacapo.listed(dacapo.part_names(p_type))
        else dacapo.wit_type(p_type) || case
            when p_type = '"char"' then ' (a string of one character)'
            when p_type = '"bytes"' then ' (a string of padded base64)'
            when p_type ? 'fixed-list' then ' (an array of ' || (p_type #>> '{fixed-list,1}') || ')'
            when p_type ? 'tuple' then ' (an array of ' || jsonb_array_length(p_type -> 'tuple') || ')'
            when p_type ? 'list' then ' (an array)'
            when p_type ? 'record' then ' (an object)'
            when p_type ? 'variant' then ' (an object with `tag`)'
            when p_type ? 'flags' then ' (an array of names)'
            when p_type -> 'option' ? 'option' then ' (null or an object with `some`)'
            when p_type ? 'result' then ' (an object with either `ok` or `err`)'
            else ''
        end
    end
$$;

-- A path and one part more. A name that a person would not take for one is quoted.
create function dacapo.path_to(p_path text, p_name text) returns text
language sql immutable parallel safe as $$
    select p_path || case
        when p_name collate "C" ~ '^[A-Za-z0-9_-]{1,60}$' then '.' || p_name
        else '[' || dacapo.json_excerpt(to_json(p_name)::text) || ']'
    end
$$;

-- JSON that is JSON ----------------------------------------------------------------------------------------------------------------

-- The number, rounded to the nearest; null if that is infinite.
create function dacapo.json_float(p_number text) returns float8
language plpgsql immutable as $$
declare
    v_parts text[];
    v_digits text;
    v_leading numeric;
begin
    return p_number::float8;
exception when numeric_value_out_of_range then
    -- Postgres refuses what is too small for it just as what is too large.
    v_parts := regexp_match(p_number, '^-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$');
    v_digits := ltrim(v_parts[1], '0');
    v_leading := coalesce(left(v_parts[3], 100), '0')::numeric + case
        when v_digits <> '' then length(v_digits) - 1
        else length(ltrim(v_parts[2], '0')) - length(v_parts[2]) - 1
    end;
    return case when v_leading > 0 then null else 0 end;
end $$;

-- What is wrong with JSON beyond what Postgres finds: keys that are there twice, nesting, numbers out of range. Null: nothing is.
create function dacapo.json_problem(p_json json, p_levels integer) returns text
language plpgsql immutable as $$
declare
    v_type constant text := json_typeof(p_json);
    v_text text;
    v_inner record;
    v_problem text;
begin
    if v_type = 'number' then
        v_text := p_json::text;
        if (length(v_text) > 300 or v_text ~ '[eE]') and dacapo.json_float(v_text) is null then
            return 'not JSON: number out of range';
        end if;
    elsif v_type = 'string' then
        if position('\u' in p_json::text) > 0 then
            -- Half a surrogate pair is an error when it is read.
            v_text := p_json #>> '{}';
        end if;
    elsif v_type in ('array', 'object') and p_levels = 0 then
        return 'JSON nests deeper than 100 levels';
    elsif v_type = 'array' then
        for v_inner in
            select value from json_array_elements(p_json)
            where json_typeof(value) not in ('null', 'boolean')
                and (json_typeof(value) <> 'number' or length(value::text) > 15 or value::text ~ '[eE]')
        loop
            v_problem := dacapo.json_problem(v_inner.value, p_levels - 1);
            exit when v_problem is not null;
        end loop;
        return v_problem;
    elsif v_type = 'object' then
        select 'duplicate key ' || dacapo.json_excerpt(to_json(key)::text) || ' in an object' into v_problem
        from json_each(p_json)
        group by key
        having count(*) > 1
        limit 1;
        if v_problem is not null then
            return v_problem;
        end if;
        for v_inner in select value from json_each(p_json) loop
            v_problem := dacapo.json_problem(v_inner.value, p_levels - 1);
            exit when v_problem is not null;
        end loop;
        return v_problem;
    end if;
    return null;
end $$;

-- JSON of its type -----------------------------------------------------------------------------------------------------------------

-- Whether a value is of a simple type beyond doubt: saves most values the long way. False tells nothing.
create function dacapo.is_plainly(p_json json, p_type text) returns boolean
language sql immutable parallel safe as $$
    select case p_type
        when 'string' then json_typeof(p_json) = 'string'
        when 'bool' then json_typeof(p_json) = 'boolean'
        when 'u8' then p_json::text ~ '^(0|[1-9][0-9]?)$'
        when 's8' then p_json::text ~ '^(0|[1-9][0-9]?)$'
        when 'u16' then p_json::text ~ '^(0|[1-9][0-9]{0,3})$'
        when 's16' then p_json::text ~ '^(0|[1-9][0-9]{0,3})$'
        when 'u32' then p_json::text ~ '^(0|[1-9][0-9]{0,8})$'
        when 's32' then p_json::text ~ '^(0|[1-9][0-9]{0,8})$'
        when 'u64' then p_json::text ~ '^(0|[1-9][0-9]{0,8})$'
        when 's64' then p_json::text ~ '^(0|[1-9][0-9]{0,8})$'
        when 'f32' then p_json::text ~ '^-?[0-9.]{1,20}$'
        when 'f64' then p_json::text ~ '^-?[0-9.]{1,20}$'
        else false
    end
$$;

-- What is wrong with a whole number. Null: nothing is.
create function dacapo.integer_mismatch(p_json json, p_type text) returns text
language plpgsql immutable as $$
declare
    v_got constant text := ', got ' || dacapo.json_excerpt(p_json::text);
    v_text constant text := p_json #>> '{}';
    v_bits constant integer := substr(p_type, 2)::integer;
    v_least constant numeric := case when p_type like 'u%' then 0 else -(2::numeric ^ (v_bits - 1)) end;
    v_most constant numeric := case when p_type like 'u%' then 2::numeric ^ v_bits - 1 else 2::numeric ^ (v_bits - 1) - 1 end;
    v_range constant text := 'expected ' || p_type || ' (' || trunc(v_least) || ' to ' || trunc(v_most) || ')' || v_got;
    v_float float8;
    v_number numeric;
begin
    if json_typeof(p_json) = 'string' and v_bits = 64 and v_text ~ '^(0|-?[1-9][0-9]*)$' and length(v_text) <= 20 then
        v_number := v_text::numeric;
    elsif json_typeof(p_json) <> 'number' then
        return 'expected ' || p_type || v_got;
    elsif v_text ~ '^(0|-?[1-9][0-9]*)$' and length(v_text) <= 20
        and v_text::numeric between -(2::numeric ^ 63) and 2::numeric ^ 64 - 1 then
        v_number := v_text::numeric;
    else
        v_float := dacapo.json_float(v_text);
        if v_float >= -9223372036854775808.0::float8 and v_float < 18446744073709551616.0::float8 then
            return 'expected ' || p_type || v_got || ': integers are written without fraction, exponent and negative zero';
        end if;
        return v_range;
    end if;
    return case when v_number between v_least and v_most then null else v_range end;
end $$;

-- Where a value is not of a type, and how: none, or up to five, in the order in which the value is read.
create function dacapo.mismatches(p_json json, p_type jsonb, p_path text) returns text[]
language plpgsql immutable as $$
declare
    v_type constant text := json_typeof(p_json);
    v_simple constant text := case when jsonb_typeof(p_type) = 'string' then p_type #>> '{}' end;
    v_found text[] := '{}';
    v_names text[];
    v_seen text[] := '{}';
    v_message text;
    v_text text;
    v_part record;
    v_inner jsonb;
begin
    if v_simple is not null then
        if dacapo.is_plainly(p_json, v_simple) then
            return v_found;
        end if;
        if v_simple ~ '^[us][0-9]+$' then
            v_message := dacapo.integer_mismatch(p_json, v_simple);
        elsif v_simple in ('f32', 'f64') and v_type = 'number' then
            -- The border where a float rounds to infinity.
            if v_simple = 'f32' and abs(dacapo.json_float(p_json::text)) >= 3.4028235677973366e38::float8 then
                v_message := 'expected f32 (-3.4028235e38 to 3.4028235e38), got ' || dacapo.json_excerpt(p_json::text);
            end if;
        elsif v_simple = 'char' and v_type = 'string' and char_length(p_json #>> '{}') = 1 then
            null;
        elsif v_simple = 'bytes' and v_type = 'string' then
            v_text := p_json #>> '{}';
            -- The last letters of padded base64 must not carry bits that belong to no byte.
            if length(v_text) % 4 <> 0 or v_text collate "C" !~ '^[A-Za-z0-9+/]*([AQgw]==|[AEIMQUYcgkosw048]=)?$' then
                v_message := 'expected ' || dacapo.wit_expected(p_type) || ', got ' || dacapo.json_excerpt(p_json::text);
            end if;
        else
            v_message := 'expected ' || dacapo.wit_expected(p_type) || ', got ' || dacapo.json_excerpt(p_json::text);
        end if;
        return case when v_message is null then v_found else array[p_path || ': ' || v_message] end;
    end if;

    v_message := p_path || ': expected ' || dacapo.wit_expected(p_type) || ', got ' || dacapo.json_excerpt(p_json::text);
    if p_type ? 'option' then
        v_inner := p_type -> 'option';
        if v_type = 'null' then
            return v_found;
        elsif not v_inner ? 'option' then
            return dacapo.mismatches(p_json, v_inner, p_path);
        elsif v_type = 'object' and array(select json_object_keys(p_json)) = '{some}' then
            return dacapo.mismatches(p_json -> 'some', v_inner, p_path || '.some');
        end if;
        return array[v_message];

    elsif p_type ? 'list' or p_type ? 'fixed-list' or p_type ? 'tuple' then
        if v_type <> 'array'
            or p_type ? 'fixed-list' and json_array_length(p_json) <> (p_type #>> '{fixed-list,1}')::bigint
            or p_type ? 'tuple' and json_array_length(p_json) <> jsonb_array_length(p_type -> 'tuple') then
            return array[v_message];
        end if;
        v_inner := coalesce(p_type -> 'list', p_type #> '{fixed-list,0}');
        for v_part in
            select item, at - 1 as at from json_array_elements(p_json) with ordinality as items (item, at)
            where v_inner is null or jsonb_typeof(v_inner) <> 'string' or dacapo.is_plainly(item, v_inner #>> '{}') is not true
        loop
            v_found := v_found || dacapo.mismatches(
                v_part.item, coalesce(v_inner, p_type -> 'tuple' -> v_part.at::integer), p_path || '[' || v_part.at || ']'
            );
            exit when cardinality(v_found) >= 5;
        end loop;
        return v_found[1:5];

    elsif p_type ? 'record' then
        if v_type <> 'object' then
            return array[v_message];
        end if;
        v_names := dacapo.part_names(p_type);
        v_found := array(
            select dacapo.path_to(p_path, key) || ': unknown field; expected ' || dacapo.listed(v_names)
            from (select json_object_keys(p_json) as key) as keys
            where key <> all (v_names)
            limit 5
        );
        for v_part in
            select v_names[at] as name, field -> 'type' as type, p_json -> v_names[at] as value
            from jsonb_array_elements(p_type #> '{record,fields}') with ordinality as fields (field, at)
            order by at
        loop
            exit when cardinality(v_found) >= 5;
            if v_part.value is not null then
                v_found := v_found || dacapo.mismatches(v_part.value, v_part.type, dacapo.path_to(p_path, v_part.name));
            elsif not v_part.type ? 'option' then
                v_found := v_found
                    || (dacapo.path_to(p_path, v_part.name) || ': missing, expected ' || dacapo.wit_expected(v_part.type));
            end if;
        end loop;
        return v_found[1:5];

    elsif p_type ? 'variant' then
        if v_type <> 'object' then
            return array[v_message];
        end if;
        v_names := dacapo.part_names(p_type);
        if p_json -> 'tag' is null then
            return array[
                p_path || '.tag: missing, expected ' || dacapo.listed(v_names) || '; got ' || dacapo.json_excerpt(p_json::text)
            ];
        end if;
        v_text := p_json ->> 'tag';
        if json_typeof(p_json -> 'tag') <> 'string' or v_text <> all (v_names) then
            return array[
                p_path || '.tag: expected ' || dacapo.listed(v_names) || ', got ' || dacapo.json_excerpt((p_json -> 'tag')::text)
            ];
        end if;
        v_inner := p_type #> '{variant,cases}' -> array_position(v_names, v_text) - 1 -> 'type';
        for v_part in select key from json_each(p_json) where key <> 'tag' loop
            if v_part.key = 'val' and v_inner is null then
                return array[p_path || '.val: unknown field; case `' || v_text || '` has no payload'];
            elsif v_part.key <> 'val' then
                return array[dacapo.path_to(p_path, v_part.key) || ': unknown field; expected one of tag, val'];
            end if;
        end loop;
        if v_inner is null then
            return v_found;
        elsif p_json -> 'val' is null then
            return array[p_path || '.val: missing, expected ' || dacapo.wit_expected(v_inner)];
        end if;
        return dacapo.mismatches(p_json -> 'val', v_inner, p_path || '.val');

    elsif p_type ? 'enum' then
        if v_type = 'string' and p_json #>> '{}' = any (dacapo.part_names(p_type)) then
            return v_found;
        end if;
        return array[v_message];

    elsif p_type ? 'flags' then
        if v_type <> 'array' then
            return array[v_message];
        end if;
        v_names := dacapo.part_names(p_type);
        for v_part in
            select item, at - 1 as at from json_array_elements(p_json) with ordinality as items (item, at)
        loop
            v_text := v_part.item #>> '{}';
            if json_typeof(v_part.item) <> 'string' or v_text <> all (v_names) then
                return array[
                    p_path || '[' || v_part.at || ']: expected ' || dacapo.listed(v_names) || ', got '
                        || dacapo.json_excerpt(v_part.item::text)
                ];
            elsif v_text = any (v_seen) then
                return array[
                    p_path || '[' || v_part.at || ']: flag ' || dacapo.json_excerpt(v_part.item::text) || ' is there twice'
                ];
            end if;
            v_seen := v_seen || v_text;
        end loop;
        return v_found;

    elsif p_type ? 'result' then
        if v_type <> 'object' then
            return array[v_message];
        end if;
        v_names := array(select json_object_keys(p_json));
        if v_names <> '{ok}' and v_names <> '{err}' then
            return array[v_message];
        end if;
        v_inner := p_type -> 'result' -> v_names[1];
        if v_inner is not null then
            return dacapo.mismatches(p_json -> v_names[1], v_inner, p_path || '.' || v_names[1]);
        elsif json_typeof(p_json -> v_names[1]) <> 'null' then
            return array[
                p_path || '.' || v_names[1] || ': expected null, since `' || v_names[1] || '` has no payload, got '
                    || dacapo.json_excerpt((p_json -> v_names[1])::text)
            ];
        end if;
        return v_found;
    end if;
    raise exception 'dacapo: a type that this version does not know: %', p_type;
end $$;

-- NUL as a character that Postgres can read.
create function dacapo.without_nul(p_json text) returns text
language sql immutable parallel safe as $$
    select case
        when position('\u0000' in p_json) = 0 then p_json
        else regexp_replace(p_json, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\ufdd0', 'g')
    end
$$;

-- Why a text cannot be the input of a workflow with this schema. Null: it can.
create function dacapo.input_problem(p_input text, p_schema jsonb) returns text
language plpgsql immutable as $$
declare
    v_json json;
    v_problem text;
    v_detail text;
begin
    if octet_length(p_input) > 1048576 then
        return 'input: payload is ' || ltrim(to_char(octet_length(p_input), '999,999,999,999'))
            || ' bytes, the limit is 1,048,576 bytes (max-payload-bytes)';
    end if;
    if p_schema -> 'param' is null and btrim(p_input, e' \t\r\n') = '' then
        return null;
    end if;
    begin
        v_json := dacapo.without_nul(p_input)::json;
        v_problem := dacapo.json_problem(v_json, 100);
    exception
        when data_exception then
            get stacked diagnostics v_detail = pg_exception_detail;
            v_problem := 'not JSON: ' || coalesce(nullif(v_detail, ''), sqlerrm);
        when statement_too_complex then
            v_problem := 'JSON nests deeper than 100 levels';
    end;
    if v_problem is not null then
        return 'input: ' || v_problem;
    end if;
    if p_schema -> 'param' is not null then
        return nullif(array_to_string(dacapo.mismatches(v_json, p_schema #> '{param,type}', 'input'), e'\n'), '');
    elsif json_typeof(v_json) <> 'null' then
        return 'input: ' || (p_schema ->> 'name') || ' takes no input, got ' || dacapo.json_excerpt(p_input);
    end if;
    return null;
end $$;

-- A value of a type in a form that is the same however the value was written.
create function dacapo.canonical(p_json json, p_type jsonb) returns jsonb
language plpgsql immutable as $$
declare
    v_simple constant text := case when jsonb_typeof(p_type) = 'string' then p_type #>> '{}' end;
    v_side text;
    v_float float8;
begin
    if v_simple ~ '^[us][0-9]+$' then
        return to_jsonb((p_json #>> '{}')::numeric);
    elsif v_simple in ('f32', 'f64') then
        -- By their bits, since JSON's numbers have no negative zero here.
        v_float := dacapo.json_float(p_json::text);
        if v_simple = 'f64' then
            return to_jsonb(encode(float8send(v_float), 'hex'));
        elsif abs(v_float) <= 7.0064923216240854e-46::float8 then
            -- Half of the smallest one and less is zero; Postgres refuses to round so.
            return to_jsonb(case when float8send(v_float) >= '\x80' then '80000000' else '00000000' end);
        end if;
        return to_jsonb(encode(float4send(v_float::float4), 'hex'));
    elsif v_simple is not null or p_type ? 'enum' then
        return p_json::jsonb;
    elsif p_type ? 'option' then
        if json_typeof(p_json) = 'null' then
            return 'null';
        elsif p_type -> 'option' ? 'option' then
            return jsonb_build_object('some', dacapo.canonical(p_json -> 'some', p_type -> 'option'));
        end if;
        return dacapo.canonical(p_json, p_type -> 'option');
    elsif p_type ? 'flags' then
        return coalesce((select jsonb_agg(flag order by flag) from json_array_elements_text(p_json) as flag), '[]');
    elsif p_type ? 'record' then
        return (
            select jsonb_object_agg(
                name, case when p_json -> name is null then 'null' else dacapo.canonical(p_json -> name, field -> 'type') end
            )
            from (
                select field, dacapo.camel_case(field ->> 'name') as name
                from jsonb_array_elements(p_type #> '{record,fields}') as field
            ) as fields
        );
    elsif p_type ? 'variant' then
        return jsonb_build_object(
            'tag', p_json ->> 'tag',
            'val', case when p_json -> 'val' is not null then dacapo.canonical(p_json -> 'val', (
                select item -> 'type' from jsonb_array_elements(p_type #> '{variant,cases}') as item
                where item ->> 'name' = p_json ->> 'tag'
            )) end
        );
    elsif p_type ? 'result' then
        v_side := json_object_keys(p_json);
        return jsonb_build_object(v_side, case
            when p_type -> 'result' ? v_side then dacapo.canonical(p_json -> v_side, p_type -> 'result' -> v_side)
        end);
    end if;
    return coalesce((
        select jsonb_agg(
            dacapo.canonical(item, coalesce(p_type -> 'list', p_type #> '{fixed-list,0}', p_type -> 'tuple' -> at::integer - 1))
            order by at
        )
        from json_array_elements(p_json) with ordinality as items (item, at)
    ), '[]');
end $$;

-- Whether two inputs of a workflow are the same value.
create function dacapo.is_same_input(p_one text, p_other text, p_schema jsonb) returns boolean
language sql immutable as $$
    select p_one = p_other or (
        case when p_schema -> 'param' is not null and dacapo.input_problem(p_one, p_schema) is null then
            dacapo.canonical(dacapo.without_nul(p_one)::json, p_schema #> '{param,type}')
                = dacapo.canonical(dacapo.without_nul(p_other)::json, p_schema #> '{param,type}')
        else false end
    )
$$;

-- Starting -------------------------------------------------------------------------------------------------------------------------

-- A random run id: a UUIDv7 of the present time, like those of the clients.
create function dacapo.new_run_id() returns uuid
language sql volatile as $$
    select encode(
        set_byte(
            overlay(
                decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
                placing substr(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint), 3) from 1 for 6
            ),
            6, (112 | floor(random() * 16)::integer)
        ), 'hex'
    )::uuid
$$;

-- The id of the one run that a key names among the runs of a workflow: RunId::keyed of the model.
create function dacapo.keyed_run_id(p_namespace text, p_workflow text, p_key text) returns uuid
language sql immutable parallel safe as $$
    select encode(
        set_byte(set_byte(hash, 6, get_byte(hash, 6) & 15 | 128), 8, get_byte(hash, 8) & 63 | 128), 'hex'
    )::uuid
    from (
        select substr(sha256(string_agg(int8send(octet_length(bytes)) || bytes, '' order by at)), 1, 16) as hash
        from (
            select convert_to(part, 'UTF8') as bytes, at
            from unnest(array[p_namespace, p_workflow, p_key]) with ordinality as parts (part, at)
        ) as parts
    ) as hashed
$$;

-- Options: those that are not known are errors, as are those of another type.
create function dacapo.check_options(p_options jsonb, p_known text[]) returns void
language plpgsql immutable as $$
declare
    v_unknown text;
begin
    if jsonb_typeof(p_options) <> 'object' then
        raise exception 'options: expected a JSON object, got %', dacapo.json_excerpt(p_options::text)
            using errcode = 'invalid_parameter_value';
    end if;
    select key into v_unknown from jsonb_object_keys(p_options) as key where key <> all (p_known) order by key limit 1;
    if found then
        raise exception 'options.%: unknown option; expected %', v_unknown, dacapo.listed(p_known)
            using errcode = 'invalid_parameter_value';
    end if;
    select key into v_unknown from jsonb_each(p_options)
    where key <> 'labels' and jsonb_typeof(value) not in ('string', 'null') order by key limit 1;
    if found then
        raise exception 'options.%: expected a string, got %', v_unknown, dacapo.json_excerpt((p_options -> v_unknown)::text)
            using errcode = 'invalid_parameter_value';
    end if;
end $$;

-- Starts a run if and when the caller's transaction commits, and answers with its id. The workflow's name is a full one
-- (ns:pkg/interface.function), or an end of one where that is unique. Options:
--   key        at most one run of the workflow has this key while it is kept: starting it again answers with that run's id
--   labels     an object of strings, to find the run by
--   namespace  the tenant; default: default
-- Everything that is wrong is an error, and nothing is written then.
create function dacapo.start(workflow text, input text default 'null', options jsonb default '{}') returns uuid
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
begin
    perform dacapo.check_options(p_options, array['key', 'labels', 'namespace']);
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
        insert into dacapo.run (id, namespace, workflow, deployment_id, input, labels)
        select v_id, v_namespace, v_target.name, deployment.id, v_input, v_labels
        from dacapo.deployment
        where deployment.id = v_target.deployment_id and deployment.active
        on conflict (id) do nothing;
        if found then
            insert into dacapo.task_ready (run_id) values (v_id);
            perform pg_notify('dacapo_ready', '');
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

-- The same with the input as jsonb.
create function dacapo.start(workflow text, input jsonb, options jsonb default '{}') returns uuid
language sql volatile as $$
    select dacapo.start($1, $2::text, $3)
$$;

create function dacapo.shortened(p_text text) returns text
language sql immutable parallel safe as $$
    select case when char_length(p_text) > 200 then left(p_text, 200) || '…' else p_text end
$$;

-- Events ---------------------------------------------------------------------------------------------------------------------------

-- Sends an event to a run if and when the caller's transaction commits. Options:
--   id  an id of this delivery: the same id sent again is received once
-- Answers with sent or duplicate; a run that is not there or has ended is an error, as is everything else that is wrong.
create function dacapo.send_event(run uuid, name text, payload jsonb, options jsonb default '{}') returns text
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
    end if;
    raise exception 'cannot send an event to run %: it is %', p_run, v_answer
        using errcode = 'object_not_in_prerequisite_state', hint = 'events can be sent to a run until it ends';
end $$;
