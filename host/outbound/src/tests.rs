//! Requests to a service on the loopback that answers word for word what a test has it say.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dacapo_model::{Failure, HttpGrant, HttpSettings, Manifest, SecretGrant, SecretName};
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{
    Body, BodyError, FetchRequest, FetchResponse, Grants, Outbound, OutboundConfig, Refused,
    Secrets, Sending, StepOver,
};

const SECRET: &str = "S3cret-Value";

struct Service {
    listener: TcpListener,
}

/// A connection on which the head of a request has come.
struct Connection {
    stream: TcpStream,
    came: Vec<u8>,
}

impl Service {
    async fn start() -> Service {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Service { listener }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port())
    }

    fn grants(&self, http: HttpSettings) -> Arc<Grants> {
        let allow = format!("127.0.0.1:{}", self.port());
        let secret = SecretGrant {
            hosts: vec!["127.0.0.1".to_owned().try_into().unwrap()],
            reveal: false,
        };
        Arc::new(Grants::new(&Manifest {
            http: Some(HttpSettings {
                allow: vec![HttpGrant::parse(&allow).unwrap()],
                ..http
            }),
            secrets: [(SecretName::parse("key").unwrap(), secret)].into(),
            ..Manifest::default()
        }))
    }

    async fn request(&self) -> Connection {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut came = Vec::new();
        while !came.windows(4).any(|four| four == b"\r\n\r\n") {
            came.push(stream.read_u8().await.unwrap());
        }
        Connection { stream, came }
    }

    async fn answer(&self, head: &str, body: &str) -> Vec<u8> {
        let mut connection = self.request().await;
        let length = body.len();
        connection
            .say(&format!(
                "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}"
            ))
            .await;
        connection.came
    }
}

impl Connection {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// All that comes on it until it is closed.
    async fn rest(mut self) -> String {
        let mut rest = Vec::new();
        // One that is reset is closed, too.
        let _ = self.stream.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn outbound(config: OutboundConfig) -> Outbound {
    let variables = [("DACAPO_SECRET_KEY".to_owned(), SECRET.to_owned())];
    Outbound::new(config, Secrets::new(variables, None), Handle::current()).unwrap()
}

fn get(url: String) -> FetchRequest {
    FetchRequest {
        method: "GET".to_owned(),
        url,
        headers: Vec::new(),
        body: None,
        timeout: None,
        response_max_bytes: None,
        redirects_max: 10,
    }
}

async fn fetch(grants: &Arc<Grants>, request: FetchRequest) -> Result<FetchResponse, Refused> {
    let outbound = outbound(OutboundConfig::default());
    let over = StepOver::default();
    outbound.fetch(grants, request, &over).await
}

fn failure(refused: Refused) -> Failure {
    match refused {
        Refused::Failure(failure) => failure,
        Refused::NotGranted(message) => Failure::new("not-granted", message),
        Refused::MissingSecret { message, .. } => panic!("{message}"),
    }
}

/// A body that comes as it is sent here.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0
            .poll_recv(cx)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Sends a request and reads the whole response.
async fn send(
    outbound: &Outbound,
    grants: &Arc<Grants>,
    url: &str,
    body: Body,
    sending: Sending,
) -> Result<Bytes, String> {
    let target = grants.target(url, "POST").unwrap();
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri().clone();
    let sent = outbound.send(&target, request, sending).await;
    let response = sent.map_err(|failure| format!("{}: {}", failure.code, failure.message))?;
    let body = response.into_body().collect().await;
    body.map(|body| body.to_bytes())
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_placeholder_is_filled_beside_any_characters() {
    let service = Service::start().await;
    let grants = service.grants(HttpSettings::default());
    let mut request = get(service.url());
    let value = "é {{dacapo.secret.key}} é".to_owned();
    request.headers.push(("x-note".to_owned(), value));
    let (fetched, came) = tokio::join!(fetch(&grants, request), service.answer("200 OK", ""));
    assert_eq!(fetched.unwrap().status, 200);
    let came = String::from_utf8(came).unwrap();
    assert!(
        came.contains(&format!("x-note: é {SECRET} é\r\n")),
        "{came}"
    );
}

#[tokio::test]
async fn a_secret_is_hidden_whoever_has_sent_it() {
    let service = Service::start().await;
    let grants = service.grants(HttpSettings::default());
    // Another worker has sent it: this one asks without.
    let told = format!("your key is {SECRET}");
    let answer = service.answer("200 OK", &told);
    let (fetched, _) = tokio::join!(fetch(&grants, get(service.url())), answer);
    assert_eq!(fetched.unwrap().body, b"your key is {{dacapo.secret.key}}");
}

#[tokio::test]
async fn a_redirect_that_is_refused_tells_no_secret() {
    let service = Service::start().await;
    let grants = service.grants(HttpSettings::default());
    for (location, code, said) in [
        (
            format!("http://{SECRET}.example.org/"),
            "not-granted",
            "a secret in it",
        ),
        (format!("{SECRET}:x"), "http-bad-request", "a secret in it"),
        (
            "http://S%33cret-Value.example.org/".to_owned(),
            "not-granted",
            "a secret in it",
        ),
        (
            format!("http://other.example.org/{SECRET}"),
            "not-granted",
            "a secret in it",
        ),
        (
            "http://other.example.org/".to_owned(),
            "not-granted",
            "requests to other.example.org are not granted",
        ),
        ("http://".to_owned(), "http-bad-request", "no url"),
    ] {
        let head = format!("302 Found\r\nlocation: {location}");
        let answer = service.answer(&head, "");
        let (fetched, _) = tokio::join!(fetch(&grants, get(service.url())), answer);
        let failure = failure(fetched.unwrap_err());
        let message = failure.message.to_lowercase();
        assert_eq!(failure.code, code, "{location}: {message}");
        assert!(message.contains(said), "{location}: {message}");
        assert!(!message.contains("s3cret"), "{location}: {message}");
    }
}

#[tokio::test]
async fn a_request_is_broken_off_when_its_step_ends() {
    let service = Service::start().await;
    let grants = service.grants(HttpSettings::default());
    let outbound = outbound(OutboundConfig::default());
    let over = StepOver::default();
    let sending = outbound.sending(&grants, None, None, &over);
    let url = service.url();
    let send = send(&outbound, &grants, &url, nothing(), sending);
    let served = async {
        let connection = service.request().await;
        over.set();
        connection.rest().await
    };
    let (sent, rest) = tokio::join!(send, served);
    let said = sent.unwrap_err();
    assert!(
        said.contains("the step that sent the request is over"),
        "{said}"
    );
    assert_eq!(rest, "");
}

#[tokio::test]
async fn nothing_more_of_a_body_is_sent_when_its_step_has_ended() {
    let service = Service::start().await;
    let grants = service.grants(HttpSettings::default());
    let outbound = outbound(OutboundConfig::default());
    let over = StepOver::default();
    let sending = outbound.sending(&grants, None, None, &over);
    let (pieces, body) = mpsc::unbounded_channel();
    pieces.send(Bytes::from_static(b"one")).unwrap();
    let url = service.url();
    let send = send(
        &outbound,
        &grants,
        &url,
        Pieces(body).boxed_unsync(),
        sending,
    );
    let served = async {
        let mut connection = service.request().await;
        while !connection.came.ends_with(b"one\r\n") {
            let byte = connection.stream.read_u8().await.unwrap();
            connection.came.push(byte);
        }
        // The head of the response is there before the request is, and its end never comes.
        connection
            .say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
            .await;
        over.set();
        pieces.send(Bytes::from_static(b"two")).unwrap_or_default();
        connection.rest().await
    };
    let (sent, rest) = tokio::join!(send, served);
    assert!(sent.is_err());
    assert!(!rest.contains("two"), "{rest}");
}

#[tokio::test]
async fn requests_wait_for_a_place_and_no_deployment_takes_all() {
    let service = Service::start().await;
    let outbound = outbound(OutboundConfig {
        requests_max: 2,
        ..OutboundConfig::default()
    });
    let (one, other) = (
        service.grants(HttpSettings::default()),
        service.grants(HttpSettings::default()),
    );
    let over = StepOver::default();
    let sending = |grants: &Arc<Grants>, ms| {
        outbound.sending(grants, Some(Duration::from_millis(ms)), None, &over)
    };
    let url = service.url();
    let held = send(&outbound, &one, &url, nothing(), sending(&one, 60_000));
    let others = async {
        let mut first = service.request().await;
        let crowded = send(&outbound, &one, &url, nothing(), sending(&one, 50)).await;
        let said = crowded.unwrap_err();
        assert!(
            said.starts_with("http-timeout: ") && said.contains("1 of its deployment, or 2 of the"),
            "{said}"
        );
        let beside = send(&outbound, &other, &url, nothing(), sending(&other, 60_000));
        let (beside, _) = tokio::join!(beside, service.answer("200 OK", "beside"));
        assert_eq!(beside.unwrap(), "beside");
        let next = send(&outbound, &one, &url, nothing(), sending(&one, 60_000));
        let free = async {
            first
                .say("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
            service.answer("200 OK", "next").await
        };
        let (next, _) = tokio::join!(next, free);
        assert_eq!(next.unwrap(), "next");
    };
    let (held, ()) = tokio::join!(held, others);
    assert_eq!(held.unwrap(), "");
}

#[tokio::test]
async fn time_is_the_guests_wish_or_the_manifests_or_the_workers_within_their_bounds() {
    let service = Service::start().await;
    let outbound = outbound(OutboundConfig {
        timeout_ms: 30_000,
        timeout_max_ms: 300_000,
        ..OutboundConfig::default()
    });
    let seconds = |manifest: Option<u64>, guest: Option<u64>| {
        let grants = service.grants(HttpSettings {
            timeout_ms: manifest.map(|seconds| seconds * 1_000),
            ..HttpSettings::default()
        });
        let over = StepOver::default();
        let before = Instant::now();
        let sending = outbound.sending(&grants, guest.map(Duration::from_secs), None, &over);
        (sending.deadline - before).as_secs()
    };
    // It is a little more than what is expected, since time goes on.
    for (manifest, guest, expected) in [
        (None, None, 30),
        (Some(120), None, 120),
        (Some(10), None, 10),
        (Some(600), None, 300),
        (None, Some(200), 200),
        (None, Some(u64::MAX), 300),
        (Some(120), Some(200), 120),
        (Some(120), Some(5), 5),
    ] {
        let got = seconds(manifest, guest);
        assert!(
            (expected..expected + 5).contains(&got),
            "{manifest:?} {guest:?}: {got}"
        );
    }
}

#[tokio::test]
async fn connecting_and_each_piece_of_a_response_have_a_time_of_their_own() {
    let service = Service::start().await;
    let grants = service.grants(HttpSettings::default());
    let outbound = outbound(OutboundConfig::default());
    let over = StepOver::default();
    let brief = Some(Duration::from_millis(100));
    // Whoever answers there speaks no TLS, and nothing else either.
    let url = format!("https://127.0.0.1:{}/", service.port());
    let mut sending = outbound.sending(&grants, None, None, &over);
    sending.connect_max = brief;
    let sent = send(&outbound, &grants, &url, nothing(), sending).await;
    assert_eq!(
        sent.unwrap_err(),
        "http-timeout: no connection to 127.0.0.1 stood in time"
    );
    let (silent, _) = service.listener.accept().await.unwrap();

    let mut sending = outbound.sending(&grants, None, None, &over);
    sending.between_max = brief;
    sending.connect_max = brief;
    let url = service.url();
    let sent = send(&outbound, &grants, &url, nothing(), sending);
    let served = async {
        let mut connection = service.request().await;
        connection
            .say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nx")
            .await;
        connection
    };
    let (sent, _connection) = tokio::join!(sent, served);
    assert_eq!(
        sent.unwrap_err(),
        "nothing more of the response came in time"
    );
    drop(silent);
}
