//! Texts of guests that are no longer than somebody would read.

use dacapo_model::Failure;

use crate::ending::{BlockReason, Ending};

/// The word for what went wrong, in bytes.
const CODE_MAX_BYTES: usize = 200;

/// What is said of how a run ended, in bytes. All of a workflow's own error is in the details.
const MESSAGE_MAX_BYTES: usize = 8 << 10;

/// The text, or its beginning and how long it is.
pub(crate) fn cut(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max_bytes);
    format!("{} … (cut: {} bytes in all)", &text[..end], text.len())
}

/// The ending as it is kept: a guest says how long a name is that a message quotes.
pub(crate) fn cut_ending(ending: Ending) -> Ending {
    match ending {
        Ending::Failed(failure) => Ending::Failed(cut_failure(failure)),
        Ending::Cancelled(failure) => Ending::Cancelled(cut_failure(failure)),
        Ending::Blocked(reason) if reason.message.len() > MESSAGE_MAX_BYTES => {
            let message = cut(&reason.message, MESSAGE_MAX_BYTES);
            Ending::Blocked(BlockReason { message, ..reason })
        }
        other => other,
    }
}

/// The failure as it is kept.
pub(crate) fn cut_failure(mut failure: Failure) -> Failure {
    if failure.code.len() > CODE_MAX_BYTES {
        failure.code = cut(&failure.code, CODE_MAX_BYTES);
    }
    if failure.message.len() > MESSAGE_MAX_BYTES {
        failure.message = cut(&failure.message, MESSAGE_MAX_BYTES);
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(cut("äää", 6), "äää");
        assert_eq!(cut("äää", 3), "ä … (cut: 6 bytes in all)");
    }
}
