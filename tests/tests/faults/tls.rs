//! Nobody listens between workers and the server, or says that it is the server.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use dacapo_tests::{Again, Workload, dacapo_binary};

use crate::private::{Private, migrated, private, sql, until};

/// An authority, and a certificate of it for `localhost`: `NAME.ca`, `NAME.crt` and `NAME.key`. No: there is no program that makes them.
fn certificates(directory: &Path, name: &str) -> bool {
    let file = |end: &str| format!("{name}.{end}");
    std::fs::write(
        directory.join(file("ext")),
        "subjectAltName=DNS:localhost\n",
    )
    .unwrap();
    let key = ["-newkey", "rsa:2048", "-nodes", "-keyout"];
    let authority = [
        &["req", "-x509", "-days", "2", "-subj", "/CN=authority"][..],
        &key,
        &[&file("cakey"), "-out", &file("ca")],
    ];
    let request = [
        &["req", "-new", "-subj", "/CN=localhost"][..],
        &key,
        &[&file("key"), "-out", &file("csr")],
    ];
    let signed = [
        &["x509", "-req", "-days", "2", "-set_serial", "7"][..],
        &[
            "-in",
            &file("csr"),
            "-out",
            &file("crt"),
            "-extfile",
            &file("ext"),
        ],
        &["-CA", &file("ca"), "-CAkey", &file("cakey")],
    ];
    for arguments in [authority.concat(), request.concat(), signed.concat()] {
        let made = Command::new("openssl")
            .args(&arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output();
        let Ok(made) = made else {
            println!("left out: openssl is not installed");
            return false;
        };
        assert!(made.status.success(), "{made:?}");
    }
    true
}

/// Lets the server take connections by TCP only if they are encrypted.
async fn encrypt(private: &Private, directory: &Path) {
    let data = private.directory.path().join("cluster");
    for name in ["server.crt", "server.key"] {
        let file = data.join(name);
        std::fs::copy(directory.join(name), &file).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        private.hand_over(&file);
    }
    let rules = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
    std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
    let mut admin = private.admin().await;
    sql(&mut admin, "alter system set ssl = on").await;
    sql(&mut admin, "select pg_reload_conf()").await;
    until(
        &mut admin,
        "it has read that",
        "select current_setting('ssl')::boolean",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_commands_talk_to_the_server_that_its_certificate_names_and_to_no_other() {
    let directory = tempfile::tempdir().unwrap();
    if !certificates(directory.path(), "server") || !certificates(directory.path(), "other") {
        return;
    }
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port().to_string()
    };
    let private = private(&[("listen_addresses", "127.0.0.1"), ("port", &port)]).await;
    encrypt(&private, directory.path()).await;
    let root = |name: &str| directory.path().join(name).display().to_string();
    let url = |host: &str, rest: &str| format!("postgres://postgres@{host}:{port}/postgres?{rest}");
    let verified = url(
        "localhost",
        &format!("sslmode=verify-full&sslrootcert={}", root("server.ca")),
    );

    let mut workload = Workload::on(migrated(&verified).await).await;
    let worker = workload.worker().worker().await;
    for _ in 0..3 {
        workload.start_one().await;
    }
    workload.check(Again::Never).await;
    let all_are_encrypted: bool = sqlx::query_scalar(
        "select bool_and(ssl) and count(*) > 3 from pg_stat_ssl join pg_stat_activity using (pid)
        where application_name = 'dacapo'",
    )
    .fetch_one(workload.database.store.pool())
    .await
    .unwrap();
    assert!(all_are_encrypted);

    for (refused, why) in [
        (
            url(
                "localhost",
                &format!("sslmode=verify-full&sslrootcert={}", root("other.ca")),
            ),
            "certificate",
        ),
        // Its certificate says `localhost`.
        (
            url(
                "127.0.0.1",
                &format!("sslmode=verify-full&sslrootcert={}", root("server.ca")),
            ),
            "certificate",
        ),
        // The server's authority is none that everybody knows.
        (url("localhost", "sslmode=verify-full"), "certificate"),
        (url("localhost", "sslmode=disable"), "no encryption"),
    ] {
        let examined = Command::new(dacapo_binary())
            .args(["doctor", "--database-url", &refused])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&examined.stderr).into_owned();
        assert_eq!(examined.status.code(), Some(1), "{refused}: {said}");
        assert!(said.contains(why), "{refused}: {said}");
    }
    worker.kill().await;
}
