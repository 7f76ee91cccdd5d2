-- Transactional SQL steps: a step's statements and its outcome are one transaction, on a connection of a role that was granted to the
-- deployment. The worker notes the step here, under its fence, before the first statement; the granted role can read nothing of that, and
-- hands the outcome in through `finish_sql_step`, which it can use with the token that only the worker knows, and once.

create table dacapo.sql_step (
    run_id uuid not null,
    key text not null,
    -- SHA-256 of the token.
    token_digest bytea not null,
    -- The fence that the outcome is written under.
    worker_id uuid not null,
    connection smallint not null,
    -- Whose session and which transaction it is to be: no other one can use the token.
    role name not null,
    backend integer not null,
    transaction xid8 not null,
    -- The row of the journal that it becomes.
    position integer not null,
    started_at timestamptz not null,
    primary key (run_id, key)
);

-- Notes that a transaction has begun for a step of a run that the worker has leased. `outcome` is
--   begun      the body may run
--   recorded   the step has an outcome already, committed by an earlier transaction that nobody had heard of any more
--   fenced     the fence is closed; nothing was noted
--   not-leased the run is not the worker's; nothing was noted
-- An earlier transaction for the same step cannot be committed any more once its token was replaced; if it is being committed this waits for
-- it. `earlier_backend` and `earlier_transaction` say which one it was.
-- Locks: the fence row (share), the run's leased row (key share), the step's row.
create function dacapo.begin_sql_step(
    p_worker uuid, p_connection smallint, p_run uuid, p_key text, p_token_digest bytea, p_role name, p_backend integer, p_transaction xid8,
    p_position integer, p_started_at timestamptz,
    out outcome text, out earlier_backend integer, out earlier_transaction xid8
) language plpgsql as $$
begin
    -- Lost with a crash of the server it would only make the outcome unwelcome; and what comes after it is written behind it.
    perform set_config('synchronous_commit', 'off', true);
    perform from dacapo.fence where worker_id = p_worker and connection = p_connection and open for share;
    if not found then
        outcome := 'fenced';
        return;
    end if;
    perform from dacapo.task_leased where run_id = p_run and worker_id = p_worker for key share;
    if not found then
        outcome := 'not-leased';
        return;
    end if;
    select backend, transaction into earlier_backend, earlier_transaction
    from dacapo.sql_step where run_id = p_run and key = p_key;
    insert into dacapo.sql_step (
        run_id, key, token_digest, worker_id, connection, role, backend, transaction, position, started_at
    )
    values (p_run, p_key, p_token_digest, p_worker, p_connection, p_role, p_backend, p_transaction, p_position, p_started_at)
    on conflict (run_id, key) do update
    set token_digest = excluded.token_digest, worker_id = excluded.worker_id, connection = excluded.connection, role = excluded.role,
        backend = excluded.backend, transaction = excluded.transaction, position = excluded.position,
        started_at = excluded.started_at;
    -- A statement of its own, which sees what was committed while the one before waited.
    if exists (select from dacapo.step where step.run_id = p_run and step.key = p_key and step.outcome is not null) then
        delete from dacapo.sql_step where run_id = p_run and key = p_key;
        outcome := 'recorded';
        return;
    end if;
    outcome := 'begun';
end $$;

-- Records the outcome of a step in the transaction that its statements ran in. Called by the granted role, by the worker and not by the
-- guest, right before the commit. Answers
--   done               it is recorded if this transaction commits
--   fenced             the worker has lost its lease, or the run; nothing was written
--   gone               the token is not good (any more); nothing was written
--   other-transaction  this is not the transaction that was begun; nothing was written
-- Locks, in this order: the fence row (share), the run's leased row (key share, so that the run cannot be given up in between), the step's.
create function dacapo.finish_sql_step(p_run uuid, p_key text, p_token text, p_payload text, p_finished_at timestamptz) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_step dacapo.sql_step;
begin
    -- Whatever the statements have set: the commit is durable, and a worker that hangs before it does not keep the fence locked.
    perform set_config('synchronous_commit', 'on', true), set_config('idle_in_transaction_session_timeout', '10000', true);
    select * into v_step from dacapo.sql_step
    where run_id = p_run and key = p_key and token_digest = sha256(convert_to(p_token, 'UTF8')) and role = session_user;
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
    delete from dacapo.sql_step where run_id = p_run and key = p_key and token_digest = v_step.token_digest;
    if not found then
        return 'gone';
    end if;
    -- Open if an attempt has failed before, and then it keeps its place.
    insert into dacapo.step (run_id, key, position, kind, outcome, payload, started_at, finished_at)
    values (p_run, p_key, v_step.position, 'step', 'ok', p_payload, v_step.started_at, p_finished_at)
    on conflict (run_id, key) do update
    set outcome = excluded.outcome, payload = excluded.payload, finished_at = excluded.finished_at, due = null
    where step.outcome is null and step.kind = 'step';
    if not found then
        raise exception 'step % of run % has an outcome already', p_key, p_run;
    end if;
    return 'done';
end $$;

-- Takes a token back, waiting for a transaction that is being committed. Answers
--   rolled-back  the transaction is not committed and cannot be any more
--   committed    the step has an outcome
--   gone         the token was replaced by that of a later attempt
create function dacapo.take_back_sql_step(p_run uuid, p_key text, p_token_digest bytea) returns text
language plpgsql as $$
begin
    delete from dacapo.sql_step where run_id = p_run and key = p_key and token_digest = p_token_digest;
    if found then
        return 'rolled-back';
    end if;
    if exists (select from dacapo.step where run_id = p_run and key = p_key and outcome is not null) then
        return 'committed';
    end if;
    return 'gone';
end $$;

-- Lets a role hand in outcomes. What else it may do is for the owners of the tables to say.
create function dacapo.allow_sql_steps(p_role name) returns void
language plpgsql as $$
begin
    execute format('grant usage on schema dacapo to %I', p_role);
    execute format('grant execute on function dacapo.finish_sql_step(uuid, text, text, text, timestamptz) to %I', p_role);
end $$;

revoke execute on function dacapo.finish_sql_step(uuid, text, text, text, timestamptz) from public;
