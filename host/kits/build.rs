//! The kits and the templates are part of the crate: a file that is new or gone is a change, too.

fn main() {
    for directory in ["../../guest-sdk", "../../wit", "templates"] {
        println!("cargo::rerun-if-changed={directory}");
    }
}
