//! Styles, scripts and pictures: built in, and named by what they hold, so that browsers keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::Oops;

/// A file that pages name.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    Asset {
        name: "app.css",
        kind: "text/css; charset=utf-8",
        bytes: include_bytes!("../../assets/app.css"),
    },
    Asset {
        name: "app.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/app.js"),
    },
    Asset {
        name: "theme.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/theme.js"),
    },
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        bytes: include_bytes!("../../assets/icon.svg"),
    },
    Asset {
        name: "htmx.js",
        kind: "text/javascript; charset=utf-8",
        bytes: include_bytes!("../../assets/vendor/htmx/htmx.min.js"),
    },
];

/// The beginnings of their sums, in their order.
static SUMS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let sum = |asset: &Asset| hex(&Sha256::digest(asset.bytes))[..12].to_owned();
    ASSETS.iter().map(sum).collect()
});

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The address of a file: it changes when the file does.
pub(crate) fn address(name: &str) -> Option<String> {
    let index = ASSETS.iter().position(|asset| asset.name == name)?;
    Some(format!("/assets/{}/{name}", SUMS[index]))
}

/// The file at such an address.
pub(crate) async fn serve(Path((sum, name)): Path<(String, String)>) -> Result<Response, Oops> {
    let index = ASSETS.iter().position(|asset| asset.name == name);
    let Some(index) = index else {
        return Err(Oops::missing("there is no such file"));
    };
    // A page of another version asks for what is not here; it must not be kept under that name.
    let kept = match SUMS[index] == sum {
        true => "public, max-age=31536000, immutable",
        false => "no-store",
    };
    let asset = &ASSETS[index];
    #[cfg(debug_assertions)]
    if let Some(bytes) = super::page::from_disk(&format!("assets/{name}")) {
        let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "no-store")];
        return Ok((headers, bytes).into_response());
    }
    let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, kept)];
    Ok((headers, asset.bytes).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `assets/vendor/README.md` says what the files of others are; nobody may change them unnoticed.
    #[test]
    fn files_of_others_are_as_they_shipped_them() {
        let readme = include_str!("../../assets/vendor/README.md");
        for asset in ASSETS.iter().filter(|asset| asset.name == "htmx.js") {
            let sum = hex(&Sha256::digest(asset.bytes));
            assert!(
                readme.contains(&sum),
                "{} has the sum {sum}, which assets/vendor/README.md does not know",
                asset.name
            );
        }
    }
}
