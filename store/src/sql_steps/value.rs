//! Values on their way to a statement and back.

use dacapo_model::{Failure, SQL_STATEMENT, SqlValue};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgArguments, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{Arguments, Column, Encode, Postgres, Row, Type, TypeInfo, ValueRef};
use uuid::Uuid;

/// Parameters that one statement may have.
const PARAMS_MAX: usize = 1_000;

/// Microseconds from 1970-01-01 to 2000-01-01.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

pub(super) fn arguments(params: Vec<SqlValue>) -> Result<PgArguments, Failure> {
    if params.len() > PARAMS_MAX {
        let message = format!(
            "a statement has {} parameters: expected at most {PARAMS_MAX}",
            params.len()
        );
        return Err(Failure::new(SQL_STATEMENT, message));
    }
    let mut arguments = PgArguments::default();
    for param in params {
        arguments
            .add(Param(param))
            .map_err(|error| Failure::new(SQL_STATEMENT, format!("a parameter: {error}")))?;
    }
    Ok(arguments)
}

/// A parameter, in binary.
struct Param(SqlValue);

/// The server finds out itself what type it is.
const UNSPECIFIED: PgTypeInfo = PgTypeInfo::with_oid(Oid(0));

impl Type<Postgres> for Param {
    fn type_info() -> PgTypeInfo {
        UNSPECIFIED
    }
}

impl Encode<'_, Postgres> for Param {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match &self.0 {
            SqlValue::Null => return Ok(IsNull::Yes),
            SqlValue::Boolean(value) => buffer.push(u8::from(*value)),
            SqlValue::Integer(value) => buffer.extend(value.to_be_bytes()),
            SqlValue::Float(value) => buffer.extend(value.to_be_bytes()),
            SqlValue::Text(value) => buffer.extend(value.as_bytes()),
            SqlValue::Bytes(value) => buffer.extend(value),
            SqlValue::Json(value) => {
                // The version of the form.
                buffer.push(1);
                buffer.extend(value.as_bytes());
            }
            SqlValue::Timestamp(micros) => {
                let sent = micros
                    .checked_sub(POSTGRES_EPOCH_MICROS)
                    .ok_or("a time that Postgres has no form for")?;
                buffer.extend(sent.to_be_bytes());
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(match &self.0 {
            SqlValue::Null => UNSPECIFIED,
            SqlValue::Boolean(_) => PgTypeInfo::with_oid(Oid(oid::BOOL)),
            SqlValue::Integer(_) => PgTypeInfo::with_oid(Oid(oid::INT8)),
            SqlValue::Float(_) => PgTypeInfo::with_oid(Oid(oid::FLOAT8)),
            SqlValue::Text(_) => PgTypeInfo::with_oid(Oid(oid::TEXT)),
            SqlValue::Bytes(_) => PgTypeInfo::with_oid(Oid(oid::BYTEA)),
            SqlValue::Json(_) => PgTypeInfo::with_oid(Oid(oid::JSONB)),
            SqlValue::Timestamp(_) => PgTypeInfo::with_oid(Oid(oid::TIMESTAMPTZ)),
        })
    }
}

/// Postgres' own types, which have the same numbers everywhere.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const VOID: u32 = 2278;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// What a value counts for: what it holds, and what it takes to hold it, be it null.
pub(super) fn size(row: &PgRow, index: usize) -> usize {
    size_of::<SqlValue>() + raw(row, index).map_or(0, <[u8]>::len)
}

/// The bytes of a value as they came; none: null.
fn raw(row: &PgRow, index: usize) -> Option<&[u8]> {
    let value = row.try_get_raw(index).ok()?;
    if value.is_null() {
        return None;
    }
    // It is not null, so it has bytes; the reference is to the row's own.
    value.as_bytes().ok()
}

/// A value of a row, whose size is added up.
pub(super) fn value(row: &PgRow, index: usize, bytes: &mut usize) -> Result<SqlValue, Failure> {
    let column = row.column(index);
    let ty = column.type_info();
    *bytes += size(row, index);
    let Some(raw) = raw(row, index) else {
        return Ok(SqlValue::Null);
    };
    let text = || String::from_utf8(raw.to_vec()).ok().map(SqlValue::Text);
    let value = match ty.oid().map_or(0, |oid| oid.0) {
        oid::BOOL => raw.first().map(|byte| SqlValue::Boolean(*byte != 0)),
        oid::INT2 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(i16::from_be_bytes(raw).into())),
        oid::INT4 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(i32::from_be_bytes(raw).into())),
        oid::INT8 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(i64::from_be_bytes(raw))),
        oid::OID => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Integer(u32::from_be_bytes(raw).into())),
        oid::FLOAT4 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Float(f32::from_be_bytes(raw).into())),
        oid::FLOAT8 => raw
            .try_into()
            .ok()
            .map(|raw| SqlValue::Float(f64::from_be_bytes(raw))),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => text(),
        oid::BYTEA => Some(SqlValue::Bytes(raw.to_vec())),
        oid::JSON => String::from_utf8(raw.to_vec()).ok().map(SqlValue::Json),
        oid::JSONB => match raw {
            [1, json @ ..] => String::from_utf8(json.to_vec()).ok().map(SqlValue::Json),
            _ => None,
        },
        oid::TIMESTAMPTZ => raw
            .try_into()
            .ok()
            .and_then(|raw| i64::from_be_bytes(raw).checked_add(POSTGRES_EPOCH_MICROS))
            .map(SqlValue::Timestamp),
        oid::UUID => Uuid::from_slice(raw)
            .ok()
            .map(|id| SqlValue::Text(id.to_string())),
        oid::VOID => Some(SqlValue::Null),
        _ if matches!(ty.kind(), PgTypeKind::Enum(_)) => text(),
        _ => None,
    };
    value.ok_or_else(|| {
        Failure::new(
            SQL_STATEMENT,
            format!(
                "column `{}` has a value of type {} that has no form here: cast it in the statement, as in `{}::text`",
                column.name(),
                ty.name().to_lowercase(),
                column.name()
            ),
        )
    })
}
