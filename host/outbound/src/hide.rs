//! Finding secrets in what comes back, in whichever way they are written there.

/// Values that nobody may see, and what is shown in their places.
#[derive(Default)]
pub(crate) struct Hidden {
    known: Vec<Known>,
    needles: Vec<Needle>,
    /// Bytes with which something may begin that is hidden.
    starts: Vec<u8>,
}

struct Known {
    value: String,
    placeholder: String,
}

/// A text to be found, and of which of the values it tells.
struct Needle {
    text: Vec<char>,
    of: usize,
}

/// Where a text is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Anywhere: nothing is known of what it means.
    Anywhere,
    /// Within a string of JSON, which must be one afterwards.
    JsonString,
}

/// What of a text is hidden from some place on.
enum Found {
    Nothing,
    /// More of the text has to be seen to know.
    Unclear,
    To {
        end: usize,
        of: usize,
    },
}

/// Nothing of the values.
impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let placeholders = self.known.iter().map(|known| &known.placeholder);
        f.debug_list().entries(placeholders).finish()
    }
}

impl Hidden {
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn has(&self, value: &str, placeholder: &str) -> bool {
        let mut known = self.known.iter();
        known.any(|known| known.value == value && known.placeholder == placeholder)
    }

    pub(crate) fn add(&mut self, value: &str, placeholder: String) {
        let of = self.known.len();
        self.known.push(Known {
            value: value.to_owned(),
            placeholder,
        });
        let texts = std::iter::once(value.to_owned()).chain(base64_forms(value.as_bytes()));
        for text in texts {
            let text: Vec<char> = text.chars().collect();
            if !self.needles.iter().any(|needle| needle.text == text) {
                self.needles.push(Needle { text, of });
            }
        }
        self.starts = self.needles.iter().flat_map(Needle::starts).collect();
        self.starts.sort_unstable();
        self.starts.dedup();
    }

    /// The bytes with placeholders in place of what is hidden, as far as they are known to be none of it, and how many that were. All of them
    /// if there come no more. None: all, and nothing in them is hidden.
    pub(crate) fn replace(&self, bytes: &[u8], is_all: bool) -> (Option<Vec<u8>>, usize) {
        if self.is_empty() {
            return (None, bytes.len());
        }
        let mut shown = Vec::new();
        let mut from = 0;
        let mut at = 0;
        let mut search = Search::new(self);
        while let Some(ahead) = search.next_start(&bytes[at..]) {
            at += ahead;
            match search.covered(bytes, at, Place::Anywhere, is_all) {
                Found::Nothing => at += 1,
                Found::Unclear => {
                    shown.extend_from_slice(&bytes[from..at]);
                    return (Some(shown), at);
                }
                Found::To { end, of } => {
                    shown.extend_from_slice(&bytes[from..at]);
                    shown.extend_from_slice(self.known[of].placeholder.as_bytes());
                    from = end;
                    at = end;
                }
            }
        }
        if from == 0 {
            return (None, bytes.len());
        }
        shown.extend_from_slice(&bytes[from..]);
        (Some(shown), bytes.len())
    }

    /// JSON with placeholders in place of what is hidden. It stays JSON: a number that is hidden becomes a string. None: nothing is.
    pub(crate) fn replace_in_json(&self, json: &str) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let bytes = json.as_bytes();
        let mut shown = Vec::new();
        let mut from = 0;
        let mut at = 0;
        let mut is_in_string = false;
        let mut search = Search::new(self);
        while at < bytes.len() {
            if bytes[at] == b'"' {
                is_in_string = !is_in_string;
                at += 1;
            } else if is_in_string {
                match search.covered(bytes, at, Place::JsonString, true) {
                    Found::Nothing | Found::Unclear => at += unit(bytes, at, Place::JsonString),
                    Found::To { end, of } => {
                        shown.extend_from_slice(&bytes[from..at]);
                        shown.extend_from_slice(self.known[of].placeholder.as_bytes());
                        from = end;
                        at = end;
                    }
                }
            } else {
                let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                let number = bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                let end = at + number;
                let mut places = at..end;
                let found = places.find_map(|place| {
                    match search.covered(&bytes[..end], place, Place::Anywhere, true) {
                        Found::To { of, .. } => Some(of),
                        Found::Nothing | Found::Unclear => None,
                    }
                });
                if let Some(of) = found {
                    shown.extend_from_slice(&bytes[from..at]);
                    let quoted = format!("\"{}\"", self.known[of].placeholder);
                    shown.extend_from_slice(quoted.as_bytes());
                    from = end;
                }
                at = end.max(at + 1);
            }
        }
        if from == 0 {
            return None;
        }
        shown.extend_from_slice(&bytes[from..]);
        Some(text_of(shown))
    }
}

/// Bytes that are a text, since they were one before placeholders came into it.
pub(crate) fn text_of(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

impl Needle {
    /// Bytes with which it may begin.
    fn starts(&self) -> impl Iterator<Item = u8> {
        let first = self.text.first().copied().unwrap_or_default();
        let literal = first.encode_utf8(&mut [0; 4]).as_bytes()[0];
        let blank = (first == ' ').then_some(b'+');
        [literal, b'\\', b'%'].into_iter().chain(blank)
    }
}

/// Looks for all of it at one place after the other.
struct Search<'a> {
    hidden: &'a Hidden,
    is_start: [bool; 256],
    /// Where readings of the characters so far have ended.
    ends: Vec<usize>,
    next: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(hidden: &'a Hidden) -> Search<'a> {
        let mut is_start = [false; 256];
        for start in &hidden.starts {
            is_start[usize::from(*start)] = true;
        }
        Search {
            hidden,
            is_start,
            ends: Vec::new(),
            next: Vec::new(),
        }
    }

    /// How far it is to a byte with which something may begin.
    fn next_start(&self, bytes: &[u8]) -> Option<usize> {
        let mut bytes = bytes.iter();
        bytes.position(|byte| self.is_start[usize::from(*byte)])
    }

    /// What is hidden from here on: the longest text that is found here, and those that begin within it and end behind it.
    fn covered(&mut self, bytes: &[u8], from: usize, place: Place, is_all: bool) -> Found {
        let mut covered = self.longest(bytes, from, place, is_all);
        let mut at = from;
        while let Found::To { end, of } = covered {
            at += unit(bytes, at, place);
            if at >= end {
                break;
            }
            match self.longest(bytes, at, place, is_all) {
                Found::Unclear => return Found::Unclear,
                Found::To { end: further, .. } if further > end => {
                    covered = Found::To { end: further, of }
                }
                Found::To { .. } | Found::Nothing => {}
            }
        }
        covered
    }

    fn longest(&mut self, bytes: &[u8], from: usize, place: Place, is_all: bool) -> Found {
        if !self.is_start[usize::from(bytes[from])] {
            return Found::Nothing;
        }
        let mut longest = Found::Nothing;
        let mut longest_end = from;
        for needle in &self.hidden.needles {
            let mut is_cut = false;
            self.ends.clear();
            self.ends.push(from);
            for wanted in &needle.text {
                self.next.clear();
                for end in &self.ends {
                    is_cut |= read(bytes, *end, *wanted, place, &mut self.next);
                }
                if self.next.len() > 1 {
                    self.next.sort_unstable();
                    self.next.dedup();
                }
                std::mem::swap(&mut self.ends, &mut self.next);
                if self.ends.is_empty() {
                    break;
                }
            }
            if is_cut && !is_all {
                return Found::Unclear;
            }
            if let Some(end) = self.ends.last().copied().filter(|end| *end > longest_end) {
                longest_end = end;
                longest = Found::To { end, of: needle.of };
            }
        }
        longest
    }
}

/// How long what stands here is: nothing begins in the middle of an escape.
fn unit(bytes: &[u8], at: usize, place: Place) -> usize {
    match (place, bytes[at], bytes.get(at + 1)) {
        (Place::JsonString, b'\\', Some(b'u')) => 6,
        (Place::JsonString, b'\\', _) => 2,
        _ => 1,
    }
}

/// Reads one character in every way in which it may be written, and notes where each reading ends. Answers whether one might end behind
/// these bytes.
fn read(bytes: &[u8], at: usize, wanted: char, place: Place, ends: &mut Vec<usize>) -> bool {
    let rest = &bytes[at..];
    let Some(&first) = rest.first() else {
        return true;
    };
    let mut utf8 = [0; 4];
    let utf8 = wanted.encode_utf8(&mut utf8).as_bytes();
    let mut is_cut = false;
    if place == Place::Anywhere || !matches!(wanted, '"' | '\\') {
        if rest.starts_with(utf8) {
            ends.push(at + utf8.len());
        }
        is_cut |= rest.len() < utf8.len() && utf8.starts_with(rest);
    }
    if wanted == ' ' && first == b'+' {
        ends.push(at + 1);
    }
    if first == b'\\' {
        match rest.get(1) {
            None => is_cut = true,
            Some(b'u') => {
                let mut utf16 = [0; 2];
                let units = wanted.encode_utf16(&mut utf16).iter();
                let written = units.map(|unit| (*b"\\u", u32::from(*unit), 4));
                is_cut |= read_digits(bytes, at, written, ends);
            }
            Some(escaped) if matches!(wanted, '"' | '\\' | '/') && utf8 == [*escaped] => {
                ends.push(at + 2);
            }
            Some(_) => {}
        }
    }
    if first == b'%' {
        let written = utf8.iter().map(|byte| (*b"%", u32::from(*byte), 2));
        is_cut |= read_digits(bytes, at, written, ends);
    }
    is_cut
}

/// Reads numbers in hexadecimal digits, each behind a mark.
fn read_digits<const MARK: usize>(
    bytes: &[u8],
    mut at: usize,
    written: impl Iterator<Item = ([u8; MARK], u32, usize)>,
    ends: &mut Vec<usize>,
) -> bool {
    for (mark, number, digits) in written {
        let rest = &bytes[at..];
        let marked = rest.len().min(MARK);
        if rest[..marked] != mark[..marked] {
            return false;
        }
        let seen = &rest[marked..rest.len().min(MARK + digits)];
        let mut place = digits;
        for digit in seen {
            place -= 1;
            let wanted = (number >> (4 * place)) & 0xf;
            if char::from(*digit).to_digit(16) != Some(wanted) {
                return false;
            }
        }
        if place > 0 {
            return true;
        }
        at += MARK + digits;
    }
    ends.push(at);
    false
}

/// What is sure to be there of a value in the base64 of a text that holds it, wherever it begins: all but what its neighbours take part in.
fn base64_forms(value: &[u8]) -> Vec<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut forms = Vec::new();
    for before in 0..3 {
        let bit = |at: usize| {
            let byte = (at / 8).checked_sub(before).and_then(|at| value.get(at));
            byte.map_or(0, |byte| (byte >> (7 - at % 8)) & 1)
        };
        let first = (before * 8).div_ceil(6);
        let end = (before + value.len()) * 8 / 6;
        let digit = |at: usize| {
            let number = (at * 6..at * 6 + 6).fold(0, |number, at| (number << 1) | bit(at));
            char::from(DIGITS[usize::from(number)])
        };
        let form: String = (first..end).map(digit).collect();
        let for_urls = form.replace('+', "-").replace('/', "_");
        if for_urls != form {
            forms.push(for_urls);
        }
        forms.push(form);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(values: &[&str]) -> Hidden {
        let mut hidden = Hidden::default();
        for (number, value) in values.iter().enumerate() {
            hidden.add(value, format!("<{number}>"));
        }
        hidden
    }

    fn shown(hidden: &Hidden, text: &str) -> String {
        let (shown, seen) = hidden.replace(text.as_bytes(), true);
        assert_eq!(seen, text.len());
        shown.map_or_else(|| text.to_owned(), text_of)
    }

    const SECRET: &str = r#"a/b<c>&"d\é😀+ e"#;

    #[test]
    fn a_secret_is_found_however_its_characters_are_written() {
        let hidden = hidden(&[SECRET]);
        for written in [
            SECRET,
            r#"a/b<c>&\"d\\é😀+ e"#,
            r#"a\/b<c>&\"d\\\u00e9\ud83d\ude00+ e"#,
            r#"a\/b\u003cc\u003e\u0026\"d\\\u00E9\uD83D\uDE00\u002B e"#,
            r"\u0061/b\u003Cc\u003E\u0026\u0022d\u005C\u00e9\ud83d\ude00+\u0020e",
            "a%2Fb%3Cc%3E%26%22d%5C%C3%A9%F0%9F%98%80%2B%20e",
            "a%2fb%3cc%3e%26%22d%5c%c3%a9%f0%9f%98%80%2b+e",
        ] {
            let text = format!("{{\"told\":\"{written}\"}}");
            assert_eq!(shown(&hidden, &text), "{\"told\":\"<0>\"}", "{written}");
        }
        for other in [
            &SECRET[..SECRET.len() - 1],
            r"a\u002",
            "a%2",
            r"a\",
            "\\",
            "",
        ] {
            assert_eq!(shown(&hidden, other), other);
        }
    }

    #[test]
    fn a_secret_is_found_in_base64_wherever_it_begins() {
        let hidden = hidden(&["s3cret-value~~?"]);
        for (text, leaks) in [
            // "s3cret-value~~?", and behind "a:", "ab:" and "abc:", and before "!" in the form for URLs.
            ("Basic czNjcmV0LXZhbHVlfn4/", "Basic <0>"),
            ("Basic YTpzM2NyZXQtdmFsdWV+fj8=", "Basic YTp<0>8="),
            ("Basic YWI6czNjcmV0LXZhbHVlfn4/", "Basic YWI6<0>"),
            ("Basic YWJjOnMzY3JldC12YWx1ZX5+Pw==", "Basic YWJjOn<0>w=="),
            ("czNjcmV0LXZhbHVlfn4_IQ", "<0>IQ"),
            (r"czNjcmV0LXZhbHVlfn4\/", "<0>"),
        ] {
            assert_eq!(shown(&hidden, text), leaks);
        }
    }

    #[test]
    fn of_secrets_that_share_a_part_nothing_is_left() {
        let hidden = hidden(&["secret-one", "secret-one-and-more", "more-and-other"]);
        for (text, expected) in [
            ("a secret-one b", "a <0> b"),
            ("a secret-one-and-more b", "a <1> b"),
            ("a secret-one-and-mor b", "a <0>-and-mor b"),
            ("a secret-one-and-more-and-other b", "a <1> b"),
            ("secret-onesecret-one-and-more", "<0><1>"),
        ] {
            assert_eq!(shown(&hidden, text), expected);
        }
    }

    #[test]
    fn a_text_in_pieces_is_held_back_only_while_it_may_be_a_secret() {
        let hidden = hidden(&["secret-one", "secret-one-and-more", SECRET]);
        let seen = |text: &str| {
            let (shown, seen) = hidden.replace(text.as_bytes(), false);
            (shown.map_or_else(|| text.to_owned(), text_of), seen)
        };
        assert_eq!(seen("all of it"), ("all of it".to_owned(), 9));
        assert_eq!(seen("some of this: sec"), ("some of this: ".to_owned(), 14));
        assert_eq!(seen("secret-one"), (String::new(), 0));
        assert_eq!(seen("secret-one-and-mo"), (String::new(), 0));
        assert_eq!(seen("secret-one."), ("<0>.".to_owned(), 11));
        assert_eq!(seen(r"x a\u002f"), ("x ".to_owned(), 2));
        assert_eq!(seen(r"x a\u0030").1, 9);
    }

    #[test]
    fn json_stays_json() {
        let hidden = hidden(&[
            "n-secret-value",
            "00e9-secret",
            "12345678",
            "/-secret-value",
            "x\",\"y-secret",
        ]);
        for (json, expected) in [
            (r#"["n-secret-value"]"#, r#"["<0>"]"#),
            // A line end, an é and a backslash, and behind them something that is no secret.
            (r#"["\n-secret-value"]"#, r#"["\n-secret-value"]"#),
            (r#"["\u00e9-secret"]"#, r#"["\u00e9-secret"]"#),
            (r#"["\\/-secret-value"]"#, r#"["\\<3>"]"#),
            (r#"["\/-secret-value"]"#, r#"["<3>"]"#),
            (
                r#"{"12345678":12345678,"b":-112345678.5e3}"#,
                r#"{"<2>":"<2>","b":"<2>"}"#,
            ),
            (r#"["x","y-secret"]"#, r#"["x","y-secret"]"#),
            (r#"["x\",\"y-secret"]"#, r#"["<4>"]"#),
        ] {
            let shown = hidden.replace_in_json(json);
            let shown = shown.unwrap_or_else(|| json.to_owned());
            assert_eq!(shown, expected, "{json}");
        }
    }
}
