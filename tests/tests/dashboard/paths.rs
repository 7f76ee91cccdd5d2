//! What people do with it.

use std::time::Duration;

use dacapo_client::{NewSchedule, StartOptions, Status, When};

use crate::scene::Scene;

/// The script of a new user, who knows nothing but that something is wrong: what the clicks are is written beside them.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_finds_why_a_run_failed_and_retries_it_in_three_clicks() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    for n in 0..3 {
        scene.start("counted-steps", &n.to_string()).await;
    }
    let run = scene.start("fails-and-traps", "2").await;
    scene.is(run, Status::Failed).await;

    let began = std::time::Instant::now();
    browser.open("/").await;
    // 1: the run that failed, on the first page.
    browser.sees("Failed last").await;
    browser
        .click_text("#live section a", "going-back.fails-and-traps")
        .await;
    // Why, without a click: the message, the step, and the line of the code.
    browser.sees("Why it failed").await;
    browser.sees("the step charge#1").await;
    browser
        .until("document.querySelector('.trace').innerText.includes('fails_and_traps')")
        .await;
    browser.photograph("failed-run").await;
    // 2: retry it. What will happen is said before it does.
    browser.click_text(".buttons button", "Retry").await;
    browser
        .until("document.getElementById('dialog').open")
        .await;
    browser.sees("It goes on from the step that failed").await;
    browser.photograph("retry").await;
    // 3: yes.
    browser.click("#dialog #do-it").await;
    browser.sees("The run goes on from where it failed.").await;
    // The page shows by itself that it went well now.
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;
    assert_eq!(browser.clicks(), 3);
    println!(
        "{:.1?} from opening the dashboard to the completed run",
        began.elapsed()
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(scene.database.done(run).await.status, Status::Completed);
    let run = scene.database.client.get(run).await.unwrap();
    assert_eq!(
        (
            run.interventions[0].action.as_str(),
            run.interventions[0].who.as_str()
        ),
        ("retry", "local")
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_runs_change_by_themselves_and_what_is_open_stays_open() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    browser.open("/runs").await;
    browser.sees("No runs yet").await;
    browser.run("window.notReloaded = true").await;
    let run = scene.start("step-wait-step", "null").await;
    // It shows up, and then waits.
    browser
        .until("document.querySelector('.runs .s-suspended')")
        .await;
    browser.sees("waits for the event go").await;
    assert_eq!(browser.run("return window.notReloaded").await, true);

    browser.open(&format!("/runs/{run}")).await;
    browser.run("window.notReloaded = true").await;
    browser.click(".row summary").await;
    browser
        .until("document.querySelector('.row .inside dl')")
        .await;
    scene
        .database
        .client
        .send_event(run, "go", "\"yes\"", None)
        .await
        .unwrap();
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;
    browser
        .until("document.querySelectorAll('.row').length === 3")
        .await;
    assert_eq!(
        browser
            .run("return document.querySelector('.row').open")
            .await,
        true
    );
    assert_eq!(browser.run("return window.notReloaded").await, true);
    // There is nothing more to ask for.
    browser.until("!document.getElementById('poll')").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_paused_resumed_cancelled_ended_noted_skipped_and_started_again_by_its_buttons() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let press = async |name: &str| {
        browser.click_text("#live .buttons button", name).await;
        browser
            .until("document.getElementById('dialog').open")
            .await;
    };
    let run = scene.start("step-wait-step", "null").await;
    scene.is(run, Status::Suspended).await;
    browser.open(&format!("/runs/{run}")).await;
    press("Pause").await;
    browser
        .write("#dialog input[name=reason]", "lunch <b>")
        .await;
    browser.click("#dialog #do-it").await;
    browser.sees("The run was paused.").await;
    browser.sees("lunch <b>").await;
    scene.is(run, Status::Paused).await;
    press("Resume").await;
    browser.click("#dialog #do-it").await;
    browser.sees("The run goes on.").await;
    scene.is(run, Status::Suspended).await;
    browser.open(&format!("/runs/{run}")).await;
    press("Add note").await;
    browser
        .write("#dialog textarea[name=note]", "who waits here?")
        .await;
    browser.click("#dialog #do-it").await;
    browser.sees("who waits here?").await;
    press("Skip").await;
    browser
        .write("#dialog textarea[name=value]", "\"skipped\"")
        .await;
    browser.click("#dialog #do-it").await;
    browser.sees("the run goes on").await;
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;
    // From a step of it.
    browser.click_text(".row summary .key", "b").await;
    browser
        .click_text(".inside button", "Rerun from here")
        .await;
    browser.sees("What was recorded before b#1 is copied").await;
    browser.click("#dialog #do-it").await;
    browser
        .sees("This run was started as the other one was.")
        .await;
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;

    for (name, said) in [
        ("Cancel", "The run was"),
        ("End by force", "The run was ended by force."),
    ] {
        let run = scene.start("step-wait-step", "null").await;
        scene.is(run, Status::Suspended).await;
        browser.open(&format!("/runs/{run}")).await;
        // Whoever does not mean it leaves it.
        press(name).await;
        browser.click_text("#dialog a", "Leave it").await;
        browser
            .until("!document.getElementById('dialog').open")
            .await;
        scene.is(run, Status::Suspended).await;
        press(name).await;
        browser.click("#dialog #do-it").await;
        browser.sees(said).await;
        scene.is(run, Status::Cancelled).await;
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_found_by_status_labels_words_and_pages() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    for n in 0..60 {
        let options = StartOptions::default().label("number", n.to_string());
        scene.start_with("counted-steps", "1", options).await;
    }
    let bad = scene.start("fail-with", "\"the card was declined\"").await;
    scene.is(bad, Status::Failed).await;
    scene
        .database
        .until(
            "all have ended",
            "select not exists (select from dacapo.run where status = 'active')",
        )
        .await;
    browser.open("/runs").await;
    let rows = "document.querySelectorAll('.runs tbody tr').length";
    browser.until(&format!("{rows} === 50")).await;
    browser.click_text(".pager a", "Older").await;
    browser.until(&format!("{rows} === 11")).await;
    browser.click_text(".pager a", "Newer").await;
    browser.until(&format!("{rows} === 50")).await;
    browser.click("#t-failed").await;
    browser.until(&format!("{rows} === 1")).await;
    browser.sees("the card was declined").await;
    browser.open("/runs").await;
    browser.write("input[name=failure]", "declin").await;
    browser.click(".filter > button").await;
    browser.until(&format!("{rows} === 1")).await;
    browser.open("/runs").await;
    browser.write("input[name=labels]", "number=7").await;
    browser.click(".filter > button").await;
    browser.until(&format!("{rows} === 1")).await;
    browser.click(".runs .label").await;
    browser.until(&format!("{rows} === 1")).await;
    // What cannot be asked for is said, and what was asked for is still there.
    browser.open("/runs?labels=odd").await;
    browser.sees("expected name=value").await;
    assert_eq!(
        browser
            .run("return document.querySelector('input[name=labels]').value")
            .await,
        "odd"
    );
    browser.open("/runs?workflow=nothing-like-it").await;
    browser.sees("there is no workflow").await;
    browser.open("/runs?labels=a%3Db").await;
    browser.sees("No run fits").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_five_thousand_steps_is_shown_in_pages() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let run = scene.start("counted-steps", "5000").await;
    // Somebody looks on while its journal grows.
    browser.open(&format!("/runs/{run}")).await;
    browser.run("window.notReloaded = true").await;
    scene.is(run, Status::Completed).await;
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;
    browser.sees("Page 1 of 25").await;
    assert_eq!(browser.run("return window.notReloaded").await, true);
    let began = std::time::Instant::now();
    browser.open(&format!("/runs/{run}")).await;
    browser
        .until("document.querySelectorAll('.row').length === 200")
        .await;
    browser.sees("Page 1 of 25").await;
    println!(
        "a run of 5,000 steps was shown after {} ms",
        began.elapsed().as_millis()
    );
    browser.click_text(".pager a", "Last").await;
    browser.sees("Page 25 of 25").await;
    browser.click_text(".pager a", "Earlier").await;
    browser.sees("Page 24 of 25").await;
    browser.click(".row summary").await;
    browser
        .until("document.querySelector('.row .inside dl')")
        .await;
    browser.photograph("many-steps").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_children_attempts_and_waits_stand_in_the_time_line() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let run = scene.start("branches.nested", "null").await;
    scene.database.done(run).await;
    browser.open(&format!("/runs/{run}")).await;
    browser
        .until("document.querySelectorAll('.row .name.d3').length >= 4")
        .await;
    browser.photograph("branches").await;
    browser
        .click_text(".timeline a", "Even out long waits")
        .await;
    browser.click_text(".timeline a", "True lengths").await;
    browser.until("!location.search.includes('even')").await;

    let input = r#"{"workflow": "children.square", "input": "3"}"#;
    let run = scene.start("children.runs-child", input).await;
    scene.database.done(run).await;
    browser.open(&format!("/runs/{run}")).await;
    browser
        .until("document.querySelector('.row use[href=\"#i-child\"]')")
        .await;
    browser
        .run("document.querySelector('.row:has(use[href=\"#i-child\"]) summary').click()")
        .await;
    browser.sees("children.square").await;
    // The child's own time line, within its parent's.
    browser
        .until("document.querySelector('.inside .timeline .row')")
        .await;
    browser.photograph("child").await;
    // The child knows its parent.
    browser.click(".inside dd a").await;
    browser.sees("child of").await;

    let input = r#"{"bad": 2, "attempts": 3, "backoffMs": 50, "how": "fail"}"#;
    let run = scene.start("flaky", input).await;
    scene.database.done(run).await;
    browser.open(&format!("/runs/{run}")).await;
    browser
        .until("document.querySelectorAll('.row .b-failed').length === 2")
        .await;
    browser.click(".row summary").await;
    browser.sees("Attempt 2 failed").await;
    browser.photograph("attempts").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_and_filtered_by_level() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let run = scene.start("outside.logs", "null").await;
    scene.is(run, Status::Suspended).await;
    browser.open(&format!("/runs/{run}")).await;
    browser
        .until("document.querySelectorAll('.log li.l-error').length >= 2")
        .await;
    let before = browser
        .run("return document.querySelectorAll('.log li').length")
        .await;
    scene
        .database
        .client
        .send_event(run, "go", "1", None)
        .await
        .unwrap();
    browser
        .until(&format!(
            "document.querySelectorAll('.log li').length > {before}"
        ))
        .await;
    browser.choose("#logs select[name=level]", "error").await;
    browser.until("document.querySelectorAll('.log .level').length && [...document.querySelectorAll('.log .level')].every(one => one.innerText === 'error')").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_queues_workers_and_deployments_are_seen_and_steered() {
    let scene = Scene::with(&["probe", "order"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let client = &scene.database.client;
    browser.open("/schedules").await;
    browser.sees("No schedules").await;
    let when = When::Every(Duration::from_secs(3_600));
    let mut new = NewSchedule::new("nightly & co", "counted-steps", when);
    new.input = "2".to_owned();
    client.create_schedule(new).await.unwrap();
    browser.open("/schedules").await;
    browser.click_text(".schedule button", "Pause").await;
    browser.click("#dialog #do-it").await;
    browser.sees("The schedule is paused").await;
    assert!(client.schedule("nightly & co").await.unwrap().paused);
    browser.click_text(".schedule button", "Resume").await;
    browser.click("#dialog #do-it").await;
    browser.sees("goes on with its next tick").await;
    browser.click_text(".schedule button", "Run now").await;
    browser.click("#dialog #do-it").await;
    browser.sees("The run was started.").await;
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;

    client.set_queue("mail", Default::default()).await.unwrap();
    client.pause_queue("mail").await.unwrap();
    for _ in 0..5 {
        scene
            .start_with("counted-steps", "1", StartOptions::default().queue("mail"))
            .await;
    }
    browser.open("/queues").await;
    browser.sees("mail").await;
    browser.until("[...document.querySelectorAll('.panel')].some(one => one.innerText.includes('mail') && /Waiting\\s*5/.test(one.innerText))").await;
    browser.photograph("queues").await;
    browser.click_text(".panel button", "Resume").await;
    browser.click("#dialog #do-it").await;
    browser.sees("The queue goes on.").await;
    browser.until("[...document.querySelectorAll('.panel')].some(one => one.innerText.includes('mail') && /Waiting\\s*0/.test(one.innerText))").await;

    browser.open("/workers").await;
    browser.sees("alive").await;
    browser.open("/deployments").await;
    browser.click_text("td a", "shop:orders #1").await;
    browser.sees("dacapo deploy --upgrade proven").await;
    browser.sees("shop:orders/orders.place").await;
    browser.open("/workflows").await;
    browser.sees("orders.place").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

/// What a browser without scripts does: it follows links, and sends forms.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_found_and_cancelled_and_another_one_started_without_scripts() {
    let scene = Scene::without_worker(&["probe"]).await;
    let run = scene.start("step-wait-step", "null").await;
    let list = scene.answer("GET", "/runs", "", "").await.1;
    assert!(list.contains(&format!("href=\"/runs/{run}\"")), "{list}");
    let page = scene.answer("GET", &format!("/runs/{run}"), "", "").await.1;
    let page = page.replace("&#x2f;", "/");
    let ask = format!("/runs/{run}/do/cancel");
    assert!(
        page.contains(&format!("action=\"{ask}\" method=\"get\"")),
        "{page}"
    );
    // A page of its own, where a script would have shown a dialog.
    let form = scene.answer("GET", &ask, "", "").await.1;
    assert!(
        form.contains("<nav aria-label=\"Pages\">") && form.contains("method=\"post\""),
        "{form}"
    );
    let between = |text: &str, from: &str, until: &str| {
        let (_, rest) = text.split_once(from).unwrap();
        rest.split_once(until).unwrap().0.to_owned()
    };
    let token = between(&form, "name=\"token\" value=\"", "\"");
    let cookie = between(&form, "set-cookie: ", ";");
    let headers =
        format!("content-type: application/x-www-form-urlencoded\r\ncookie: {cookie}\r\n");
    let body = format!("token={token}&reason=tired");
    assert_eq!(scene.answer("POST", &ask, &headers, &body).await.0, 303);
    scene.is(run, Status::Cancelled).await;

    let start = "/start/test:probe/durable.events";
    let with = async |more: &str| {
        let body = format!("token={token}&{more}");
        scene.answer("POST", start, &headers, &body).await
    };
    // A button of the form adds an item, by which the form comes again with one more.
    let (status, form) = with("input%23=1&input%5B0%5D=a&change=add+input").await;
    assert_eq!(status, 200);
    assert!(form.contains("name=\"input[1]\""), "{form}");
    let (status, answer) = with("input%23=2&input%5B0%5D=a&input%5B1%5D=b").await;
    assert_eq!(status, 303, "{answer}");
    let page = scene
        .database
        .client
        .list(Default::default())
        .await
        .unwrap();
    assert_eq!(page.items[0].input.as_str(), r#"["a","b"]"#);
}
