//! How far a run is, as its code says.

/// So much of so much, and a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidProgress {
    /// What is done: no more than `total`.
    pub done: u64,
    /// All that there is to do.
    pub total: u64,
    /// Something for people, without NUL characters.
    pub note: Option<String>,
}

impl SaidProgress {
    /// The longest note, in bytes.
    pub const NOTE_BYTES_MAX: usize = 1_000;

    /// What a guest says, as it can be kept: no more than all is done, and the note is cut at a character.
    pub fn from_guest(done: u64, total: u64, note: Option<String>) -> Self {
        // What a database counts with has a sign.
        let total = total.min(i64::MAX.unsigned_abs());
        Self {
            done: done.min(total),
            total,
            note: note.map(|mut note| {
                note.truncate(note.floor_char_boundary(Self::NOTE_BYTES_MAX));
                match note.contains('\0') {
                    true => note.replace('\0', "\u{FFFD}"),
                    false => note,
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_cut() {
        let said = |done, total| {
            let said = SaidProgress::from_guest(done, total, None);
            (said.done, said.total)
        };
        assert_eq!(said(3, 2), (2, 2));
        assert_eq!(said(1, 0), (0, 0));
        assert_eq!(said(u64::MAX, u64::MAX), (i64::MAX as u64, i64::MAX as u64));
        let note = |note: &str| {
            SaidProgress::from_guest(0, 1, Some(note.to_owned()))
                .note
                .unwrap()
        };
        assert_eq!(note("a\0b"), "a\u{FFFD}b");
        assert_eq!(note(&"ä".repeat(501)).len(), 1_000);
        assert_eq!(note(&format!("a{}", "ä".repeat(500))).len(), 999);
    }
}
