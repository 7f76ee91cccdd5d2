-- Runs that seem to kill their workers: only what was really played alone counts for the last takeover.

alter table dacapo.task_leased
    -- It is played, and nothing else by its worker: if that dies it is the run's doing, or very bad luck.
    add column alone boolean not null default false;
