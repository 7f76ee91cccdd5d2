//! Each address that a request comes to is looked at.

use dacapo_tests::database;
use serde_json::{Value, json};

use super::{Service, ask, deploy, granting, output};
use crate::check::worker;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_stands_for_a_private_address_is_refused_unless_that_is_granted() {
    let (database, service) = (database().await, Service::start().await);
    deploy(&database, &granting(vec![service.named_grant(false)])).await;
    let worker = worker(&database).await;
    let input = ask(&service.named("/echo"), json!({}));
    let said = output(&database, "fetch", &input).await;
    assert!(
        said.starts_with("not-granted: localhost stands for ")
            && said.contains("write `private = true`"),
        "{said}"
    );
    let said = output(&database, "wasi-fetch", &input).await;
    assert!(said.contains("DestinationIpProhibited"), "{said}");
    assert!(service.seen().is_empty());
    // Another deployment is granted it, and its connections are not for the first one.
    let first = database.client.workflows().await.unwrap()[0]
        .deployment
        .number;
    deploy(&database, &granting(vec![service.named_grant(true)])).await;
    assert!(output(&database, "fetch", &input).await.starts_with("200 "));
    deploy(&database, &granting(vec![service.named_grant(false)])).await;
    assert!(
        output(&database, "fetch", &input)
            .await
            .starts_with("not-granted: ")
    );
    assert_eq!((first, service.seen().len()), (1, 1));
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_redirect_is_checked_like_a_request_of_its_own() {
    let (database, service) = (database().await, Service::start().await);
    let named = service.named_grant(false);
    deploy(&database, &granting(vec![service.grant(), named])).await;
    let worker = worker(&database).await;
    let to = |url: &str| service.url(&format!("/to?{url}"));
    let fetch = async |url: String, more: Value| output(&database, "fetch", &ask(&url, more)).await;

    let metadata = fetch(to("http://169.254.169.254/latest/meta-data"), json!({})).await;
    assert!(
        metadata.starts_with(
            "not-granted: 127.0.0.1 leads on: requests to 169.254.169.254 are not granted"
        ),
        "{metadata}"
    );
    // The name is granted, the address that it stands for is not.
    let private = fetch(to(&service.named("/echo")), json!({})).await;
    assert!(
        private.starts_with("not-granted: localhost stands for "),
        "{private}"
    );
    let file = fetch(to("file:///etc/passwd"), json!({})).await;
    assert!(file.contains("expected https or http, got file"), "{file}");
    assert!(service.seen().iter().all(|seen| seen.path == "/to"));

    assert!(
        fetch(to("/echo"), json!({}))
            .await
            .starts_with("200 GET /echo")
    );
    assert!(
        fetch(to("/echo"), json!({ "redirects": 0 }))
            .await
            .starts_with("302 ")
    );
    assert!(
        fetch(to("/echo"), json!({ "method": "POST" }))
            .await
            .starts_with("302 ")
    );
    let before = service.seen().len();
    let circle = fetch(to("/to?/to"), json!({ "redirects": 3 })).await;
    // The second one leads to itself.
    assert!(
        circle.starts_with("302 ") || circle.contains("led on more than 3 times"),
        "{circle}"
    );
    assert!(service.seen().len() - before <= 4);
    // `wasi:http` follows none.
    assert!(
        output(&database, "wasi-fetch", &ask(&to("/echo"), json!({})))
            .await
            .starts_with("302 ")
    );
    worker.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_meant_for_one_host_is_not_sent_along_to_another() {
    let (database, service) = (database().await, Service::start().await);
    deploy(
        &database,
        &granting(vec![service.grant(), service.named_grant(true)]),
    )
    .await;
    let worker = worker(&database).await;
    let headers = json!([
        { "name": "authorization", "value": "Bearer of its own" },
        { "name": "x-note", "value": "kept" },
    ]);
    for (url, authorization) in [
        (service.url("/echo"), "Bearer of its own"),
        (service.named("/echo"), "-"),
    ] {
        let input = ask(
            &service.url(&format!("/to?{url}")),
            json!({ "headers": headers }),
        );
        let said = output(&database, "fetch", &input).await;
        assert!(
            said.contains(&format!("authorization={authorization} x-note=kept")),
            "{said}"
        );
    }
    worker.drain().await.unwrap();
}
