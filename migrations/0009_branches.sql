-- Branches of a run. A fork and each branch's outcome are rows of the journal like steps; an open fork says how many branches it has, and
-- an open wait the names of its events when they are others than its own, so that a worker knows what waits without playing it.

alter table dacapo.step
    drop constraint step_kind_known,
    drop constraint step_payload_iff_value,
    add constraint step_kind_known check (kind in ('step', 'wait', 'sleep', 'pause', 'fork', 'branch', 'child')),
    add constraint step_payload_iff_value check (
        case
            when outcome is null then payload is null or kind in ('wait', 'fork')
            else (outcome in ('ok', 'failed')) = (payload is not null)
        end
    ),
    add constraint step_open_fork_has_plan check (kind <> 'fork' or outcome is not null or payload is not null),
    add constraint step_branch_never_open check (kind <> 'branch' or outcome is not null);

-- An older worker would not know what to do with an open fork.
update dacapo.compatibility set breaking = 9;
