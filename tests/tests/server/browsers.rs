//! Browsers: signing in and out, what another site can make one do, what each answer tells one, and the page that only admins see.

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use dacapo_client::{Deed, DeedOutcome, Role, RunId, Scope, Status, Via};
use dacapo_server::AccessConfig;
use dacapo_tests::database;

use crate::site::{Site, get, team_a, text, with_payments, with_token};

/// The cookie that an answer sets.
pub(crate) fn cookie(response: &Response<Body>, name: &str) -> Option<String> {
    let cookies = response.headers().get_all(header::SET_COOKIE).into_iter();
    let cookies = cookies.map(|cookie| cookie.to_str().unwrap());
    let mut named = cookies.filter(|cookie| cookie.starts_with(name));
    named.next().map(str::to_owned)
}

fn with_cookie(mut request: Request<Body>, cookie: &str) -> Request<Body> {
    let pair = cookie.split(';').next().unwrap();
    request
        .headers_mut()
        .insert(header::COOKIE, pair.parse().unwrap());
    request
}

fn form(path: &str, fields: &str) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ORIGIN, "http://localhost:7007")
        .body(Body::from(fields.to_owned()))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_with_a_token_and_out_again() {
    let site = Site::new().await;
    let token = site.token(Role::Operate, Scope::default(), true).await;
    // Whoever comes from somewhere is led back there.
    let sent = site.ask(get("/runs?status=failed")).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        sent.headers()[header::LOCATION],
        "/sign-in?next=%2Fruns%3Fstatus%3Dfailed"
    );
    let page = site
        .ask(get("/sign-in?next=%2Fruns%3Fstatus%3Dfailed"))
        .await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = text(page).await.replace("&#x2f;", "/");
    assert!(
        page.contains("/runs?status=failed") && page.contains("secret"),
        "{page}"
    );

    let wrong = site.ask(form("/sign-in", "secret=dcp_no&next=/runs")).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(cookie(&wrong, "dacapo-session"), None);
    let fields = format!("secret=%20{token}%20&next=%2Fruns%3Fstatus%3Dfailed");
    let right = site.ask(form("/sign-in", &fields)).await;
    assert_eq!(right.status(), StatusCode::SEE_OTHER);
    assert_eq!(right.headers()[header::LOCATION], "/runs?status=failed");
    let session = cookie(&right, "dacapo-session").unwrap();
    assert!(
        session.contains("HttpOnly") && session.contains("SameSite=Lax"),
        "{session}"
    );
    assert!(
        !session.contains("Secure") && !session.contains(&token),
        "{session}"
    );
    for path in ["/runs", "/api/v1/runs"] {
        let seen = site.ask(with_cookie(get(path), &session)).await;
        assert_eq!(seen.status(), StatusCode::OK, "{path}");
    }
    // A page of another site can send the cookie along, and changes nothing.
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
    ] {
        for path in ["/api/v1/workflows/nothing/pause", "/sign-out"] {
            let request = Request::post(path).header(name, value);
            let request = with_cookie(request.body(Body::empty()).unwrap(), &session);
            let refused = site.ask(request).await;
            assert_eq!(
                refused.status(),
                StatusCode::FORBIDDEN,
                "{path} {name}: {value}"
            );
        }
    }
    let out = site.ask(with_cookie(form("/sign-out", ""), &session)).await;
    assert_eq!(out.status(), StatusCode::SEE_OTHER);
    assert!(
        cookie(&out, "dacapo-session")
            .unwrap()
            .contains("Max-Age=0")
    );
    let gone = site.ask(with_cookie(get("/api/v1/runs"), &session)).await;
    assert_eq!(gone.status(), StatusCode::UNAUTHORIZED);
    let actions = site
        .audit()
        .await
        .into_iter()
        .filter(|entry| entry.action.starts_with("sign"));
    let actions: Vec<_> = actions
        .map(|entry| (entry.action, entry.outcome, entry.via))
        .collect();
    let expected = [
        ("sign-out", "done", "session"),
        ("sign-in", "done", "session"),
        ("sign-in", "refused", "nobody"),
    ];
    assert_eq!(
        actions,
        expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_audit_is_for_admins_who_see_everything() {
    let (site, tokens) = Site::with_tokens().await;
    let limited = site.token(Role::Admin, team_a(), true).await;
    let page = async |token: &str, path: &str| {
        let response = site.ask(with_token(&Method::GET, path, token)).await;
        let status = response.status();
        (status, text(response).await.replace("&#x2f;", "/"))
    };
    let link = "<a href=\"/audit\"";
    for (role, token) in &tokens {
        let (status, _) = page(token, "/audit").await;
        let expected = match role {
            Role::Admin => StatusCode::OK,
            _ => StatusCode::FORBIDDEN,
        };
        assert_eq!(status, expected, "{role}");
        let (_, runs) = page(token, "/runs").await;
        assert_eq!(runs.contains(link), *role == Role::Admin, "{role}");
    }
    let (status, refused) = page(&limited, "/audit").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!refused.contains("<tbody>"), "{refused}");
    assert!(!page(&limited, "/runs").await.1.contains(link));
    let first = site.ask(get("/audit")).await;
    assert_eq!(first.status(), StatusCode::SEE_OTHER);

    // What is asked for is looked for, in pages.
    let admin = &tokens[&Role::Admin];
    let run = RunId::new();
    for n in 0..60 {
        let (who, target) = match n % 2 {
            0 => ("ann & co", run.to_string()),
            _ => ("bob", "mail".to_owned()),
        };
        let deed = Deed {
            who: Some(who.to_owned()),
            via: Via::Session,
            role: Some(Role::Operate),
            action: ["pauseRun", "resumeQueue"][n % 2].to_owned(),
            target: Some(target),
            outcome: [DeedOutcome::Done, DeedOutcome::Refused][n % 2],
            status: 200,
            address: Some("10.0.0.7".to_owned()),
        };
        site.database.client.note_deed(deed).await.unwrap();
    }
    let rows = |page: &str| page.matches("<td class=\"main\">").count();
    let (_, shown) = page(admin, "/audit").await;
    assert_eq!(rows(&shown), 50);
    let older = shown.split("href=\"").find(|part| part.contains(">Older"));
    let older = older.unwrap().split('"').next().unwrap().to_owned();
    let (_, shown) = page(admin, &older).await;
    // And those tokens that were made.
    assert_eq!(rows(&shown), 10 + tokens.len() + 1);
    assert!(
        shown.contains(">Newest<") && !shown.contains(">Older<"),
        "{shown}"
    );
    for (query, expected) in [
        ("who=bob", 30),
        ("who=ann+%26+co&outcome=done", 30),
        ("who=bob&outcome=done", 0),
        ("action=pauseRun&since=1h", 30),
        ("target=mail", 30),
        ("who=nobody", 0),
    ] {
        let (status, shown) = page(admin, &format!("/audit?{query}")).await;
        assert_eq!(
            (status, rows(&shown)),
            (StatusCode::OK, expected),
            "{query}"
        );
    }
    let (_, shown) = page(admin, &format!("/audit?target={run}")).await;
    assert!(shown.contains(&format!("href=\"/runs/{run}\"")), "{shown}");
    assert!(
        shown.contains("ann &amp; co") && shown.contains("who=ann+%26+co"),
        "{shown}"
    );
    for (query, why) in [
        ("outcome=odd", "expected done, refused or failed"),
        ("after=odd", "expected the number of an entry"),
        ("since=odd", "expected a time"),
    ] {
        let (status, shown) = page(admin, &format!("/audit?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert!(shown.contains(why), "{query}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_the_dashboard_carry_what_another_site_cannot_know() {
    let (site, [run, _]) = with_payments(&[]).await;
    let token = site.token(Role::Operate, Scope::default(), true).await;
    let right = site.ask(form("/sign-in", &format!("secret={token}"))).await;
    let session = cookie(&right, "dacapo-session").unwrap();
    let refused = site
        .ask(with_cookie(
            form(&format!("/runs/{run}/do/pause"), ""),
            &session,
        ))
        .await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let paused = site.database.client.get(run).await.unwrap();
    assert_eq!(paused.status, Status::Suspended);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_to_sign_in_again_and_again_has_to_wait() {
    let site = Site::new().await;
    let token = site.token(Role::Read, Scope::default(), true).await;
    for _ in 0..10 {
        let wrong = site.ask(form("/sign-in", "secret=dcp_no")).await;
        assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    }
    let late = site.ask(form("/sign-in", &format!("secret={token}"))).await;
    assert_eq!(late.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(late.headers().contains_key(header::RETRY_AFTER));
    let other = form("/sign-in", &format!("secret={token}"));
    let other = site.ask_from("10.0.0.8:1", other).await;
    assert_eq!(other.status(), StatusCode::SEE_OTHER);
    let refused = site.audit().await;
    let refused = refused
        .iter()
        .filter(|entry| entry.action == "sign-in" && entry.outcome == "refused");
    assert_eq!(refused.count(), 10, "what is kept waiting fills no table");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_believed_only_if_it_is_named() {
    let site = Site::with(database().await, |config| AccessConfig {
        trusted_proxies: vec![
            "10.0.0.1/32".parse().unwrap(),
            "fd00:7::/48".parse().unwrap(),
        ],
        ..config
    })
    .await;
    let token = site.token(Role::Read, Scope::default(), true).await;
    let sign_in = |forwarded: &str| {
        let mut request = form("/sign-in", &format!("secret={token}"));
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        request
    };
    let named = site
        .ask_from("10.0.0.1:1", sign_in("6.6.6.6, 192.0.2.7"))
        .await;
    let session = cookie(&named, "__Host-dacapo-session").unwrap();
    assert!(session.contains("; Secure"), "{session}");
    // A network; a proxy in it that another one has asked.
    let within = site
        .ask_from("[fd00:7::5]:1", sign_in("192.0.2.9, fd00:7::6"))
        .await;
    assert!(cookie(&within, "__Host-dacapo-session").is_some());
    let other = site.ask_from("[fd00:8::5]:1", sign_in("192.0.2.10")).await;
    assert!(cookie(&other, "dacapo-session").is_some());
    let other = site.ask_from("10.0.0.2:1", sign_in("192.0.2.8")).await;
    assert!(cookie(&other, "dacapo-session").is_some());
    let addresses = site
        .audit()
        .await
        .into_iter()
        .filter(|entry| entry.action == "sign-in");
    let addresses: Vec<_> = addresses.filter_map(|entry| entry.address).collect();
    assert_eq!(
        addresses,
        ["10.0.0.2", "fd00:8::5", "192.0.2.9", "192.0.2.7"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_do_nothing_that_a_page_of_ours_does_not_need() {
    let (site, [run, _]) = with_payments(&[]).await;
    let run = format!("/runs/{run}");
    for path in [
        "/",
        "/runs",
        &run,
        "/workflows",
        "/schedules",
        "/queues",
        "/sign-in",
        "/nothing/at/all",
        "/api/v1/runs",
        "/api/v1/openapi.json",
        "/api/v1/nothing",
        "/health/live",
        "/version",
    ] {
        let answer = site.ask(get(path)).await;
        let header = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap())
        };
        let policy = header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(header(name), Some(value), "{path}");
        }
        assert!(header("cache-control").is_some(), "{path}");
        assert_eq!(header("strict-transport-security"), None, "{path}");
    }
}
