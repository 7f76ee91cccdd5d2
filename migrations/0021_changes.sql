-- Code that asks whether it is to take the new way through a change is told by a row of its own kind.

alter table dacapo.step
    drop constraint step_kind_known,
    add constraint step_kind_known check (kind in ('step', 'wait', 'sleep', 'pause', 'fork', 'branch', 'child', 'change'));
