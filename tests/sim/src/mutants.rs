//! Dacapo with something taken out, to see whether the simulation notices. Nothing is compiled anew for that: statements pass through this
//! process on their way to the server, and are changed there; functions are replaced in the database.

/// A change that must not go unnoticed.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What it is called.
    pub name: &'static str,
    /// What Dacapo does not do any more.
    pub about: &'static str,
    /// A seed that found it, to begin with: others do, too, but one has to look for them. None: hundreds have not.
    pub first: Option<u64>,
    pub(crate) of: Of,
    /// What is taken out of its text.
    pub(crate) text: &'static str,
    /// What is put there.
    pub(crate) by: &'static str,
}

/// What is changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Of {
    /// All statements of workers that have the text.
    Statements,
    /// The function of this name and of these types.
    Function(&'static str),
}

/// All of them.
pub const MUTANTS: [Mutant; 19] = [
    Mutant {
        name: "fences-close-without-a-lock",
        about: "a fence that is renewed while its worker drains is left open",
        first: None,
        of: Of::Statements,
        text: "select id from dacapo.worker where id = $1 for update",
        by: "select id from dacapo.worker where id = $1",
    },
    Mutant {
        name: "fence-not-looked-at",
        about: "a flush is written whether its worker still has its fence or not",
        first: Some(1),
        of: Of::Statements,
        text: "from dacapo.fence
    where worker_id = $1 and connection = $2 and open
    for share",
        by: "from (values ($1::uuid)) as given (worker_id)
    where $2::smallint is not null",
    },
    Mutant {
        name: "closed-fence-is-good-enough",
        about: "a fence that is closed lets flushes pass until it is gone",
        first: None,
        of: Of::Statements,
        text: "connection = $2 and open",
        by: "connection = $2",
    },
    Mutant {
        name: "old-fence-is-left-open",
        about: "whoever finds out about a lost flush does not keep it from being written later",
        first: None,
        of: Of::Statements,
        text: "delete from dacapo.fence where worker_id = $1 and connection = $2",
        by: "delete from dacapo.fence where worker_id = $1 and connection = $2 and false",
    },
    Mutant {
        name: "lost-flush-counts-as-unwritten",
        about: "a flush whose answer was lost is written again, whatever became of it",
        first: None,
        of: Of::Statements,
        text: "as \"written!\"",
        by: "and false as \"written!\"",
    },
    Mutant {
        name: "lost-flush-counts-as-written",
        about: "a flush whose answer was lost is not written again, whatever became of it",
        first: Some(1),
        of: Of::Statements,
        text: "as \"written!\"",
        by: "or true as \"written!\"",
    },
    Mutant {
        name: "inbox-not-compared",
        about: "a run is given up although something was sent to it meanwhile",
        first: Some(1),
        of: Of::Statements,
        text: "task_leased.inbox_seq = s.inbox_seq and task_leased.signal is not distinct from s.signal",
        by: "true",
    },
    Mutant {
        name: "event-not-taken",
        about: "an event that was taken is there for the next wait, too",
        first: Some(1),
        of: Of::Statements,
        text: "set taken_by = t.key",
        by: "set taken_by = null",
    },
    Mutant {
        name: "lost-claim-is-kept",
        about: "runs that were claimed by a statement whose answer was lost are not handed back",
        first: Some(260),
        of: Of::Statements,
        text: "array(select run_id from mine) as \"held!\"",
        by: "array(select run_id from mine where false) as \"held!\"",
    },
    Mutant {
        name: "dead-workers-keep-their-runs",
        about: "the runs of a worker that is gone stay with it",
        first: Some(1),
        of: Of::Statements,
        text: "where worker_id in (select id from dead)
        or not exists (select from dacapo.worker where worker.id = task_leased.worker_id)",
        by: "where false",
    },
    Mutant {
        name: "open-rows-not-read",
        about: "a run that is claimed does not know what it waits for",
        first: Some(1),
        of: Of::Statements,
        text: "where step.run_id = claimed.run_id",
        by: "where step.run_id = claimed.run_id and step.outcome is not null",
    },
    Mutant {
        name: "timers-wake-the-paused",
        about: "a paused run goes on when a time comes that it waits for",
        first: Some(798),
        of: Of::Statements,
        text: "and wake_at <= (select now from clock) and not paused",
        by: "and wake_at <= (select now from clock)",
    },
    Mutant {
        name: "deadlines-of-others",
        about: "when one run's deadline has passed all are ended that have one",
        first: Some(1),
        of: Of::Statements,
        text: "where at >= coalesce($4::timestamptz, '-infinity') and at <= (select now from clock)",
        by: "where true",
    },
    Mutant {
        name: "queue-without-limit",
        about: "a queue lets in whatever comes",
        first: Some(1),
        of: Of::Function("dacapo.admit(integer, integer)"),
        text: "v_queue.concurrency is not null",
        by: "false",
    },
    Mutant {
        name: "deliveries-not-compared",
        about: "an event that is sent again is there twice",
        first: Some(1),
        of: Of::Function("dacapo.send_event(uuid, text, text, text)"),
        text: "values (p_run, v_seq, p_name, p_payload, p_delivery_id)",
        by: "values (p_run, v_seq, p_name, p_payload, p_delivery_id || v_seq)",
    },
    Mutant {
        name: "lost-commit-counts-as-rolled-back",
        about: "a SQL step whose commit was lost has failed, whatever became of it",
        first: None,
        of: Of::Statements,
        text: "select dacapo.take_back_sql_step($1, $2, $3) as \"outcome!\"",
        by: "select case when dacapo.take_back_sql_step($1, $2, $3) <> '' then 'rolled-back' end as \"outcome!\"",
    },
    Mutant {
        name: "singletons-do-not-wait",
        about: "a run begins although another one has its singleton's key",
        first: Some(1),
        of: Of::Function(
            "dacapo.start_special(uuid, text, text, bigint, jsonb, bigint, text, smallint, text, timestamptz, text, text, text, bigint, bigint)",
        ),
        text: "v_waits_for_other := true",
        by: "v_waits_for_other := false",
    },
    Mutant {
        name: "overlap-not-seen",
        about: "a tick is started as if the run before it had ended",
        first: Some(1),
        of: Of::Statements,
        text: "where run.id = asked.last_run and run.status = 'active') as \"previous_active!\"",
        by: "where run.id = asked.last_run and false) as \"previous_active!\"",
    },
    Mutant {
        name: "runs-not-kept",
        about: "a run is deleted as soon as it has ended",
        first: Some(1),
        of: Of::Statements,
        text: "where examined.finished_at < statement_timestamp() - rule.keep_seconds * interval '1 second'",
        by: "where examined.finished_at < statement_timestamp()",
    },
];

impl Mutant {
    /// The one of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MUTANTS.iter().find(|mutant| mutant.name == name)
    }
}
