//! Services that use Dacapo: one beside the workers, one with a worker in itself.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use dacapo_tests::database;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::check::{sound, worker};

async fn call(router: &axum::Router, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_generated_types_starts_payments_once_and_settles_them() {
    let database = database().await;
    database.deploy("process_payment").await;
    let worker = worker(&database).await;
    let service = api_service::router(database.client.clone());
    let payment = json!({
        "orderId": 7, "amountCents": 1250, "currency": "eur", "items": [{"sku": "tea", "price": 1250}]
    });
    let (status, first) = call(&service, "POST", "/payments", payment.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{first}");
    let (status, again) = call(&service, "POST", "/payments", payment.clone()).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &first["id"]));
    let mut other = payment;
    other["amountCents"] = json!(1);
    let (status, conflict) = call(&service, "POST", "/payments", other).await;
    assert_eq!(status, StatusCode::CONFLICT, "{conflict}");

    let id = first["id"].as_str().unwrap();
    let settled = json!({"reference": "bank-1"});
    for _ in 0..2 {
        let (status, _) = call(
            &service,
            "POST",
            &format!("/payments/{id}/settled"),
            settled.clone(),
        )
        .await;
        assert_eq!(status, StatusCode::ACCEPTED);
        database.done(id.parse().unwrap()).await;
    }
    let (status, shown) = call(&service, "GET", &format!("/payments/{id}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&shown["status"], &shown["receipt"]["settlement"]),
        (&json!("completed"), &json!("bank-1")),
        "{shown}"
    );
    let nobody = "/payments/01920000-0000-7000-8000-000000000000";
    assert_eq!(
        call(&service, "GET", nobody, Value::Null).await.0,
        StatusCode::NOT_FOUND
    );
    worker.drain().await.unwrap();
    sound(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_play_what_it_starts() {
    let database = database().await;
    database.deploy("onboard_user").await;
    let user = monolith::NewUser {
        email: "ada@example.org".to_owned(),
        name: "Ada".to_owned(),
    };
    let account = monolith::onboard(database.store.clone(), &user)
        .await
        .unwrap();
    assert_eq!(account.email, "ada@example.org");
    // Its pool still works after its worker is gone.
    assert_eq!(
        database
            .count("select count(*) from dacapo.run where status = 'completed'")
            .await,
        1
    );
    sound(&database).await;
}
