//! Paths of source files, as short as they can be read.

/// Parts that are kept of a path of which nothing is known.
const PARTS_MAX: usize = 4;

/// A path is cut to this, in characters.
const PATH_MAX_CHARS: usize = 200;

/// What is worth showing of a file's path: what lies below the directory in which it was compiled; of a library, its name and what is below
/// it; of anything else the last four parts, since where somebody's home is does not help.
pub(super) fn short(compiled_in: &str, directory: &str, file: &str) -> String {
    let (compiled_in, directory, file) = (forward(compiled_in), forward(directory), forward(file));
    let path = join(&directory, &file);
    let whole = join(&compiled_in, &path);
    let whole = parts(&whole);
    let relative = parts(&path);
    let short = if let Some(of_library) = of_library(&whole) {
        of_library
    } else if !is_absolute(&path) {
        &relative
    } else {
        let below = whole.strip_prefix(&parts(&compiled_in)[..]);
        below
            .filter(|below| !below.is_empty() && below.len() < whole.len())
            .unwrap_or(&whole[whole.len().saturating_sub(PARTS_MAX)..])
    };
    super::plain(short.join("/").chars(), PATH_MAX_CHARS)
}

fn join(directory: &str, path: &str) -> String {
    match is_absolute(path) || directory.is_empty() {
        true => path.to_owned(),
        false => format!("{}/{path}", directory.trim_end_matches('/')),
    }
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

/// The part of a path below the place where Rust's tools keep the sources of libraries.
fn of_library<'p>(parts: &'p [&'p str]) -> Option<&'p [&'p str]> {
    let behind = |words: &[&str], skip: usize| {
        let at = parts
            .windows(words.len())
            .rposition(|window| window == words)?;
        parts
            .get(at + words.len() + skip..)
            .filter(|rest| !rest.is_empty())
    };
    // /rustc/<commit>/library/core/src/…, and where rustup puts it.
    if parts.first() == Some(&"rustc") && parts.get(2) == Some(&"library") {
        return parts.get(3..);
    }
    behind(&["rustlib", "src", "rust", "library"], 0)
        .or_else(|| behind(&["registry", "src"], 1))
        .or_else(|| behind(&["git", "checkouts"], 0))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.as_bytes().get(1) == Some(&b':')
}

fn forward(path: &str) -> String {
    path.replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn paths_are_short() {
        for (compiled_in, directory, file, expected) in [
            ("/home/ann/shop", "", "src/lib.rs", "src/lib.rs"),
            ("/home/ann/shop", "src", "lib.rs", "src/lib.rs"),
            (
                "/home/ann/shop",
                "/home/ann/shop/src",
                "lib.rs",
                "src/lib.rs",
            ),
            (
                "/home/ann/shop",
                "/home/ann/shop",
                "./src/lib.rs",
                "src/lib.rs",
            ),
            (
                "C:\\ann\\shop",
                "C:\\ann\\shop\\src",
                "lib.rs",
                "src/lib.rs",
            ),
            (
                "/home/ann/shop",
                "/home/ann/shopping/a/b/c",
                "lib.rs",
                "a/b/c/lib.rs",
            ),
            (
                "",
                "/home/ann/orders/src",
                "lib.rs",
                "ann/orders/src/lib.rs",
            ),
            (
                "/",
                "/rustc/ab12cd/library/core/src",
                "option.rs",
                "core/src/option.rs",
            ),
            (
                "/rustc/ab12cd",
                "library/core/src",
                "option.rs",
                "core/src/option.rs",
            ),
            (
                "/home/ann/.cargo/registry/src/index-12/serde-1.0.1",
                "src",
                "de.rs",
                "serde-1.0.1/src/de.rs",
            ),
            (
                "/x",
                "/home/ann/.rustup/toolchains/stable/lib/rustlib/src/rust/library/std/src",
                "panicking.rs",
                "std/src/panicking.rs",
            ),
            (
                "/home/ann/.cargo/registry/src/index-12/serde_json-1.0.1",
                "/home/ann/.cargo/registry/src/index-12/serde_json-1.0.1/src",
                "de.rs",
                "serde_json-1.0.1/src/de.rs",
            ),
            (
                "/x",
                "/home/ann/.cargo/git/checkouts/lib-12/ab/src",
                "a.rs",
                "lib-12/ab/src/a.rs",
            ),
            ("", "", "", ""),
            ("/", "/", "/", ""),
        ] {
            assert_eq!(short(compiled_in, directory, file), expected);
        }
    }
}
