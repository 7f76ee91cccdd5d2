-- How long runs are kept once they have ended. Workers delete them in small batches (store/sql/run/sweep.sql).

-- The most particular rule that fits a run counts: its namespace before `*`, then its workflow, then its status.
create table dacapo.retention (
    -- `*`: all.
    namespace text not null,
    workflow text not null,
    status text not null,
    -- Null: for ever.
    keep_seconds bigint,
    primary key (namespace, workflow, status),
    constraint retention_status_known check (status in ('*', 'completed', 'failed', 'cancelled')),
    constraint retention_keep_sensible check (keep_seconds between 60 and 3155760000)
);
insert into dacapo.retention (namespace, workflow, status, keep_seconds) values ('*', '*', '*', 30 * 86400);

-- When the next worker may begin to look for runs to delete: one at a time is enough.
create table dacapo.retention_turn (
    only_row boolean primary key default true,
    next_at timestamptz not null,
    constraint retention_turn_only_row check (only_row)
);
insert into dacapo.retention_turn (next_at) values ('-infinity');
