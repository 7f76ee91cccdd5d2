//! Transactional SQL steps: statements that happen exactly once, since they are one transaction with the step's outcome.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::raw;
use crate::step::Step;
use crate::{Failure, StepError};

pub use crate::raw::sql::Value;

impl Step<'_> {
    /// Runs a body whose statements are one transaction with the step's outcome: both are there, or neither, whatever dies in between. So a
    /// body that moves money moves it exactly once.
    ///
    /// The deployment must be granted a database (`[sql]` in its manifest). Only the database is so lucky: what else the body does happens
    /// at least once, as in any step. A body that fails leaves nothing behind.
    ///
    /// ```no_run
    /// use dacapo_guest::{Fatal, step};
    ///
    /// # fn debit(account: i64, cents: i64) -> Result<i64, dacapo_guest::Failure> {
    /// let left: i64 = step("debit").sql(|tx| {
    ///     let rows = tx.query(
    ///         "update account set cents = cents - $1 where id = $2 and cents >= $1 returning cents",
    ///         (cents, account),
    ///     )?;
    ///     let row = rows.first().ok_or(Fatal("the account has not so much"))?;
    ///     Ok(row.get("cents")?)
    /// })?;
    /// # Ok(left)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Step::run`]. A statement that fails has the code `sql`, `sql-statement`, `sql-limit` or `sql-lost`; after one that the
    /// database has refused the step fails whatever the body makes of it.
    pub fn sql<T, F>(self, body: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(&mut Transaction) -> Result<T, StepError>,
    {
        self.run(|| body(&mut Transaction { _private: () }))
    }
}

/// The transaction of a step's attempt, handed to the body of [`Step::sql`].
#[derive(Debug)]
pub struct Transaction {
    _private: (),
}

impl Transaction {
    /// Carries a statement out and answers how many rows it has touched. Parameters are `$1`, `$2`, …, given as a tuple, or as a [`Vec`] of
    /// [`Value`]s.
    ///
    /// # Errors
    ///
    /// What the database says, or a limit of the grant.
    pub fn execute(&mut self, statement: &str, params: impl Params) -> Result<u64, Failure> {
        Ok(raw::sql::execute(statement, &params.into_values())?)
    }

    /// Carries a statement out and answers its rows.
    ///
    /// # Errors
    ///
    /// What the database says, or a limit of the grant.
    pub fn query(&mut self, statement: &str, params: impl Params) -> Result<Vec<Row>, Failure> {
        let rows = raw::sql::query(statement, &params.into_values())?;
        let columns: std::rc::Rc<[String]> = rows.columns.into();
        let row = |values| Row {
            columns: columns.clone(),
            values,
        };
        Ok(rows.rows.into_iter().map(row).collect())
    }
}

/// A row that a statement has answered.
#[derive(Clone, Debug)]
pub struct Row {
    columns: std::rc::Rc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// The value of a column, by its name.
    ///
    /// # Errors
    ///
    /// There is no such column, or its value is of another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, RowError> {
        let place = self.columns.iter().position(|name| name == column);
        let value = place.and_then(|place| self.values.get(place));
        let value = value.ok_or_else(|| RowError {
            column: column.to_owned(),
            expected: "a column of that name",
            got: format!("a row of {}", self.columns.join(", ")),
        })?;
        T::from_value(value.clone()).map_err(|got| RowError {
            column: column.to_owned(),
            expected: T::EXPECTED,
            got: describe(&got).to_owned(),
        })
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> &[Value] {
        &self.values
    }
}

/// A column that a row does not have, or not as what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column:?}: expected {expected}, got {got}")]
pub struct RowError {
    column: String,
    expected: &'static str,
    got: String,
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a floating-point number",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Json(_) => "JSON",
        Value::Timestamp(_) => "a time",
    }
}

/// A type that a column's value may be read as.
pub trait FromValue: Sized {
    /// What is expected, for people.
    const EXPECTED: &'static str;

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// The value, when it is of another type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

impl FromValue for Value {
    const EXPECTED: &'static str = "a value";

    fn from_value(value: Value) -> Result<Self, Value> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A point in time, in microseconds since 1970-01-01 UTC: `timestamptz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(
    /// The microseconds.
    pub i64,
);

/// JSON text: `jsonb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(
    /// The text.
    pub String,
);

impl JsonText {
    /// A value as JSON.
    ///
    /// # Errors
    ///
    /// The value has no form in JSON.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::to_string(value).map(Self)
    }

    /// Reads the JSON.
    ///
    /// # Errors
    ///
    /// It is not a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(&self.0)
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! values {
    ($($type:ty, $case:ident, $expected:literal, $into:expr, $from:expr;)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Value {
                let into: fn($type) -> _ = $into;
                Value::$case(into(value))
            }
        }

        impl FromValue for $type {
            const EXPECTED: &'static str = $expected;

            fn from_value(value: Value) -> Result<Self, Value> {
                match value {
                    Value::$case(inner) => {
                        let from: fn(_) -> Option<$type> = $from;
                        from(inner.clone()).ok_or(Value::$case(inner))
                    }
                    other => Err(other),
                }
            }
        }
    )*};
}

values! {
    bool, Boolean, "a boolean", |it| it, Some;
    i64, Integer, "an integer", |it| it, Some;
    i32, Integer, "an integer of 32 bits", i64::from, |it: i64| it.try_into().ok();
    u32, Integer, "an integer of 32 bits that is not negative", i64::from, |it: i64| it.try_into().ok();
    f64, Float, "a floating-point number", |it| it, Some;
    String, Text, "text", |it| it, Some;
    Vec<u8>, Bytes, "bytes", |it| it, Some;
    JsonText, Json, "JSON", |it: JsonText| it.0, |it| Some(JsonText(it));
    Micros, Timestamp, "a time", |it: Micros| it.0, |it| Some(Micros(it));
}

impl From<&str> for Value {
    fn from(value: &str) -> Value {
        Value::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Value {
        Value::Text(value.clone())
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Value {
        Value::Bytes(value.to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// What a statement may be given: `()`, a tuple of up to eight things that are [`Value`]s, or a [`Vec`] of them.
pub trait Params {
    /// `$1` and those that follow.
    fn into_values(self) -> Vec<Value>;
}

impl Params for Vec<Value> {
    fn into_values(self) -> Vec<Value> {
        self
    }
}

impl Params for () {
    fn into_values(self) -> Vec<Value> {
        Vec::new()
    }
}

macro_rules! params {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Into<Value>),+> Params for ($($name,)+) {
            fn into_values(self) -> Vec<Value> {
                #[allow(non_snake_case, reason = "the types' names serve for the values, too")]
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    )*};
}

params! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            columns: ["id".to_owned(), "note".to_owned()].into(),
            values: vec![Value::Integer(7), Value::Null],
        }
    }

    #[test]
    fn columns_are_read_as_what_they_are() {
        assert_eq!(row().get::<i32>("id"), Ok(7));
        assert_eq!(row().get::<Option<String>>("note"), Ok(None));
        let said = |error: RowError| error.to_string();
        assert_eq!(
            row().get::<String>("id").map_err(said),
            Err(r#"column "id": expected text, got an integer"#.to_owned())
        );
        assert_eq!(
            row().get::<String>("note").map_err(said),
            Err(r#"column "note": expected text, got null"#.to_owned())
        );
        assert_eq!(
            row().get::<i64>("name").map_err(said),
            Err(
                r#"column "name": expected a column of that name, got a row of id, note"#
                    .to_owned()
            )
        );
    }

    #[test]
    fn parameters_are_tuples() {
        let values = (7_i64, "seven", None::<bool>, Micros(1)).into_values();
        assert!(matches!(
            values[..],
            [
                Value::Integer(7),
                Value::Text(_),
                Value::Null,
                Value::Timestamp(1)
            ]
        ));
    }
}
