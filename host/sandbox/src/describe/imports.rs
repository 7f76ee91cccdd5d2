//! Which imports the host can satisfy.

use wit_parser::{Resolve, World};

use super::error::DescribeError;
use crate::contract::{is_of_contract, lack_of_world};
use crate::host::typed_children::is_foreign;
use crate::host::wasi;

/// The names of a world's imports, if the host offers all of them.
pub(super) fn check(resolve: &Resolve, world: &World) -> Result<Vec<String>, DescribeError> {
    let names: Vec<String> = world
        .imports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    if let Some(lack) = lack_of_world(resolve, world) {
        return Err(DescribeError::OtherContract(lack));
    }
    let is_known = |name: &str| is_foreign(name) || is_of_contract(name) || is_offered(name);
    let unknown: Vec<String> = names
        .iter()
        .filter(|name| !is_known(name))
        .map(|name| format!("`{name}`"))
        .collect();
    if !unknown.is_empty() {
        return Err(DescribeError::UnknownImports { names: unknown });
    }
    Ok(names)
}

fn is_offered(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else {
        return false;
    };
    #[cfg(feature = "test-effects")]
    if interface == crate::host::effects::INTERFACE {
        return true;
    }
    // A pre-release such as `0.2.0-rc` has other types than what came of it.
    !version.contains('-') && version.starts_with("0.2.") && wasi::INTERFACES.contains(&interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_fit_are_offered() {
        for name in [
            "wasi:io/poll@0.2.6",
            "wasi:clocks/wall-clock@0.2.12",
            "wasi:http/outgoing-handler@0.2.0",
        ] {
            assert!(is_offered(name), "{name}");
        }
    }

    #[test]
    fn other_versions_and_names_are_refused() {
        for name in [
            "dacapo:workflow/steps",
            "wasi:io/poll@0.3.0",
            "wasi:io/poll@0.2.0-rc",
            "wasi:http/incoming-handler@0.2.0",
            "shop:stock/items@1.0.0",
        ] {
            assert!(!is_offered(name), "{name}");
        }
    }
}
