-- What is said about runs beside their journals: by deployments, by their own code, by the people who steer them.

-- What a deployment says about its workflows beside their code: its manifest, as JSON (model/src/manifest.rs).
alter table dacapo.deployment add column manifest text not null default '{}';

-- How far a run is, as its code said last. A table of its own: it may change often, and rows of runs and tasks are read for other things.
create table dacapo.progress (
    run_id uuid primary key,
    done bigint not null,
    total bigint not null,
    note text,
    at timestamptz not null default clock_timestamp(),
    constraint progress_done_within_total check (done between 0 and total)
) with (fillfactor = 50);

-- Who asked a run to pause, to go on, or to end is kept like what else people do to it.
alter table dacapo.intervention
    drop constraint intervention_action_known,
    add constraint intervention_action_known check (
        action in ('rerun', 'rerun-of', 'retry', 'skip', 'import', 'note', 'pause', 'resume', 'cancel', 'force-cancel')
    );

-- An older worker would not keep to a manifest.
update dacapo.compatibility set breaking = greatest(breaking, 15);
