-- Notes who did what, many rows at once: the parameters are arrays of the columns. Called by: the server. Locks: nothing.
insert into dacapo.audit (namespace, who, via, role, action, target, outcome, status, address)
select *
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[], $9::text[])
