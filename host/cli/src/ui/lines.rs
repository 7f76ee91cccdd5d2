//! Lines of a screen: text with colours, cut to the columns that are there.

use unicode_width::UnicodeWidthChar;

use super::style::Tone;

/// Between two columns of a list.
const GAP: usize = 2;

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    tone: Option<Tone>,
    is_bold: bool,
}

/// A line of a screen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pieces: Vec<(String, Look)>,
    is_chosen: bool,
}

impl Line {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// With more text.
    pub(crate) fn text(self, text: &str) -> Self {
        self.piece(text, Look::default())
    }

    /// With more text, in a colour.
    pub(crate) fn toned(self, text: &str, tone: Tone) -> Self {
        let tone = Some(tone);
        let is_bold = false;
        self.piece(text, Look { tone, is_bold })
    }

    /// With more text that is meant to be seen first.
    pub(crate) fn bold(self, text: &str) -> Self {
        let (tone, is_bold) = (None, true);
        self.piece(text, Look { tone, is_bold })
    }

    /// With a word for a status, in its colour.
    pub(crate) fn status(self, word: &str) -> Self {
        let tone = Tone::of(word);
        let is_bold = false;
        self.piece(word, Look { tone, is_bold })
    }

    /// The line under the cursor.
    pub(crate) fn chosen(mut self, is_chosen: bool) -> Self {
        self.is_chosen = is_chosen;
        self
    }

    /// With space up to this column, and behind it; what is there already is cut to make room for that.
    pub(crate) fn column(mut self, end: usize) -> Self {
        let room = end.saturating_sub(GAP);
        let mut used = 0;
        for (text, _) in &mut self.pieces {
            *text = cut_to(text, room - used);
            used += width(text);
        }
        self.text(&" ".repeat(end - used))
    }

    fn piece(mut self, text: &str, look: Look) -> Self {
        // Nothing that somebody's code has said moves the cursor.
        let text = text.chars();
        let text = text.map(|one| if one.is_control() { ' ' } else { one });
        self.pieces.push((text.collect(), look));
        self
    }

    /// As it is written on a terminal with so many columns.
    pub(super) fn written(&self, columns: usize, colour: bool) -> String {
        let mut written = String::new();
        let mut room = columns;
        if self.is_chosen {
            written.push_str("\x1b[7m");
        }
        for (text, look) in &self.pieces {
            let text = cut_to(text, room);
            room -= width(&text);
            let before = match look.tone {
                Some(tone) if colour => tone.begin(),
                // It is no colour.
                Some(Tone::Faint) => Tone::Faint.begin(),
                _ if look.is_bold => "\x1b[1m".to_owned(),
                _ => String::new(),
            };
            written.push_str(&before);
            written.push_str(&text);
            if !before.is_empty() {
                written.push_str("\x1b[0m");
                if self.is_chosen {
                    written.push_str("\x1b[7m");
                }
            }
        }
        if self.is_chosen {
            written.push_str(&" ".repeat(room));
        }
        written.push_str("\x1b[0m");
        written
    }

    /// Its text alone.
    #[cfg(test)]
    pub(crate) fn plain(&self) -> String {
        self.pieces.iter().map(|(text, _)| text.as_str()).collect()
    }
}

/// Columns that text takes.
fn width(text: &str) -> usize {
    text.chars().map(|one| one.width().unwrap_or(0)).sum()
}

/// As much of a text as has room in so many columns.
fn cut_to(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let mut shown: String = text
        .chars()
        .take_while(|one| {
            let width = one.width().unwrap_or(0);
            let fits = width <= room;
            room = room.saturating_sub(if fits { width } else { room });
            fits
        })
        .collect();
    if columns > 0 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_never_takes_more_columns_than_there_are() {
        let line = Line::new()
            .bold("名前")
            .column(6)
            .status("failed")
            .column(20)
            .text("because of a long story\x1b[2J\n");
        assert_eq!(
            line.plain(),
            "名前  failed        because of a long story [2J "
        );
        for columns in 0..60 {
            let written = line.written(columns, false);
            let plain = written.replace("\x1b[1m", "").replace("\x1b[0m", "");
            assert!(width(&plain) <= columns, "{columns}: {plain:?}");
            assert!(!plain.contains('\x1b'), "{plain:?}");
        }
    }

    #[test]
    fn colours_are_left_out_where_there_are_none() {
        let line = Line::new().status("failed").toned("aside", Tone::Faint);
        assert_eq!(
            line.written(80, true),
            "\x1b[31mfailed\x1b[0m\x1b[2maside\x1b[0m\x1b[0m"
        );
        assert_eq!(line.written(80, false), "failed\x1b[2maside\x1b[0m\x1b[0m");
        let chosen = Line::new().text("a").chosen(true);
        assert_eq!(chosen.written(3, false), "\x1b[7ma  \x1b[0m");
    }
}
