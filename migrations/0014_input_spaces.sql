-- Input that is a number with white space around it: Postgres keeps the space in the text of such a number.

-- As before, without the white space around the whole.
create or replace function dacapo.input_problem(p_input text, p_schema jsonb) returns text
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
        v_json := btrim(dacapo.without_nul(p_input), e' \t\r\n')::json;
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
