//! Signing in with OpenID Connect, at a provider that is made here, with a key of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, body::Body, routing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use dacapo_server::OidcConfig;
use dacapo_tests::database;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::browsers::cookie;
use crate::site::{Site, get, text, with_oidc};

const CLIENT: &str = "dacapo";
const SECRET: &str = "a secret of the client";

/// A provider that says of whoever comes what it was told to say.
#[derive(Clone)]
struct Provider(Arc<Mutex<Told>>);

struct Told {
    issuer: String,
    key: EcdsaKeyPair,
    /// Another key, which the provider does not name.
    other_key: EcdsaKeyPair,
    /// What is said in the token, beside what every token says.
    claims: Value,
    /// What is changed about what every token says.
    mistake: Option<Mistake>,
    /// What was asked for, by the code that it was answered with.
    codes: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Key,
    Audience,
    Issuer,
    Nonce,
    Expired,
    NoToken,
}

fn key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self(Arc::new(Mutex::new(Told {
            issuer,
            key: key(),
            other_key: key(),
            claims: json!({}),
            mistake: None,
            codes: BTreeMap::new(),
        })));
        let routes = Router::new()
            .route("/.well-known/openid-configuration", routing::get(metadata))
            .route("/keys", routing::get(keys))
            .route("/token", routing::post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        provider
    }

    fn config(&self, rules: &[&str]) -> OidcConfig {
        OidcConfig {
            issuer: self.0.lock().unwrap().issuer.clone(),
            client_id: CLIENT.to_owned(),
            client_secret: Some(SECRET.to_owned()),
            public_url: "http://localhost:7007".to_owned(),
            scopes: vec!["email".to_owned(), "groups".to_owned()],
            rules: rules.iter().map(|rule| rule.parse().unwrap()).collect(),
        }
    }

    fn says(&self, claims: Value, mistake: Option<Mistake>) {
        let mut state = self.0.lock().unwrap();
        state.claims = claims;
        state.mistake = mistake;
    }

    /// Somebody has signed in at the provider, where a browser was sent to: what it is sent back with.
    fn vouch(&self, url: &str) -> (String, String) {
        let (start, query) = url.split_once('?').unwrap();
        let mut state = self.0.lock().unwrap();
        assert_eq!(start, format!("{}/authorize", state.issuer));
        let asked: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(
            asked["redirect_uri"],
            "http://localhost:7007/sign-in/oidc/callback"
        );
        assert_eq!(asked["scope"], "openid email groups");
        let code = format!("code-{}", state.codes.len());
        let back = asked["state"].clone();
        state.codes.insert(code.clone(), asked);
        (code, back)
    }
}

async fn metadata(State(provider): State<Provider>) -> Json<Value> {
    let issuer = provider.0.lock().unwrap().issuer.clone();
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let state = provider.0.lock().unwrap();
    // An uncompressed point: 4, x, y.
    let point = state.key.public_key().as_ref();
    Json(json!({ "keys": [{
        "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": "one",
        "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..65]),
    }] }))
}

async fn token(
    State(provider): State<Provider>,
    headers: axum::http::HeaderMap,
    body: String,
) -> Response {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes())
        .into_owned()
        .collect();
    let mut state = provider.0.lock().unwrap();
    let basic = base64::engine::general_purpose::STANDARD;
    let secret = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
    let login = basic.encode(format!("{CLIENT}:{secret}"));
    let authorization = headers
        .get(header::AUTHORIZATION)
        .map(|value| value.to_str().unwrap());
    // A code counts once, and only with what its challenge is the hash of.
    let asked = state.codes.remove(&form["code"]);
    let challenge = BASE64.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    let asked = asked.filter(|asked| asked["code_challenge"] == challenge);
    let (Some(asked), true) = (asked, authorization == Some(&format!("Basic {login}"))) else {
        let error = json!({ "error": "invalid_grant" });
        return (StatusCode::BAD_REQUEST, Json(error)).into_response();
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mistake = state.mistake;
    let if_not = |wrong: Mistake, right: Value, other: Value| match mistake == Some(wrong) {
        true => other,
        false => right,
    };
    let mut claims = json!({
        "iss": if_not(Mistake::Issuer, json!(state.issuer), json!("https://evil.example")),
        "aud": if_not(Mistake::Audience, json!([CLIENT]), json!(["somebody else"])),
        "nonce": if_not(Mistake::Nonce, json!(asked["nonce"]), json!("another")),
        "exp": if_not(Mistake::Expired, json!(now + 300), json!(now - 300)),
        "iat": now - 1,
        "sub": "subject-7",
    });
    for (name, value) in state.claims.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let part = |part: &Value| BASE64.encode(part.to_string());
    let head = json!({ "alg": "ES256", "typ": "JWT", "kid": "one" });
    let signed = format!("{}.{}", part(&head), part(&claims));
    let key = match mistake {
        Some(Mistake::Key) => &state.other_key,
        _ => &state.key,
    };
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let id_token = format!("{signed}.{}", BASE64.encode(signature.as_ref()));
    let mut answer = json!({ "access_token": "a", "token_type": "Bearer", "expires_in": 300 });
    if mistake != Some(Mistake::NoToken) {
        answer["id_token"] = json!(id_token);
    }
    Json(answer).into_response()
}

async fn site(provider: &Provider, rules: &[&str]) -> Site {
    let config = provider.config(rules);
    Site::with(database().await, |access| with_oidc(access, config)).await
}

/// Begins, and answers with where the browser is sent and the cookie that it keeps.
async fn begin(site: &Site) -> (String, String) {
    let sent = site.ask(get("/sign-in/oidc?next=%2Fqueues")).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let to = sent.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned();
    let kept = cookie(&sent, "dacapo-sign-in").unwrap();
    assert!(kept.contains("HttpOnly"), "{kept}");
    (to, kept)
}

async fn come_back(site: &Site, code: &str, state: &str, kept: Option<&str>) -> Response<Body> {
    let uri = format!("/sign-in/oidc/callback?code={code}&state={state}");
    let mut request = Request::get(uri);
    if let Some(kept) = kept {
        request = request.header(header::COOKIE, kept.split(';').next().unwrap());
    }
    site.ask(request.body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_provider_knows_may_do_what_the_rules_say() {
    let provider = Provider::start().await;
    let site = site(&provider, &["*:read,no-payloads", "groups=ops:operate"]).await;
    // Nobody gets in without, although there is no token and this is loopback.
    assert_eq!(
        site.ask(get("/api/v1/runs")).await.status(),
        StatusCode::UNAUTHORIZED
    );
    let page = text(site.ask(get("/sign-in?next=%2Fqueues")).await).await;
    assert!(page.contains("/sign-in/oidc?next=%2Fqueues"), "{page}");
    let ann = json!({ "email": "ann@example.com", "email_verified": true, "groups": ["ops"] });
    for (claims, who, pauses) in [
        (ann, "ann@example.com", StatusCode::NOT_FOUND),
        (json!({}), "subject-7@127.0.0.1", StatusCode::FORBIDDEN),
    ] {
        provider.says(claims, None);
        let (to, kept) = begin(&site).await;
        let (code, state) = provider.vouch(&to);
        let back = come_back(&site, &code, &state, Some(&kept)).await;
        assert_eq!(back.status(), StatusCode::SEE_OTHER, "{who}");
        assert_eq!(back.headers()[header::LOCATION], "/queues");
        assert!(
            cookie(&back, "dacapo-sign-in")
                .unwrap()
                .contains("Max-Age=0")
        );
        let session = cookie(&back, "dacapo-session").unwrap();
        let session = session.split(';').next().unwrap();
        let ask = |request: axum::http::request::Builder| {
            let request = request.header(header::COOKIE, session);
            site.ask(request.body(Body::empty()).unwrap())
        };
        assert_eq!(
            ask(Request::get("/api/v1/runs")).await.status(),
            StatusCode::OK
        );
        let pause = Request::post("/api/v1/workflows/nothing/pause");
        assert_eq!(ask(pause).await.status(), pauses, "{who}");
        let noted = &site
            .database
            .client
            .audit(&Default::default())
            .await
            .unwrap()
            .items[0];
        assert_eq!(
            (noted.who.as_deref(), noted.via.as_str()),
            (Some(who), "oidc")
        );
        // The code counts once, and so does the way back.
        let again = come_back(&site, &code, &state, Some(&kept)).await;
        assert_ne!(again.status(), StatusCode::SEE_OTHER);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_did_not_say_for_us_signs_nobody_in() {
    let provider = Provider::start().await;
    let site = site(&provider, &["*:admin"]).await;
    for mistake in [
        Mistake::Key,
        Mistake::Audience,
        Mistake::Issuer,
        Mistake::Nonce,
        Mistake::Expired,
        Mistake::NoToken,
    ] {
        provider.says(json!({}), Some(mistake));
        let (to, kept) = begin(&site).await;
        let (code, state) = provider.vouch(&to);
        let back = come_back(&site, &code, &state, Some(&kept)).await;
        assert!(
            !back.status().is_success() && !back.status().is_redirection(),
            "{mistake:?}"
        );
        assert_eq!(cookie(&back, "dacapo-session"), None, "{mistake:?}");
    }
    provider.says(json!({}), None);
    let (to, kept) = begin(&site).await;
    let (code, state) = provider.vouch(&to);
    // Begun by somebody else, who would have this browser signed in as them.
    let stolen = come_back(&site, &code, &state, None).await;
    assert_eq!(stolen.status(), StatusCode::FORBIDDEN);
    let (_, other) = begin(&site).await;
    let stolen = come_back(&site, &code, &state, Some(&other)).await;
    assert_eq!(stolen.status(), StatusCode::FORBIDDEN);
    let back = come_back(&site, &code, &state, Some(&kept)).await;
    assert_eq!(back.status(), StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_in_vain_again_and_again_has_to_wait() {
    let provider = Provider::start().await;
    let site = site(&provider, &["*:admin"]).await;
    for _ in 0..10 {
        let wrong = come_back(&site, "code", "state", None).await;
        assert_eq!(wrong.status(), StatusCode::FORBIDDEN);
    }
    let (to, kept) = begin(&site).await;
    let (code, state) = provider.vouch(&to);
    let late = come_back(&site, &code, &state, Some(&kept)).await;
    assert_eq!(late.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(late.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(cookie(&late, "dacapo-session"), None);
    let refused = site.audit().await;
    let refused = refused.iter().filter(|entry| entry.outcome == "refused");
    assert_eq!(refused.count(), 10, "what is kept waiting fills no table");
    // From elsewhere the same code counts: the provider has not been asked about it.
    let uri = format!("/sign-in/oidc/callback?code={code}&state={state}");
    let pair = kept.split(';').next().unwrap();
    let other = Request::get(uri).header(header::COOKIE, pair);
    let other = other.body(Body::empty()).unwrap();
    let other = site.ask_from("10.0.0.8:1", other).await;
    assert_eq!(other.status(), StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_rule_fits_is_told_so() {
    let provider = Provider::start().await;
    let site = site(
        &provider,
        &["groups=ops:admin", "email=ann@example.com:admin"],
    )
    .await;
    // An address that nobody has verified is anybody's.
    provider.says(
        json!({ "email": "ann@example.com", "groups": ["dev"] }),
        None,
    );
    let (to, kept) = begin(&site).await;
    let (code, state) = provider.vouch(&to);
    let back = come_back(&site, &code, &state, Some(&kept)).await;
    assert_eq!(back.status(), StatusCode::FORBIDDEN);
    assert_eq!(cookie(&back, "dacapo-session"), None);
    let page = text(back).await;
    assert!(page.contains("subject-7@127.0.0.1"), "{page}");
    let noted = &site
        .database
        .client
        .audit(&Default::default())
        .await
        .unwrap()
        .items[0];
    assert_eq!(
        (noted.action.as_str(), noted.outcome.as_str()),
        ("sign-in", "refused")
    );
}
