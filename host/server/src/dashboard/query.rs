//! What an address or a form says, as names and values.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

/// Names and values, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = parts.uri.query().unwrap_or("");
        Ok(Self::from_pairs(
            form_urlencoded::parse(text.as_bytes()).into_owned(),
        ))
    }
}

impl Query {
    pub(crate) fn from_pairs(pairs: impl Iterator<Item = (String, String)>) -> Self {
        Self(pairs.collect())
    }

    /// The first value of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same, if it holds anything but white space, without what of that surrounds it.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// All names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The query of an address with these names, the empty ones left out.
    pub(crate) fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs {
            if !value.is_empty() {
                text.append_pair(name, value);
            }
        }
        text.finish()
    }
}

/// A text as a part of a path. `/` stays where it separates parts.
pub(crate) fn in_path(text: &str, keeps_slash: bool) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' | b'@' => {
                out.push(char::from(byte));
            }
            b'/' if keeps_slash => out.push('/'),
            // Writing to a string cannot fail.
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_holds_nothing_that_means_something_there() {
        assert_eq!(in_path("a b?\"<é", false), "a%20b%3F%22%3C%C3%A9");
        assert_eq!(in_path("shop:a/b.c", true), "shop:a/b.c");
        assert_eq!(in_path("a/b", false), "a%2Fb");
    }

    #[test]
    fn what_is_empty_is_left_out_of_an_address() {
        assert_eq!(
            Query::of([("a", "1 2"), ("b", ""), ("c", "&")]),
            "a=1+2&c=%26"
        );
    }
}
