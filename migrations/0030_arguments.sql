-- Arguments that mean nothing are refused with words by whoever takes them, and not by what those run into.

-- As before, but a package that is null is none.
create or replace function dacapo.lock_package(p_namespace text, p_package text) returns void
language plpgsql as $$
begin
    if p_package is null then
        raise exception 'package: expected the name of a package, got null' using errcode = 'null_value_not_allowed';
    end if;
    -- Nothing is taken away meanwhile.
    perform from dacapo.deploy_lock where namespace = '' and package = '' for share;
    insert into dacapo.deploy_lock (namespace, package) values (p_namespace, p_package) on conflict do nothing;
    perform from dacapo.deploy_lock where namespace = p_namespace and package = p_package for update;
end $$;

-- Options, or an error if they are no object: nothing can be taken from a text or a number.
create function dacapo.options_object(p_options jsonb) returns jsonb
language plpgsql immutable as $$
begin
    if jsonb_typeof(p_options) <> 'object' then
        -- Which raises the error that is meant for this.
        perform dacapo.check_options(p_options, array[]::text[]);
    end if;
    return p_options;
end $$;

do $$
declare
    v_name text;
    v_function text;
    v_before constant text := 'p_options constant jsonb := coalesce(options, ''{}'');';
begin
    foreach v_name in array array['deploy(bytea, jsonb, jsonb)', 'activate(text, integer, jsonb)', 'retire(text, integer, jsonb)'] loop
        v_function := pg_get_functiondef(('dacapo.' || v_name)::regprocedure);
        if position(v_before in v_function) = 0 then
            raise exception 'dacapo.% reads its options in another way', v_name;
        end if;
        execute replace(v_function, v_before, 'p_options constant jsonb := dacapo.options_object(coalesce(options, ''{}''));');
    end loop;
end $$;

-- As before, but a role that is not there is named.
create or replace function dacapo.allow_sql_steps(p_role name) returns void
language plpgsql as $$
begin
    if not exists (select from pg_roles where rolname = p_role) then
        raise exception 'there is no role %', coalesce(quote_literal(p_role::text), 'null')
            using errcode = 'undefined_object', hint = 'make it first: create role … login';
    end if;
    execute format('grant usage on schema dacapo to %I', p_role);
    execute format(
        'grant execute on function dacapo.finish_sql_step(uuid, bytea, text, bytea, timestamptz),
            dacapo.finish_sql_step(uuid, text, text, text, timestamptz) to %I',
        p_role
    );
end $$;
