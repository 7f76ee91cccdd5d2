-- Who may do what with a database of Dacapo. Run it as the schema's owner, after `dacapo migrate`, as often as you like:
--   psql "$OWNER_URL" -f deploy/roles.sql
-- then give your own users what they need: `create role orders login password '…'; grant dacapo_client to orders`.
--
--   dacapo_reader   looks: lists, runs, logs, `dacapo doctor`, the age of queues
--   dacapo_client   also starts runs, sends events, leaves notes, pauses, resumes and cancels: services
--   dacapo_worker   also all else that is no change of the schema: workers, and people and pipelines that deploy, retry, skip, schedule
--
-- `dacapo migrate` needs the owner. Who may write to these tables can make up runs and journals: what keeps a client from harm is that
-- it has no way to deployments, journals and leases, and not that it could not harm runs.

do $$
declare
    v_role text;
begin
    foreach v_role in array array['dacapo_reader', 'dacapo_client', 'dacapo_worker'] loop
        if not exists (select from pg_roles where rolname = v_role) then
            execute format('create role %I nologin', v_role);
        end if;
    end loop;
end
$$;

grant usage on schema dacapo to dacapo_reader, dacapo_client, dacapo_worker;

-- The same for what later migrations add, if the same owner carries them out.
grant select on all tables in schema dacapo to dacapo_reader, dacapo_client, dacapo_worker;
alter default privileges in schema dacapo grant select on tables to dacapo_reader, dacapo_client, dacapo_worker;
grant insert, update, delete on all tables in schema dacapo to dacapo_worker;
alter default privileges in schema dacapo grant insert, update, delete on tables to dacapo_worker;

-- What version the schema is at is for migrations to say.
revoke insert, update, delete on dacapo._sqlx_migrations, dacapo.compatibility from dacapo_worker;

grant insert, update, delete on
    dacapo.run, dacapo.task_ready, dacapo.task_suspended, dacapo.event, dacapo.intervention, dacapo.deadline, dacapo.singleton,
    dacapo.debounce, dacapo.unsuccessful, dacapo.child_end, dacapo.child_cancel
to dacapo_client;
-- To tell a run's worker, and to hold on to a queue that a run is put into.
grant update (signal, inbox_seq) on dacapo.task_leased to dacapo_client;
grant update (key_cursor) on dacapo.queue to dacapo_client;
