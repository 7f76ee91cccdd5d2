-- SQL steps, mended: their statements can neither change what is recorded, nor keep a commit that holds the fence waiting for long, nor
-- keep deploys waiting.

-- Outcomes ---------------------------------------------------------------------------------------------------------------------

-- As before, but for the key and the payload, which are UTF-8: text would be converted from whatever client_encoding the statements have set.
-- And the commit has a limit, whatever it waits for: the fence is locked until then.
create function dacapo.finish_sql_step(p_run uuid, p_key bytea, p_token text, p_payload bytea, p_finished_at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_key constant text := convert_from(p_key, 'UTF8');
    v_step dacapo.sql_step;
begin
    -- Whatever the statements have set: the commit is durable, and neither a worker that hangs before it nor a constraint that is checked by
    -- it keeps the fence locked.
    perform set_config('synchronous_commit', 'on', true), set_config('idle_in_transaction_session_timeout', '10000', true),
        set_config('lock_timeout', '10000', true), set_config('statement_timeout', '30000', true);
    select * into v_step from dacapo.sql_step
    where run_id = p_run and key = v_key and token_digest = sha256(convert_to(p_token, 'UTF8')) and role = session_user;
    if not found then
        return 'gone';
    end if;
    if v_step.backend <> pg_backend_pid() or v_step.transaction <> pg_current_xact_id() then
        return 'other-transaction';
    end if;
    perform from dacapo.fence where worker_id = v_step.worker_id and connection = v_step.connection and open for share;
    if not found then
        return 'fenced';
    end if;
    perform from dacapo.task_leased where run_id = p_run and worker_id = v_step.worker_id for key share;
    if not found then
        return 'fenced';
    end if;
    delete from dacapo.sql_step where run_id = p_run and key = v_key and token_digest = v_step.token_digest;
    if not found then
        return 'gone';
    end if;
    -- Open if an attempt has failed before, and then it keeps its place.
    insert into dacapo.step (run_id, key, position, kind, outcome, payload, started_at, finished_at)
    values (
        p_run, v_key, v_step.position, 'step', 'ok', convert_from(p_payload, 'UTF8'), v_step.started_at, p_finished_at
    )
    on conflict (run_id, key) do update
    set outcome = excluded.outcome, payload = excluded.payload, finished_at = excluded.finished_at, due = null
    where step.outcome is null and step.kind = 'step';
    if not found then
        raise exception 'step % of run % has an outcome already', v_key, p_run;
    end if;
    return 'done';
end $$;

-- For workers that have not been replaced yet.
create or replace function dacapo.finish_sql_step(p_run uuid, p_key text, p_token text, p_payload text, p_finished_at timestamptz)
returns text
language sql security definer set search_path = pg_catalog, pg_temp as $$
    select dacapo.finish_sql_step(p_run, convert_to(p_key, 'UTF8'), p_token, convert_to(p_payload, 'UTF8'), p_finished_at)
$$;

create or replace function dacapo.allow_sql_steps(p_role name) returns void
language plpgsql as $$
begin
    execute format('grant usage on schema dacapo to %I', p_role);
    execute format(
        'grant execute on function dacapo.finish_sql_step(uuid, bytea, text, bytea, timestamptz),
            dacapo.finish_sql_step(uuid, text, text, text, timestamptz) to %I',
        p_role
    );
end $$;

revoke execute on function dacapo.finish_sql_step(uuid, bytea, text, bytea, timestamptz) from public;

-- Who may hand in outcomes may go on doing so.
do $$
declare
    v_role regrole;
begin
    for v_role in
        select distinct entry.grantee::regrole
        from pg_proc as function, aclexplode(function.proacl) as entry
        where function.oid = 'dacapo.finish_sql_step(uuid, text, text, text, timestamptz)'::regprocedure
            and entry.privilege_type = 'EXECUTE' and entry.grantee not in (0, function.proowner)
    loop
        execute format('grant execute on function dacapo.finish_sql_step(uuid, bytea, text, bytea, timestamptz) to %s', v_role);
    end loop;
end $$;

-- Deploys ----------------------------------------------------------------------------------------------------------------------

-- What deploys wait for one another by: a row for each package, and one without a package that whoever takes deployments away holds alone.
-- Advisory locks anybody can take who may send statements, and keep.
create table dacapo.deploy_lock (
    namespace text not null,
    package text not null,
    primary key (namespace, package)
);
insert into dacapo.deploy_lock (namespace, package) values ('', '');

-- Deploys and the like go one after the other within a package, so that numbers have no gaps and one of them is active.
-- Locks: the row without a package (share), the package's row.
create or replace function dacapo.lock_package(p_namespace text, p_package text) returns void
language plpgsql as $$
begin
    -- Nothing is taken away meanwhile.
    perform from dacapo.deploy_lock where namespace = '' and package = '' for share;
    insert into dacapo.deploy_lock (namespace, package) values (p_namespace, p_package) on conflict do nothing;
    perform from dacapo.deploy_lock where namespace = p_namespace and package = p_package for update;
end $$;

-- Nothing is deployed meanwhile.
create function dacapo.lock_deploys() returns void
language plpgsql as $$
begin
    perform from dacapo.deploy_lock where namespace = '' and package = '' for update;
end $$;

-- Taking away stays as it is otherwise.
do $$
declare
    v_function constant text := pg_get_functiondef('dacapo.collect_deployments(boolean, interval)'::regprocedure);
    v_before constant text := 'pg_advisory_xact_lock(hashtextextended(''dacapo.collect'', 0))';
begin
    if position(v_before in v_function) = 0 then
        raise exception 'dacapo.collect_deployments takes no such lock: %', v_before;
    end if;
    execute replace(v_function, v_before, 'dacapo.lock_deploys()');
end $$;
