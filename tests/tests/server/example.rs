//! What docs/api.md shows is so.

use std::path::Path;

use dacapo_tests::{Dacapo, database, guest_path};
use tokio::process::Command;

use crate::api::Api;

/// What is refused ends it. Whoever has no `jq` needs the id of a run all the same.
const BEFORE: &str = r#"
set -euo pipefail
curl() { command curl --fail-with-body "$@"; echo; }
command -v jq >/dev/null || jq() { sed -n 's/.*"run":"\([^"]*\)".*/\1/p'; }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_documents_can_be_followed_from_top_to_bottom() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let example = docs.split("```sh\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let database = database().await;
    let _worker = Dacapo::on(&database).worker().await;
    let api = Api::on(&database).await;
    let example = example.replace("http://127.0.0.1:7007", &api.url());
    let script = format!("{BEFORE}\n{example}");
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(guest_path("process_payment").parent().unwrap())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for word in [
        "\"priority\":5",
        "\"settlement\":\"bank-1\"",
        "\"newRun\"",
        "event: end",
    ] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
}
