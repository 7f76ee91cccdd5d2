//! Cookies: few, and none that a script or another site could use.

use axum::http::header::{self, InvalidHeaderValue};
use axum::http::{HeaderMap, HeaderValue};

/// A cookie of ours by its name. On a connection that nobody can read it has a prefix, by which browsers take it from this very host
/// alone, over TLS alone.
fn full_name(name: &str, secure: bool) -> String {
    match secure {
        true => format!("__Host-{name}"),
        false => name.to_owned(),
    }
}

/// The value of a cookie that a request carries.
pub(crate) fn value<'a>(headers: &'a HeaderMap, name: &str, secure: bool) -> Option<&'a str> {
    let name = full_name(name, secure);
    headers
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|cookies| cookies.to_str().ok())
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// A cookie to be kept for so many seconds; for none it is forgotten.
pub(crate) fn set(
    name: &str,
    value: &str,
    seconds: u64,
    secure: bool,
) -> Result<HeaderValue, InvalidHeaderValue> {
    // `Lax` and not `Strict`: whoever follows a link to a run from elsewhere is signed in there, too.
    let lasts = format!("; Max-Age={seconds}");
    written(name, value, &lasts, "Lax", secure)
}

/// A cookie to be kept until the browser ends, which is sent along from our own pages alone.
pub(crate) fn set_strict(
    name: &str,
    value: &str,
    secure: bool,
) -> Result<HeaderValue, InvalidHeaderValue> {
    written(name, value, "", "Strict", secure)
}

fn written(
    name: &str,
    value: &str,
    lasts: &str,
    sites: &str,
    secure: bool,
) -> Result<HeaderValue, InvalidHeaderValue> {
    let name = full_name(name, secure);
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!(
        "{name}={value}; Path=/{lasts}; HttpOnly; SameSite={sites}{secure}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_very_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; s=2;s2=3"));
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-s=4"));
        assert_eq!(value(&headers, "s", false), Some("2"));
        assert_eq!(value(&headers, "s", true), Some("4"));
        assert_eq!(value(&headers, "none", false), None);
    }

    #[test]
    fn a_cookie_is_for_no_script_and_no_other_site() {
        assert_eq!(
            set("s", "x", 60, true).unwrap(),
            "__Host-s=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            set("s", "", 0, false).unwrap(),
            "s=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
        assert_eq!(
            set_strict("s", "x", true).unwrap(),
            "__Host-s=x; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
