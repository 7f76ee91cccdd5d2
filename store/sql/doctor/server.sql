-- What is wrong with the server, as far as this user may see it. $1: from how many seconds on a transaction is long.
-- Called by: `dacapo doctor`. Locks: nothing. It reads statistics only.
with ours as materialized (
    select c.oid, c.relname::text as name, c.reltuples, c.reloptions, s.n_live_tup, s.n_dead_tup,
        -- Their statements are told to use indexes, whatever is known of their sizes.
        c.relname in ('task_ready', 'task_leased', 'task_suspended', 'worker', 'fence', 'deadline', 'queue', 'queue_rate') as is_hot
    from pg_class as c
    join pg_namespace as n on n.oid = c.relnamespace
    left join pg_stat_all_tables as s on s.relid = c.oid
    where n.nspname = 'dacapo' and c.relkind = 'r'
),
connections as (
    select
        (select count(*) from pg_stat_activity where backend_type = 'client backend') as used,
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer as allowed
),
findings (code, what, why, advice, count, which) as (
    select 'setting', name || ' is ' || setting, 'recorded steps can be lost when the server crashes', 'set ' || name || ' to on', 1, array[name]
    from pg_settings
    where name in ('fsync', 'synchronous_commit', 'full_page_writes') and setting = 'off'
    union all
    select 'connections', used || ' of ' || allowed || ' connections are used', 'the next worker or client may be refused',
        'raise max_connections, put a pooler in front, or look for who holds them in pg_stat_activity', used, '{}'
    from connections
    where used >= allowed * 0.9
    union all
    select 'wraparound', 'the oldest transaction id of this database is ' || age(datfrozenxid) || ' transactions old',
        'at two thousand million Postgres takes no more writes',
        'find out what keeps vacuum from its work (long transactions, replication slots, prepared transactions), then `vacuum freeze`', 1, '{}'
    from pg_database
    where datname = current_database() and age(datfrozenxid) > 1000000000
    union all
    select 'autovacuum-off', name || ' is off', 'tables and indexes grow for ever, and claims slow down', 'set ' || name || ' to on', 1, array[name]
    from pg_settings
    where name in ('autovacuum', 'track_counts') and setting = 'off'
    union all
    select 'autovacuum-off', 'autovacuum is off for ' || count(*) || ' tables of dacapo', 'they grow for ever, and claims slow down',
        '`alter table dacapo.NAME reset (autovacuum_enabled)`', count(*), (array_agg(name order by name))[1:3]
    from ours
    where exists (
        select from pg_options_to_table(ours.reloptions)
        where option_name = 'autovacuum_enabled' and option_value in ('off', 'false', 'no', '0')
    )
    having count(*) > 0
    union all
    select 'not-analysed', count(*) || ' large tables of dacapo were never analysed', 'searches may be planned badly',
        '`analyze dacapo.NAME`; if that stays so, autovacuum does not get to them', count(*), (array_agg(name order by name))[1:3]
    from ours
    where not is_hot and reltuples < 0 and pg_relation_size(oid) > 8 * 1024 * 1024
    having count(*) > 0
    union all
    select 'bloat', count(*) || ' hot tables of dacapo are full of dead rows; the first has ' || max(n_dead_tup) || ' of them',
        'claims and heartbeats slow down',
        'look for long transactions; then `vacuum dacapo.NAME`', count(*), (array_agg(name order by n_dead_tup desc))[1:3]
    from ours
    where is_hot
        and n_dead_tup > 100000 and n_dead_tup > 10 * n_live_tup
    having count(*) > 0
    union all
    select 'long-transaction',
        count(*) || ' transactions are open for a long time, the first since ' || min(xact_start),
        'vacuum cannot take away what they may still see, so the hot tables grow and claims slow down',
        'end them: `select pg_terminate_backend(PID)`', count(*), (array_agg(pid || ' (' || application_name || ')' order by xact_start))[1:3]
    from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
        and xact_start < clock_timestamp() - $1::bigint * interval '1 second'
    having count(*) > 0
    union all
    select 'prepared-transaction', count(*) || ' transactions are prepared for a long time, the first since ' || min(prepared),
        'nobody may know of them any more; they keep their locks, and vacuum from its work',
        '`commit prepared` or `rollback prepared` them', count(*), (array_agg(gid order by prepared))[1:3]
    from pg_prepared_xacts
    where database = current_database() and prepared < clock_timestamp() - $1::bigint * interval '1 second'
    having count(*) > 0
)
select code as "code!", what as "what!", why as "why!", advice as "advice!", count as "count!", which as "which!" from findings
