//! Roles whose connections steps may use, and what makes a connection good for them.

use std::fmt;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use thiserror::Error;

use super::transaction::{COMMIT_TIMEOUT, SqlConnection, SqlTransactionId, too_slow};
use crate::{Store, StoreError};

/// A role on Dacapo's own database whose connections steps may use.
#[derive(Clone)]
pub struct SqlRole {
    options: PgConnectOptions,
}

impl fmt::Debug for SqlRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the password.
        f.debug_struct("SqlRole")
            .field("role", &self.options.get_username())
            .finish_non_exhaustive()
    }
}

/// A connection that is no good for steps.
#[derive(Debug, Error)]
pub enum SqlRoleError {
    /// The database does not answer, or not now.
    #[error("cannot connect")]
    Store(#[from] StoreError),
    /// It answers, and cannot be used until somebody changes something; the text says what.
    #[error("{0}")]
    Unsuitable(String),
}

impl SqlRole {
    /// The role and the database that a URL names, `postgres://ROLE:PASSWORD@HOST/DATABASE`. Connects when first used.
    ///
    /// # Errors
    /// The URL cannot be understood.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        let options: PgConnectOptions = url.parse().map_err(StoreError::Refused)?;
        // Statements of guests may hold anything; only their own failures are told.
        let options = options
            .application_name("dacapo-sql-step")
            // One that is kept would be used for parameters of other types, too, and be missing once the session was reset.
            .statement_cache_capacity(0)
            .disable_statement_logging();
        Ok(Self { options })
    }

    /// Ends the session of a transaction that nobody is to use any more, on a connection of its own. False: it is still there.
    pub async fn end(&self, of: &SqlTransactionId) -> Result<bool, StoreError> {
        let end = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let is_gone: bool = sqlx::query_scalar(
                "select coalesce(pg_catalog.bool_and(pg_catalog.pg_terminate_backend(pid, 5000)), true)
                from pg_catalog.pg_stat_activity
                where pid = $1 and backend_xid = ($2::pg_catalog.xid8)::pg_catalog.xid",
            )
            .bind(of.backend)
            .bind(&of.transaction)
            .persistent(false)
            .fetch_one(&mut connection)
            .await?;
            connection.close().await?;
            Ok::<_, sqlx::Error>(is_gone)
        };
        let ended = tokio::time::timeout(COMMIT_TIMEOUT, end).await;
        Ok(ended.map_err(|_| too_slow())??)
    }

    /// A new connection, if it is good for steps: to the database of `store`, in a role that can do nothing to Dacapo but hand in outcomes.
    pub async fn connect(&self, store: &Store) -> Result<SqlConnection, SqlRoleError> {
        let connected = PgConnection::connect_with(&self.options).await;
        let mut connection = connected.map_err(|error| refused_login(error.into()))?;
        let here = here(&mut connection).await?;
        let mut own = store.pool().acquire().await.map_err(StoreError::from)?;
        let home: Here = self::here(&mut own).await?;
        drop(own);
        if here.database != home.database {
            return Err(SqlRoleError::Unsuitable(format!(
                "it is the database {}, and Dacapo's own is {}: a step's statements and its outcome can be one transaction only in \
                 one database; name the database that Dacapo uses, or use ordinary steps",
                here.database_name, home.database_name
            )));
        }
        let role = &here.role;
        if *role == home.role {
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} is Dacapo's own role, which may do anything to its tables; make another one for steps"
            )));
        }
        if here.has_changed_role {
            return Err(SqlRoleError::Unsuitable(format!(
                "sessions of {role} begin in another role; make a role for steps that may do no more than they need"
            )));
        }
        if let Some(mighty) = &here.mighty {
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} is a superuser, or may do as much by another way: {}; make a role for steps that may do no more than they need",
                by_way_of(role, mighty)
            )));
        }
        if let Some(touching) = &here.touching {
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} may read or change Dacapo's own tables, or act as their owner: {}; make a role for steps that has no part in them",
                by_way_of(role, touching)
            )));
        }
        if !here.may_finish {
            let quoted = role.replace('\'', "''");
            return Err(SqlRoleError::Unsuitable(format!(
                "{role} may not hand in outcomes of steps: run `select dacapo.allow_sql_steps('{quoted}')` as the owner of the schema dacapo"
            )));
        }
        if here.is_read_only {
            return Err(SqlRoleError::Unsuitable(format!(
                "transactions of {role} are read-only, so no outcome can be recorded in one"
            )));
        }
        Ok(SqlConnection {
            connection,
            role: here.role,
        })
    }
}

/// Which role it is that may do too much.
fn by_way_of(role: &str, other: &str) -> String {
    if role == other {
        "that was granted to itself".to_owned()
    } else {
        format!("it is a member of {other}, and so may become that")
    }
}

/// A refused login is not mended by trying again, unless the server is only starting or full.
fn refused_login(error: StoreError) -> SqlRoleError {
    let is_refusal = error
        .code()
        .is_some_and(|code| code.starts_with("28") || code.starts_with("3D"));
    if is_refusal || !error.is_transient() {
        SqlRoleError::Unsuitable(format!("the server refuses the login: {}", error.reason()))
    } else {
        SqlRoleError::Store(error)
    }
}

/// Where a connection has come out, and as whom.
#[derive(sqlx::FromRow)]
struct Here {
    /// Tells servers and databases apart, also copies of one.
    database: String,
    database_name: String,
    role: String,
    has_changed_role: bool,
    /// A role that it is or may become, and that may do anything or nearly so.
    mighty: Option<String>,
    /// A role that it is or may become, and that may do something to Dacapo's tables.
    touching: Option<String>,
    may_finish: bool,
    is_read_only: bool,
}

async fn here(connection: &mut PgConnection) -> Result<Here, StoreError> {
    let here = sqlx::query_as::<_, Here>(
        "select
            format('%s %s', pg_catalog.pg_postmaster_start_time(), database.oid) as database,
            database.datname::text as database_name,
            session_user::text as role,
            session_user <> current_user as has_changed_role,
            (
                select min(role.rolname::text) from pg_catalog.pg_roles as role
                where pg_catalog.pg_has_role(session_user, role.oid, 'member')
                    and (
                        role.rolsuper or role.rolcreaterole or role.rolreplication
                        or role.rolname in (
                            'pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files', 'pg_signal_backend', 'pg_maintain'
                        )
                    )
            ) as mighty,
            (
                select min(role.rolname::text) from pg_catalog.pg_roles as role
                where pg_catalog.pg_has_role(session_user, role.oid, 'member')
                    and (
                        role.oid = schema.nspowner
                        or exists (
                            select from pg_catalog.pg_class as relation
                            where relation.relnamespace = schema.oid and relation.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
                                and (
                                    relation.relowner = role.oid
                                    or pg_catalog.has_table_privilege(
                                        role.oid, relation.oid, 'select, insert, update, delete, truncate, references, trigger'
                                    )
                                    or pg_catalog.has_any_column_privilege(role.oid, relation.oid, 'select, insert, update, references')
                                )
                        )
                    )
            ) as touching,
            coalesce(
                pg_catalog.has_schema_privilege(session_user, schema.oid, 'usage')
                and pg_catalog.has_function_privilege(session_user, function.oid, 'execute'),
                false
            ) as may_finish,
            pg_catalog.current_setting('transaction_read_only') = 'on' as is_read_only
        from pg_catalog.pg_database as database
        left join pg_catalog.pg_namespace as schema on schema.nspname = 'dacapo'
        left join pg_catalog.pg_proc as function on function.pronamespace = schema.oid and function.proname = 'finish_sql_step'
            -- That of uuid, bytea, text, bytea, timestamptz.
            and function.proargtypes = '2950 17 25 17 1184'::pg_catalog.oidvector
        where database.datname = pg_catalog.current_database()",
    )
    .persistent(false)
    .fetch_one(connection)
    .await?;
    Ok(here)
}
