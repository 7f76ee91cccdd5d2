-- Code that asks whether it is to take the new way through a change is told by a row of its own kind.

alter table dacapo.step
    drop constraint step_kind_known,
    add constraint step_kind_known check (kind in ('step', 'wait', 'sleep', 'pause', 'fork', 'branch', 'child', 'change'));

-- Deployments that runs in flight are moved to.

alter table dacapo.intervention
    drop constraint intervention_action_known,
    add constraint intervention_action_known check (
        action in ('rerun', 'rerun-of', 'retry', 'skip', 'import', 'note', 'pause', 'resume', 'cancel', 'force-cancel', 'move')
    );

-- Moves a run that nobody plays to another deployment, if its journal still has as many rows, and as many with an outcome, as it had when
-- it was found to go on there. A run that is blocked goes on at once.
-- moved | changed (its journal has) | busy (somebody plays it) | ended
create function dacapo.move_run(p_run uuid, p_to bigint, p_rows integer, p_done integer, p_who text) returns text
language plpgsql as $$
declare
    v_reason text;
    v_rows integer;
    v_done integer;
    v_from bigint;
begin
    select reason into v_reason from dacapo.task_suspended where run_id = p_run for update skip locked;
    if not found then
        perform from dacapo.task_ready where run_id = p_run for update skip locked;
        if not found then
            if exists (select from dacapo.run where id = p_run and status = 'active') then
                return 'busy';
            end if;
            return 'ended';
        end if;
    end if;
    select count(*), count(outcome) into v_rows, v_done from dacapo.step where run_id = p_run;
    if (v_rows, v_done) <> (p_rows, p_done) then
        return 'changed';
    end if;
    select deployment_id into v_from from dacapo.run where id = p_run for update;
    update dacapo.run set deployment_id = p_to where id = p_run and deployment_id <> p_to;
    insert into dacapo.intervention (run_id, action, who, details)
    select p_run, 'move', p_who, json_build_object('from', here.number, 'to', there.number)::text
    from dacapo.deployment as here, dacapo.deployment as there
    where here.id = v_from and there.id = p_to;
    if v_reason = 'blocked' then
        perform dacapo.wake(p_run, 0, null);
    end if;
    return 'moved';
end $$;
