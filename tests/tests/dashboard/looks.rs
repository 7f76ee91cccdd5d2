//! How it looks: to whoever sees it, and to whoever does not.

use dacapo_client::{Deed, DeedOutcome, NewSchedule, Role, StartOptions, Status, Via, When};
use serde_json::Value;

use crate::browser::{Browser, target};
use crate::scene::Scene;

/// A scene with a bit of everything, and the pages to look at.
async fn full() -> (Scene, Vec<(&'static str, String)>) {
    let scene = Scene::with(&["probe", "order"]).await;
    let client = &scene.database.client;
    let when = When::Cron {
        expression: "0 3 * * *".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
    };
    let mut new = NewSchedule::new("nightly", "counted-steps", when);
    new.input = "2".to_owned();
    client.create_schedule(new).await.unwrap();
    client.set_queue("mail", Default::default()).await.unwrap();
    let options = StartOptions::default()
        .label("tenant", "acme")
        .label("region", "eu-west");
    scene.start_with("counted-steps", "20", options).await;
    let failed = scene.start("fails-and-traps", "2").await;
    let fork = scene.start("branches.many-fail", "null").await;
    let waits = scene.start("step-wait-step", "null").await;
    let input = r#"{"workflow": "children.square", "input": "3"}"#;
    let parent = scene.start("children.runs-child", input).await;
    scene.is(failed, Status::Failed).await;
    scene.is(waits, Status::Suspended).await;
    scene.database.done(fork).await;
    scene.database.done(parent).await;
    for (outcome, target) in [
        (DeedOutcome::Done, failed.to_string()),
        (DeedOutcome::Refused, "mail".to_owned()),
        (DeedOutcome::Failed, "nightly".to_owned()),
    ] {
        let deed = Deed {
            who: Some("ann@example.com".to_owned()),
            via: Via::Oidc,
            role: Some(Role::Operate),
            action: "retryRun".to_owned(),
            target: Some(target),
            outcome,
            status: 200,
            address: Some("2001:db8::7".to_owned()),
        };
        client.note_deed(deed).await.unwrap();
    }
    let pages = vec![
        ("overview", "/".to_owned()),
        ("runs", "/runs".to_owned()),
        ("run-failed", format!("/runs/{failed}")),
        ("run-fork", format!("/runs/{fork}")),
        ("run-waits", format!("/runs/{waits}")),
        ("run-parent", format!("/runs/{parent}")),
        ("step", format!("/runs/{failed}/step?key=charge%231")),
        ("logs", format!("/runs/{failed}/logs")),
        ("cancel", format!("/runs/{waits}/do/cancel")),
        ("event", format!("/runs/{waits}/do/event")),
        ("workflows", "/workflows".to_owned()),
        ("workflow", "/workflows/shop:orders/orders.place".to_owned()),
        ("start", "/start/shop:orders/orders.place".to_owned()),
        ("start-shapes", "/start/test:probe/shapes.echo".to_owned()),
        ("schedules", "/schedules".to_owned()),
        ("queues", "/queues".to_owned()),
        ("workers", "/workers".to_owned()),
        ("audit", "/audit".to_owned()),
        ("deployments", "/deployments".to_owned()),
        ("deployment", "/deployments/shop:orders/1".to_owned()),
        ("not-found", "/nowhere".to_owned()),
    ];
    (scene, pages)
}

async fn settled(browser: &Browser) {
    browser
        .until("document.readyState === 'complete' && !document.querySelector('.htmx-request')")
        .await;
}

/// What a test of accessibility finds to be serious, as lines.
async fn complaints(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe).await;
    let found = browser
        .run_async("const done = arguments[arguments.length - 1]; axe.run(document, { resultTypes: ['violations'] }).then(done, error => done(String(error)))")
        .await;
    let violations = found["violations"].as_array();
    let violations = violations.unwrap_or_else(|| panic!("{found}"));
    let is_serious = |one: &&Value| matches!(one["impact"].as_str(), Some("serious" | "critical"));
    violations
        .iter()
        .filter(is_serious)
        .map(|one| {
            let nodes = one["nodes"].as_array().unwrap();
            let first: Vec<String> = nodes
                .iter()
                .take(3)
                .map(|node| format!("{} {}", node["html"], node["failureSummary"]))
                .collect();
            format!("{}: {}: {}", one["id"], one["help"], first.join("; "))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_can_be_used_by_everybody_in_light_and_in_dark() {
    let (scene, pages) = full().await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let file = target().join("browser-tools/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; ./x setup installs it", file.display()));
    let mut all = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefers(scheme).await;
        for (name, path) in &pages {
            browser.open(path).await;
            settled(&browser).await;
            if name.starts_with("run-") {
                browser
                    .run("document.querySelectorAll('.row').forEach(one => { one.open = true; })")
                    .await;
                settled(&browser).await;
            }
            browser.photograph(&format!("{name}-{scheme}")).await;
            for complaint in complaints(&browser, &axe).await {
                all.push(format!("{name} ({scheme}): {complaint}"));
            }
        }
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_wider_than_a_phone() {
    let (scene, pages) = full().await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    browser.size(360, 740).await;
    let mut wide = Vec::new();
    for (name, path) in &pages {
        browser.open(path).await;
        settled(&browser).await;
        browser
            .run("document.querySelectorAll('.row').forEach(one => { one.open = true; })")
            .await;
        settled(&browser).await;
        browser.photograph(&format!("{name}-phone")).await;
        let width = browser
            .run("return document.documentElement.scrollWidth")
            .await;
        if width.as_u64().unwrap() > 360 {
            let widest = browser
                .run("return [...document.querySelectorAll('main *, header *')].filter(one => one.getBoundingClientRect().right > 361).slice(0, 4).map(one => one.outerHTML.slice(0, 160)).join('\\n')")
                .await;
            wide.push(format!(
                "{name}: {width}\n{}",
                widest.as_str().unwrap_or("")
            ));
        }
    }
    assert!(wide.is_empty(), "{}", wide.join("\n"));
    browser.quit().await;
}

/// The keys of WebDriver.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_found_and_cancelled_by_the_keyboard_alone() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let run = scene.start("step-wait-step", "null").await;
    scene.is(run, Status::Suspended).await;
    browser.open("/runs?status=suspended").await;
    // The first stop leads past what is above the content.
    browser.press(TAB).await;
    browser
        .until("document.activeElement.className === 'skip'")
        .await;
    browser.press(ENTER).await;
    browser.until("location.hash === '#main'").await;
    let go_to = async |expression: &str| {
        for _ in 0..60 {
            browser.press(TAB).await;
            let is_there = browser.run(&format!("return Boolean({expression})")).await;
            // Whoever goes by the keyboard sees where they are.
            if is_there == true {
                let outline = browser
                    .run("return getComputedStyle(document.activeElement).outlineStyle")
                    .await;
                assert_ne!(outline, "none", "{expression}");
                return;
            }
        }
        panic!("the keyboard does not get to where {expression}");
    };
    go_to(&format!("document.activeElement.id === 'r-{run}'")).await;
    browser.press(ENTER).await;
    browser
        .until(&format!("location.pathname === '/runs/{run}'"))
        .await;
    go_to("document.activeElement.innerText === 'Cancel'").await;
    browser.press(ENTER).await;
    browser
        .until("document.getElementById('dialog').open")
        .await;
    // It is left by a key, too.
    browser.press(ESCAPE).await;
    browser
        .until("!document.getElementById('dialog').open")
        .await;
    go_to("document.activeElement.innerText === 'Cancel'").await;
    browser.press(ENTER).await;
    browser
        .until("document.getElementById('dialog').open")
        .await;
    go_to("document.activeElement.id === 'do-it'").await;
    browser.press(ENTER).await;
    scene.is(run, Status::Cancelled).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_that_somebody_chose_is_kept() {
    let scene = Scene::without_worker(&[]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    browser.prefers("light").await;
    browser.open("/").await;
    let background = "return getComputedStyle(document.documentElement).backgroundColor";
    let light = browser.run(background).await;
    browser.click("#theme").await;
    browser.click("#theme").await;
    browser
        .until("document.getElementById('theme-name').innerText === 'dark'")
        .await;
    let dark = browser.run(background).await;
    assert_ne!(light, dark);
    browser.open("/runs").await;
    assert_eq!(browser.run(background).await, dark);
    browser.click("#theme").await;
    browser
        .until("document.getElementById('theme-name').innerText === 'auto'")
        .await;
    assert_eq!(browser.run(background).await, light);
    browser.quit().await;
}
