-- Notes that people leave on a run, beside what they do to it.
alter table dacapo.intervention
    drop constraint intervention_action_known,
    add constraint intervention_action_known check (action in ('rerun', 'rerun-of', 'retry', 'skip', 'import', 'note'));
