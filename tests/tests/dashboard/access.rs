//! Who may make it do something, and what may be shown: nothing of what runs say is markup.

use dacapo_client::{Deed, DeedOutcome, NewSchedule, StartOptions, Status, Via, When};

use crate::scene::Scene;

/// What would show that a text was taken for markup.
const BAD: &str = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=2<\\script>'\"&lt;";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_run_a_person_or_a_name_says_is_taken_for_markup() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let client = &scene.database.client;
    let text = serde_json::json!(BAD).to_string();
    client.set_queue(BAD, Default::default()).await.unwrap();
    let options = StartOptions::default()
        .label(BAD, BAD)
        .queue(BAD)
        .concurrency_key(BAD);
    let echo = scene.start_with("shapes.echo-string", &text, options).await;
    let failed = scene.start("fail-with", &text).await;
    // A step, its result, and the name of an event.
    let recorded = scene
        .start("record-text", &serde_json::json!(text).to_string())
        .await;
    let named = scene.start("step-named", &text).await;
    let waits = scene.start("wait-named", &text).await;
    let when = When::Every(std::time::Duration::from_secs(3_600));
    let mut new = NewSchedule::new(BAD, "shapes.echo-string", when);
    new.input = text.clone();
    new.labels.insert("l".to_owned(), BAD.to_owned());
    client.create_schedule(new).await.unwrap();
    client.note(failed, BAD, BAD).await.unwrap();
    let deed = Deed {
        who: Some(BAD.to_owned()),
        via: Via::Token,
        role: None,
        action: BAD.to_owned(),
        target: Some(BAD.to_owned()),
        outcome: DeedOutcome::Done,
        status: 200,
        address: Some(BAD.to_owned()),
    };
    client.note_deed(deed).await.unwrap();
    scene.is(waits, Status::Suspended).await;
    for run in [echo, failed, recorded, named] {
        scene.database.done(run).await;
    }
    // A line of its log, as a guest might write it.
    sqlx::query("insert into dacapo.log (id, run_id, at, level, source, message, step, fields) values ($1, $2, now(), 'info', 'log', $3, $3, $4)")
        .bind(uuid::Uuid::now_v7())
        .bind(failed.0)
        .bind(BAD)
        .bind(serde_json::json!({ BAD: BAD }).to_string())
        .execute(scene.database.store.pool())
        .await
        .unwrap();
    // What code says of itself and of how far it is, and what others say of workers, schedules, deployments, and of a day on which all stands still.
    for statement in [
        "insert into dacapo.progress (run_id, done, total, note) select id, 1, 2, $1 from dacapo.run on conflict (run_id) do update set note = excluded.note",
        "update dacapo.task_suspended set reason = 'blocked', events = null, wake_at = null,
            blocked = json_build_object('code', $1::text, 'message', $1::text, 'details', $1::text)::text",
        "insert into dacapo.worker (id, name, version, lease_until) values (gen_random_uuid(), $1, $1, now() + interval '1 day')",
        "update dacapo.schedule set trouble = $1, trouble_since = now()",
        "update dacapo.deployment_change set who = $1",
        "update dacapo.workflow set schema = jsonb_set(schema::jsonb, '{docs}', to_jsonb($1::text))::text",
        "update dacapo.deployment set descriptor = jsonb_set(descriptor::jsonb, '{workflows,0,docs}', to_jsonb($1::text))::text",
        "insert into dacapo.standstill (reason) values ($1)",
    ] {
        let said = sqlx::query(statement).bind(BAD);
        said.execute(scene.database.store.pool()).await.unwrap();
    }
    let bad = "window.hacked || document.querySelectorAll('main img, main script, dialog img, dialog script').length";
    let mut pages: Vec<String> = [
        "/",
        "/runs",
        "/workflows",
        "/schedules",
        "/queues",
        "/workers",
        "/deployments",
        "/deployments/test:probe/1",
        "/workflows/test:probe/shapes.echo-string",
        "/start/test:probe/shapes.echo-string",
        "/audit",
    ]
    .map(str::to_owned)
    .into();
    let encoded: String = BAD.bytes().map(|byte| format!("%{byte:02X}")).collect();
    pages.push(format!("/runs?labels={encoded}"));
    pages.push(format!("/runs?workflow={encoded}"));
    pages.push(format!("/runs?failure={encoded}"));
    pages.push(format!("/runs?status={encoded}"));
    for name in ["who", "action", "target", "outcome", "since", "after"] {
        pages.push(format!("/audit?{name}={encoded}"));
    }
    pages.push(format!("/schedules/{encoded}/do/pause"));
    pages.push(format!("/queues/{encoded}/do/pause"));
    pages.push(format!("/start/{encoded}"));
    pages.push(format!(
        "/start/test:probe/shapes.echo-string?input={encoded}&json={encoded}&key={encoded}"
    ));
    pages.push(format!("/runs/{encoded}"));
    pages.push(format!("/deployments/{encoded}/1"));
    for run in [echo, failed, recorded, named, waits] {
        pages.push(format!("/runs/{run}"));
        pages.push(format!("/runs/{run}/logs"));
        pages.push(format!("/runs/{run}/do/note?note={encoded}"));
        pages.push(format!("/runs/{run}/do/rerun?from={encoded}"));
        pages.push(format!(
            "/runs/{run}/do/event?event={encoded}&json={encoded}"
        ));
        pages.push(format!("/runs/{run}/step?key={encoded}%231"));
    }
    for page in &pages {
        browser.open(page).await;
        browser.until("document.readyState === 'complete'").await;
        // Whatever can be opened is.
        browser
            .run("document.querySelectorAll('main details').forEach(one => { one.open = true; })")
            .await;
        browser
            .until("!document.querySelector('.htmx-request')")
            .await;
        assert_eq!(
            browser.run(&format!("return Number({bad})")).await,
            0,
            "{page}"
        );
    }
    browser.open(&format!("/runs/{failed}")).await;
    // It is shown as what it is.
    browser
        .sees("<img src=x onerror=\"window.hacked=1\">")
        .await;
    browser.until("document.querySelector('.log') && document.querySelector('.log').innerText.includes('<img src=x')").await;
    let complaints: Vec<String> = browser
        .complaints()
        .await
        .into_iter()
        .filter(|complaint| {
            complaint.contains("Content Security") || complaint.contains("Uncaught")
        })
        .collect();
    assert_eq!(complaints, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_for_whoever_does_not_come_from_one_of_its_pages() {
    let scene = Scene::without_worker(&["probe"]).await;
    let run = scene.start("step-wait-step", "null").await;
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let token = "0123456789abcdef0123456789abcdef";
    let cookie = format!("cookie: dacapo-form={token}\r\n");
    let good = format!("token={token}");
    let cancel = format!("/runs/{run}/do/cancel");
    let posts = [
        cancel.clone(),
        format!("/runs/{run}/do/force"),
        "/start/test:probe/durable.counted-steps".to_owned(),
        "/schedules/a/do/pause".to_owned(),
        "/queues/a/do/pause".to_owned(),
        "/deployments/test:probe/1/proof".to_owned(),
    ];
    for path in &posts {
        for (headers, body) in [
            (form.to_owned(), ""),
            (form.to_owned(), good.as_str()),
            (format!("{form}{cookie}"), ""),
            (
                format!("{form}{cookie}"),
                "token=ffffffffffffffffffffffffffffffff",
            ),
            (
                format!("{form}{cookie}sec-fetch-site: cross-site\r\n"),
                good.as_str(),
            ),
            (
                format!("{form}{cookie}origin: http://elsewhere.example\r\n"),
                good.as_str(),
            ),
            (cookie.clone(), good.as_str()),
        ] {
            let (status, _) = scene.answer("POST", path, &headers, body).await;
            assert_eq!(status, 403, "{path} with {headers:?} and {body:?}");
        }
    }
    assert_eq!(
        scene
            .database
            .client
            .check_progress(run)
            .await
            .unwrap()
            .status,
        Status::Queued
    );
    let headers = format!(
        "{form}{cookie}origin: {}\r\nsec-fetch-site: same-origin\r\n",
        scene.site
    );
    let (status, _) = scene.answer("POST", &cancel, &headers, &good).await;
    assert_eq!(status, 303);
    assert_eq!(
        scene
            .database
            .client
            .check_progress(run)
            .await
            .unwrap()
            .status,
        Status::Cancelled
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_say_what_browsers_may_do_with_them_and_files_are_kept_for_ever() {
    let scene = Scene::without_worker(&[]).await;
    let (status, page) = scene.answer("GET", "/", "", "").await;
    assert_eq!(status, 200);
    for line in [
        "content-security-policy: default-src 'none'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "HttpOnly; SameSite=Strict",
        "cache-control: no-store",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
    for forbidden in ["<script>", " style=", "onclick=", "javascript:", "hx-on"] {
        assert!(!page.contains(forbidden), "{forbidden} is in\n{page}");
    }
    let css = page
        .split("href=\"")
        .find(|part| part.contains("app.css"))
        .unwrap();
    let css = css.split('"').next().unwrap().replace("&#x2f;", "/");
    let (status, file) = scene.answer("GET", &css, "", "").await;
    assert_eq!(status, 200);
    assert!(file.contains("immutable"), "{file}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_the_same_look_with_what_to_do() {
    let scene = Scene::without_worker(&[]).await;
    let missing = "/runs/0193b6a0-0000-7000-8000-000000000000";
    for (path, status, text) in [
        ("/nowhere", 404, "there is no such page"),
        (missing, 404, "dacapo runs list"),
        ("/runs/nonsense", 404, "is no id of a run"),
        ("/start/a:b/c.d", 404, "dacapo deploy FILE.wasm"),
        ("/", 200, "Nothing is deployed yet"),
        ("/schedules", 200, "No schedules"),
        ("/workers", 200, "No worker is running"),
        ("/deployments", 200, "dacapo deploy"),
    ] {
        let (answered, page) = scene.answer("GET", path, "", "").await;
        assert_eq!(answered, status, "{path}");
        let page = page.replace("&#x2f;", "/");
        assert!(page.contains(text), "{path}: {text} is not in\n{page}");
        assert!(page.contains("<nav aria-label=\"Pages\">"), "{path}");
    }
    // Short names are found here as everywhere.
    scene.database.deploy("probe").await;
    for path in ["/start/counted-steps", "/workflows/durable.counted-steps"] {
        let (answered, page) = scene.answer("GET", path, "", "").await;
        assert_eq!(answered, 200, "{path}");
        let page = page.replace("&#x2f;", "/");
        assert!(page.contains("test:probe/durable.counted-steps"), "{page}");
    }
    // A database that is away.
    scene.database.store.pool().close().await;
    let (status, page) = scene.answer("GET", "/runs", "", "").await;
    assert_eq!(status, 503);
    assert!(
        page.contains("The database is away") && page.contains("retry-after: 5"),
        "{page}"
    );
}
