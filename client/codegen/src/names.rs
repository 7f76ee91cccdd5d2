//! From names in kebab case to the names that Rust and JSON expect.

/// Words that cannot be names in Rust, but raw.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Words that cannot be names in Rust at all.
const NEVER: &[&str] = &["crate", "self", "super", "Self"];

/// `order-id` as `order_id`.
pub(crate) fn snake(kebab: &str) -> String {
    escaped(kebab.replace('-', "_").to_lowercase())
}

/// `order-id` as `ORDER_ID`.
pub(crate) fn screaming(kebab: &str) -> String {
    kebab.replace('-', "_").to_uppercase()
}

/// `order-id` as `OrderId`; `HTTP-status` as `HttpStatus`.
pub(crate) fn upper_camel(kebab: &str) -> String {
    let mut name = String::with_capacity(kebab.len());
    for word in kebab.split('-') {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.extend(letters.map(|letter| letter.to_ascii_lowercase()));
    }
    escaped(name)
}

/// `order-id` as `orderId`, the name of a field in JSON.
pub(crate) fn lower_camel(kebab: &str) -> String {
    let mut words = kebab.split('-');
    let first = words.next().unwrap_or_default().to_lowercase();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &initial
            .into_iter()
            .chain(letters.map(|letter| letter.to_ascii_lowercase()))
            .collect::<String>()
    })
}

fn escaped(name: String) -> String {
    if KEYWORDS.contains(&name.as_str()) {
        format!("r#{name}")
    } else if NEVER.contains(&name.as_str()) {
        format!("{name}_")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_has_its_own_case() {
        assert_eq!(snake("order-id"), "order_id");
        assert_eq!(screaming("get-URL"), "GET_URL");
        assert_eq!(upper_camel("HTTP-status"), "HttpStatus");
        assert_eq!(lower_camel("get-URL-a1"), "getUrlA1");
    }

    #[test]
    fn keywords_are_escaped() {
        assert_eq!(snake("type"), "r#type");
        assert_eq!(snake("self"), "self_");
        assert_eq!(upper_camel("self"), "Self_");
        assert_eq!(lower_camel("type"), "type");
    }
}
