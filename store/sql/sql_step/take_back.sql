-- Takes a token back: says for good whether its transaction was committed. `dacapo.take_back_sql_step` says what it may answer.
-- Called by: a worker that lost the connection during a commit, or has rolled back. Waits for a commit that is under way.
-- Locks: the step's row of `sql_step`. Indexes: sql_step_pkey, step_pkey.
select dacapo.take_back_sql_step($1, $2, $3) as "outcome!"
