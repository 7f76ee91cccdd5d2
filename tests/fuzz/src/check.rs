//! What must hold of a database whatever came in.

use dacapo_tests::Database;

#[allow(dead_code, reason = "the engine's tests use more of it")]
#[path = "../../tests/engine/check.rs"]
mod engine;

/// What each database holds at rest, and nothing that only a mistake of ours brings about.
pub(crate) async fn healthy(database: &Database) -> Result<(), String> {
    let sound = tokio::spawn({
        let database = database.clone();
        async move { engine::sound(&database).await }
    });
    if let Err(error) = sound.await {
        return Err(format!("unsound: {}", panic_text(error.into_panic())));
    }
    let doctor = tokio::process::Command::new(dacapo_tests::dacapo_binary())
        .args(["doctor", "--output", "json"])
        .env("DATABASE_URL", &database.url)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    let findings: serde_json::Value =
        serde_json::from_str(&said).map_err(|error| format!("doctor: {error}: {said}"))?;
    let findings = findings.as_array().cloned().unwrap_or_else(|| {
        let named = findings.get("findings").and_then(|one| one.as_array());
        named.cloned().unwrap_or_default()
    });
    // What no caller, and no guest, can bring about; the rest is trouble that somebody has asked for.
    for finding in findings {
        let code = finding["code"].as_str().unwrap_or_default();
        let of_ours = [
            "lost",
            "two-tasks",
            "twin-positions",
            "no-deployment",
            "orphan",
        ];
        if of_ours.contains(&code) || code.starts_with("stray-") {
            return Err(format!("the doctor says {code}: {finding}"));
        }
    }
    Ok(())
}

/// What a panic said.
pub(crate) fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}
