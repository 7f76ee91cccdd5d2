-- Finding runs by what people know of them. None of this may make an ordinary run dear: ending a run updates its row in place (HOT),
-- which an index over its status, failure or end would make impossible. So the runs that ended badly have rows of their own, and the
-- statuses of active runs are read from the task tables.

-- By workflow, and by deployment: the deployments of a workflow are few, and each is read in the order of creation. One more entry
-- for a start, none for an end.
create index run_by_code on dacapo.run (deployment_id, workflow, created_at, id);

-- Runs that somebody asked to cancel, whether they have ended or not.
create index run_by_cancel on dacapo.run (namespace, created_at, id) where cancel_requested_at is not null;

-- Suspended runs that a person has to do something about.
create index task_suspended_by_person on dacapo.task_suspended (run_id) where paused or reason = 'blocked';

-- Words of a text as they are searched for: punctuation only separates them.
create function dacapo.plain_words(p_text text) returns text
language sql immutable parallel safe as $$
    select translate(
        regexp_replace(p_text, '\\[nrtbf"]', ' ', 'g'),
        $x$"\/{}[]:,.;-_#'()<>=@&|!*?+%$^~`$x$,
        repeat(' ', 32)
    )
$$;

-- What can be searched for in a failure: the words of its code and its message. Beyond 4,000 characters nobody searches.
create function dacapo.failure_words(p_failure text) returns tsvector
language plpgsql immutable parallel safe as $$
declare
    v_found constant text[] := regexp_match(
        left(p_failure, 4000), '^\{"code":"((?:[^"\\]|\\.)*)","message":"((?:[^"\\]|\\.)*)'
    );
begin
    return to_tsvector(
        'simple', dacapo.plain_words(coalesce(v_found[1] || ' ' || v_found[2], left(p_failure, 4000), ''))
    );
end $$;

-- Every word of the text, each as the beginning of a word.
create function dacapo.failure_query(p_text text) returns tsquery
language sql immutable parallel safe as $$
    select to_tsquery('simple', coalesce(string_agg('''' || word || ''':*', ' & '), ''))
    from unnest(string_to_array(dacapo.plain_words(p_text), ' ')) as word
    where word <> ''
$$;

-- One row for each run that failed or was cancelled, kept by the trigger below.
create table dacapo.unsuccessful (
    run_id uuid primary key,
    namespace text not null,
    status text not null,
    workflow text not null,
    deployment_id bigint not null,
    labels jsonb not null,
    created_at timestamptz not null,
    -- Words of the failure.
    words tsvector not null,
    constraint unsuccessful_status_known check (status in ('failed', 'cancelled'))
);
create index unsuccessful_by_creation on dacapo.unsuccessful (namespace, created_at, run_id);
create index unsuccessful_by_status on dacapo.unsuccessful (namespace, status, created_at, run_id);
create index unsuccessful_by_workflow on dacapo.unsuccessful (namespace, workflow, status, created_at, run_id);
create index unsuccessful_by_words_and_labels on dacapo.unsuccessful using gin (words, labels jsonb_path_ops);

create function dacapo.note_unsuccessful() returns trigger
language plpgsql as $$
begin
    if new.status in ('failed', 'cancelled') then
        insert into dacapo.unsuccessful (run_id, namespace, status, workflow, deployment_id, labels, created_at, words)
        values (
            new.id, new.namespace, new.status, new.workflow, new.deployment_id, new.labels, new.created_at,
            dacapo.failure_words(new.failure)
        )
        on conflict (run_id) do update set status = excluded.status, words = excluded.words;
    else
        delete from dacapo.unsuccessful where run_id = new.id;
    end if;
    return null;
end $$;

-- Neither an ordinary start nor an ordinary end calls it.
create trigger run_starts_unsuccessful after insert on dacapo.run
for each row when (new.status in ('failed', 'cancelled'))
execute function dacapo.note_unsuccessful();
create trigger run_ends_unsuccessful after update of status on dacapo.run
for each row when (new.status in ('failed', 'cancelled') or old.status in ('failed', 'cancelled'))
execute function dacapo.note_unsuccessful();

insert into dacapo.unsuccessful (run_id, namespace, status, workflow, deployment_id, labels, created_at, words)
select id, namespace, status, workflow, deployment_id, labels, created_at, dacapo.failure_words(failure)
from dacapo.run
where status in ('failed', 'cancelled');
