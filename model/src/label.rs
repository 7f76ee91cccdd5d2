//! Labels: names and values by which people find runs.

/// The longest name and the longest value of a label, in bytes: what is indexed must not be long.
pub const LABEL_BYTES_MAX: usize = 200;

/// The text cannot be a label's name or value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LabelError(String);

/// Checks a label's name and value: no NUL, which Postgres cannot keep, not too long, and a name that is not empty.
///
/// # Errors
/// Says what is wrong with which of them.
pub fn check_label(name: &str, value: &str) -> Result<(), LabelError> {
    for text in [name, value] {
        if text.len() > LABEL_BYTES_MAX {
            let start: String = text.chars().take(40).collect();
            return Err(LabelError(format!(
                "\"{start}…\" is {} bytes long, the limit is {LABEL_BYTES_MAX} bytes",
                text.len()
            )));
        }
        if text.contains('\0') {
            return Err(LabelError(format!(
                "{text:?} holds a NUL character, which Postgres cannot keep"
            )));
        }
    }
    if name.is_empty() {
        return Err(LabelError("its name is empty".to_owned()));
    }
    Ok(())
}
