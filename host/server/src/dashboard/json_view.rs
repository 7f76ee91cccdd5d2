//! JSON as people read it: folding, in its own order, with its own digits, and no more of it than a page can take.

use std::borrow::Cow;
use std::fmt::{self, Write};

use minijinja::{HtmlEscape, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Parts of one array or object that are shown.
const PARTS_MAX: usize = 100;

/// Characters of one text that are shown.
const TEXT_MAX: usize = 4_000;

/// How deep it is shown.
const DEPTH_MAX: usize = 24;

/// Characters that all of it may have in HTML; what is beyond is left to the whole text.
const HTML_MAX: usize = 400_000;

/// What fits on one line is not folded.
const LINE_MAX: usize = 70;

/// Parts of an array or object within another one that is open at first.
const OPEN_PARTS_MAX: usize = 20;

/// One level of JSON: its parts as they are written.
pub(crate) enum Level<'a> {
    /// Its members.
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
    /// Its items.
    Array(Vec<&'a RawValue>),
    /// What it says.
    Text(Cow<'a, str>),
    /// A number, `true`, `false` or `null`.
    Other(&'a str),
}

struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Of)
    }
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Items<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element::<&RawValue>()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Of)
    }
}

impl<'a> Level<'a> {
    /// The first level of a JSON text; a text that is none is taken for what it says.
    pub(crate) fn of(json: &'a str) -> Self {
        let json = json.trim();
        let read = match json.as_bytes().first() {
            Some(b'{') => {
                serde_json::from_str::<Members<'_>>(json).map(|read| Self::Object(read.0))
            }
            Some(b'[') => serde_json::from_str::<Items<'_>>(json).map(|read| Self::Array(read.0)),
            Some(b'"') => serde_json::from_str::<String>(json).map(|text| Self::Text(text.into())),
            _ => Ok(Self::Other(json)),
        };
        read.unwrap_or(Self::Other(json))
    }
}

/// Folding HTML of a JSON text. Everything in it is escaped.
pub(crate) fn html(json: &str) -> Value {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = value(&mut out, json, 0);
    Value::from_safe_string(out)
}

fn value(out: &mut String, json: &str, depth: usize) -> fmt::Result {
    if out.len() > HTML_MAX || depth > DEPTH_MAX {
        return out.write_str(r#"<span class="j-more">…</span>"#);
    }
    match Level::of(json) {
        Level::Text(text) => {
            let shown = super::page::cut(&text, TEXT_MAX);
            let shown = serde_json::to_string(&shown).unwrap_or_default();
            write!(out, r#"<span class="j-text">{}</span>"#, HtmlEscape(&shown))
        }
        Level::Other(text) => {
            let class = match text.as_bytes().first() {
                Some(b't' | b'f' | b'n') => "j-word",
                _ => "j-number",
            };
            let shown = super::page::cut(text, TEXT_MAX);
            write!(
                out,
                r#"<span class="{class}">{}</span>"#,
                HtmlEscape(&shown)
            )
        }
        Level::Object(members) if members.is_empty() => out.write_str("{}"),
        Level::Array(items) if items.is_empty() => out.write_str("[]"),
        Level::Object(members) => {
            let parts = members
                .iter()
                .map(|(name, value)| (Some(name.as_ref()), *value));
            folded(out, ('{', '}'), members.len(), parts, depth, json)
        }
        Level::Array(items) => {
            let parts = items.iter().map(|item| (None, *item));
            folded(out, ('[', ']'), items.len(), parts, depth, json)
        }
    }
}

fn folded<'a>(
    out: &mut String,
    (open, close): (char, char),
    count: usize,
    parts: impl Iterator<Item = (Option<&'a str>, &'a RawValue)>,
    depth: usize,
    json: &str,
) -> fmt::Result {
    if depth > 0 && json.len() <= LINE_MAX && !json.contains('\n') {
        out.push(open);
        for (index, (name, part)) in parts.enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            named(out, name)?;
            value(out, part.get(), depth + 1)?;
        }
        out.push(close);
        return Ok(());
    }
    let is_open = match depth {
        0 => true,
        1 | 2 => count <= OPEN_PARTS_MAX,
        _ => false,
    };
    let what = match (open, count) {
        ('{', 1) => "1 member".to_owned(),
        ('{', _) => format!("{count} members"),
        (_, 1) => "1 item".to_owned(),
        _ => format!("{count} items"),
    };
    write!(
        out,
        r#"<details class="j"{}><summary>{open} <span class="j-count">{what}</span> {close}</summary><ul>"#,
        if is_open { " open" } else { "" }
    )?;
    for (name, part) in parts.take(PARTS_MAX) {
        out.push_str("<li>");
        named(out, name)?;
        value(out, part.get(), depth + 1)?;
        out.push_str("</li>");
    }
    if count > PARTS_MAX {
        write!(
            out,
            r#"<li class="j-more">… {} more</li>"#,
            count - PARTS_MAX
        )?;
    }
    out.write_str("</ul></details>")
}

fn named(out: &mut String, name: Option<&str>) -> fmt::Result {
    match name {
        Some(name) => {
            let name = super::page::cut(name, TEXT_MAX);
            write!(
                out,
                r#"<span class="j-name">{}</span>: "#,
                HtmlEscape(&name)
            )
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_digits_and_everything_else_of_a_payload_are_kept() {
        let html = html(r#"{"z": 18446744073709551615, "a": [1.50, null, true, "é"]}"#).to_string();
        assert!(html.find("z").unwrap() < html.find("18446744073709551615").unwrap());
        assert!(html.contains("1.50") && html.contains("null") && html.contains("é"));
    }

    #[test]
    fn nothing_of_a_payload_is_markup() {
        let bad = "<img src=x onerror=alert(1)>\"'&";
        let json = serde_json::json!({ bad: [bad, { bad: bad }] }).to_string();
        let html = html(&json).to_string();
        assert!(!html.contains("<img"), "{html}");
        assert!(html.contains("&lt;img"), "{html}");
        // What is not JSON at all is shown as it is.
        let html = super::html(bad).to_string();
        assert!(!html.contains("<img"), "{html}");
    }

    #[test]
    fn what_is_large_is_cut() {
        let json = format!("[{}]", vec!["1"; 5_000].join(","));
        let html = html(&json).to_string();
        assert!(html.contains("4900 more"), "{html}");
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert!(super::html(&deep).to_string().contains('…') || deep.len() < LINE_MAX * 4);
    }
}
