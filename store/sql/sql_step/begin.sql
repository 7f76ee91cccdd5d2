-- Notes that a transaction has begun for a step, before its first statement: `dacapo.begin_sql_step` says what it may answer.
-- Called by: a worker, for each attempt at a step that uses SQL. May wait for an earlier transaction of the same step that is being
-- committed. Locks: the worker's fence for SQL steps (share), the run's leased row (key share), the step's row of `sql_step`.
-- Indexes: fence_pkey, task_leased_pkey, sql_step_pkey, step_pkey.
select outcome as "outcome!", earlier_backend, earlier_transaction::text as earlier_transaction
from dacapo.begin_sql_step($1, $2, $3, $4, $5, $6::text::name, $7, $8::text::xid8, $9, $10)
