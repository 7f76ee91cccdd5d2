//! Forms that are made from types.

use dacapo_client::Status;

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_started_by_a_form_that_grows_with_its_lists_and_says_where_it_is_wrong() {
    let scene = Scene::with(&["order"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    browser.open("/workflows").await;
    browser
        .click("a[aria-label='Start shop:orders/orders.place']")
        .await;
    browser.write("[name='input.number']", "many").await;
    browser.write("[name='input.customer']", "Ada \"<b>").await;
    browser.click_text("button", "Add an item").await;
    browser
        .until("document.querySelectorAll('.item').length === 1")
        .await;
    // What was written before is still there.
    assert_eq!(
        browser
            .run("return document.getElementById('f-input.customer').value")
            .await,
        "Ada \"<b>"
    );
    browser.click_text("button", "Add an item").await;
    browser
        .until("document.querySelectorAll('.item').length === 2")
        .await;
    browser.write("[name='input.items[0].sku']", "tea").await;
    browser.write("[name='input.items[0].quantity']", "2").await;
    browser.write("[name='input.items[1].sku']", "cup").await;
    browser
        .write("[name='input.items[1].quantity']", "-1")
        .await;
    browser.click("#do-it").await;
    browser
        .until("document.querySelectorAll('.wrong').length === 2")
        .await;
    browser
        .until("document.getElementById('f-input.number-error').innerText.includes('expected u32')")
        .await;
    browser
        .until("document.getElementById('f-input.items[1].quantity-error')")
        .await;
    browser.photograph("start-wrong").await;
    // The second item goes, and the first stays.
    browser
        .click(".item:nth-of-type(2) > button, .item + .item > button")
        .await;
    browser
        .until("document.querySelectorAll('.item').length === 1")
        .await;
    browser.write("[name='input.number']", "7").await;
    // The other way shows the same.
    browser.click_text("button", "As JSON").await;
    browser.until("document.getElementById('json').value.includes('\"sku\": \"tea\"') || document.getElementById('json').value.includes('\"sku\":\"tea\"')").await;
    browser.click_text("button", "As a form").await;
    browser
        .until("document.getElementById('f-input.items[0].sku').value === 'tea'")
        .await;
    browser.click(".options summary").await;
    browser
        .write("textarea[name=labels]", "tenant=a\nkind=b")
        .await;
    browser.write("input[name=key]", "order-7").await;
    browser.photograph("start").await;
    browser.click("#do-it").await;
    browser.sees("The run was started.").await;
    let page = scene
        .database
        .client
        .list(Default::default())
        .await
        .unwrap();
    let run = page
        .items
        .iter()
        .find(|run| run.workflow.ends_with("orders.place"))
        .unwrap();
    assert_eq!(run.labels.len(), 2);
    let input: serde_json::Value = serde_json::from_str(run.input.as_str()).unwrap();
    assert_eq!(
        input,
        serde_json::json!({ "number": 7, "customer": "Ada \"<b>", "items": [{ "sku": "tea", "quantity": 2 }] })
    );
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_that_a_parameter_may_have_can_be_filled_in() {
    let scene = Scene::with(&["probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    browser.open("/start/test:probe/shapes.echo").await;
    let sent = serde_json::json!({
        "scalars": {
            "truth": true, "tiny": -1, "small": 2, "middle": -3, "large": "-9007199254740993", "uTiny": 1, "uSmall": 2, "uMiddle": 3,
            "uLarge": "18446744073709551615", "single": 1.5, "double": 2.25, "letter": "é", "text": "a\nb <i>",
        },
        "bytes": "AAE=", "words": ["x", ""], "table": [[1, 2], []], "pair": [1, "p"], "maybe": 4, "maybeMaybe": { "some": null },
        "shape": { "tag": "polygon", "val": [{ "x": 1, "y": -1 }] },
        "shapes": [{ "tag": "empty" }, { "tag": "named", "val": ["n", { "x": 0, "y": 0 }] }],
        "colour": "dark-blue", "permission": ["read", "run-it"], "outcome": { "err": "no" }, "outcomeOk": { "ok": 1 },
        "outcomeErr": { "ok": null }, "outcomeBare": { "err": null },
    });
    browser.click_text("button", "As JSON").await;
    browser.until("document.getElementById('json')").await;
    let script = format!(
        "document.getElementById('json').value = {}",
        serde_json::json!(sent.to_string())
    );
    browser.run(&script).await;
    browser.click_text("button", "As a form").await;
    browser
        .until("document.getElementById('f-input.shape')")
        .await;
    browser.photograph("shapes").await;
    // A case with another payload, by the keyboard's way: the form shows its fields.
    browser.choose("[id='f-input.shape']", "circle").await;
    browser
        .until("document.getElementById('f-input.shape.val')")
        .await;
    browser.write("[id='f-input.shape.val']", "2.5").await;
    browser.choose("[id='f-input.maybe']", "none").await;
    browser.click("#do-it").await;
    browser.sees("The run was started.").await;
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;
    let page = scene
        .database
        .client
        .list(Default::default())
        .await
        .unwrap();
    let output: serde_json::Value =
        serde_json::from_str(page.items[0].output.as_ref().unwrap().as_str()).unwrap();
    let mut expected = sent;
    expected["shape"] = serde_json::json!({ "tag": "circle", "val": 2.5 });
    expected["maybe"] = serde_json::Value::Null;
    assert_eq!(output, expected);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_a_type_is_sent_by_a_form_and_one_without_as_json() {
    let scene = Scene::with(&["order", "probe"]).await;
    let Some(browser) = scene.browser().await else {
        return;
    };
    let run = scene.start("step-wait-step", "null").await;
    scene.is(run, Status::Suspended).await;
    browser.open(&format!("/runs/{run}")).await;
    browser.click_text(".buttons button", "Send event").await;
    // The one that it waits for is there already.
    browser
        .until("document.querySelector('#dialog input[name=event]').value === 'go'")
        .await;
    browser.write("#dialog textarea[name=json]", "{").await;
    browser.click("#dialog #do-it").await;
    browser.sees("not JSON").await;
    browser.write("textarea[name=json]", "\"yes\"").await;
    browser.click("#do-it").await;
    browser.sees("The event was sent.").await;
    browser
        .until("document.querySelector('h1 .status').innerText === 'completed'")
        .await;

    let run = scene
        .start(
            "orders.place",
            r#"{"number": 1, "customer": "a", "items": []}"#,
        )
        .await;
    scene.is(run, Status::Suspended).await;
    browser.open(&format!("/runs/{run}")).await;
    browser.click_text(".buttons button", "Send event").await;
    browser
        .write("#dialog [name='payload.reference']", "r-1")
        .await;
    browser.photograph("event").await;
    browser.click("#dialog #do-it").await;
    browser.sees("The event was sent.").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.quit().await;
}
