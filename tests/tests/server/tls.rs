//! TLS, over a network: the handshake, and a certificate that is exchanged while the server runs.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dacapo_server::{Router, Server, Tls, TlsError};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

fn pem(what: &str, der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        lines.join("\n")
    )
}

/// Writes a new certificate for `localhost` and its key.
fn write(directory: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    std::fs::write(directory.join("cert.pem"), pem("CERTIFICATE", &certificate)).unwrap();
    let key = made.signing_key.serialize_der();
    std::fs::write(directory.join("key.pem"), pem("PRIVATE KEY", &key)).unwrap();
    certificate
}

/// What the server answers to whoever trusts this certificate alone.
async fn ask(port: u16, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await?;
    let request = b"GET /from HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn from(
    axum::extract::ConnectInfo(address): axum::extract::ConnectInfo<std::net::SocketAddr>,
) -> String {
    address.ip().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_speaks_tls_and_shows_a_new_certificate_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let first = write(directory.path());
    let (certificate, key) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    let tls = Tls::read(&certificate, &key).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let server = server.with_tls(tls.clone());
    let port = server.address().port();
    let routes = Router::new().route("/from", axum::routing::get(from));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(routes, async move { drop(stopped.await) }));
    // One who says nothing keeps nobody else waiting.
    let _silent = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let answer = ask(port, &first).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"),
        "{answer}"
    );
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain
        .write_all(b"GET /from HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    let second = write(directory.path());
    assert!(
        ask(port, &second).await.is_err(),
        "the new one is not read yet"
    );
    tls.reload().unwrap();
    assert!(ask(port, &second).await.is_ok());
    assert!(ask(port, &first).await.is_err());
    // What cannot be used leaves all as it was.
    std::fs::write(&key, "nothing").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Content { .. })));
    assert!(ask(port, &second).await.is_ok());
    drop(stop);
    serving.await.unwrap().unwrap();
}

#[test]
fn a_certificate_that_is_none_is_refused_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path());
    let (certificate, key) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    let said =
        |certificate: &Path, key: &Path| Tls::read(certificate, key).unwrap_err().to_string();
    assert!(said(&key, &key).contains("key.pem: expected certificates in PEM"));
    assert!(said(&certificate, &certificate).contains("cert.pem: expected a private key in PEM"));
    assert!(said(&directory.path().join("none"), &key).contains("cannot read"));
    let other = tempfile::tempdir().unwrap();
    write(other.path());
    assert!(said(&certificate, &other.path().join("key.pem")).contains("cannot be used"));
}
