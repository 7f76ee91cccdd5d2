//! A service that means harm to whoever asks it. It speaks HTTP no better than it has to.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// 10 MiB of zeros, packed twice: `gzip` takes them to 10 KiB, and that to so much.
const PACKED: [u8; 127] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 237, 216, 177, 17, 193, 0, 20, 0, 208, 31, 82, 132, 56, 70,
    160, 182, 7, 181, 198, 8, 41, 156, 33, 228, 46, 165, 198, 4, 216, 192, 12, 218, 156, 222, 217,
    1, 27, 16, 151, 49, 228, 222, 27, 227, 77, 247, 89, 44, 138, 124, 219, 107, 158, 215, 36, 137,
    136, 242, 240, 189, 188, 179, 97, 0, 0, 0, 0, 29, 87, 62, 170, 126, 155, 1, 49, 107, 238, 203,
    213, 26, 0, 0, 0, 232, 186, 205, 100, 60, 104, 47, 32, 253, 236, 94, 163, 92, 142, 0, 192, 63,
    56, 197, 109, 94, 31, 35, 206, 241, 3, 141, 121, 1, 252, 237, 39, 0, 0,
];

pub struct Service {
    port: u16,
}

impl Service {
    pub async fn start() -> Service {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asks goes away in the middle of most answers.
                tokio::spawn(async move { drop(answer(stream).await) });
            }
        });
        Service { port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// By its address.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// By a name that stands for its address.
    pub fn named(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }
}

/// Answers one request, as its path says.
async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let to = |location: &str| {
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
    };
    match path {
        "/metadata" => {
            let to = to("http://169.254.169.254/latest/meta-data/iam/security-credentials/");
            stream.write_all(to.as_bytes()).await
        }
        "/loop" => stream.write_all(to("/loop").as_bytes()).await,
        "/packed" => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                PACKED.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&PACKED).await
        }
        "/drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            drip(stream).await
        }
        "/slow-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await?;
            drip(stream).await
        }
        "/endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b'x'; 64 << 10]).await?;
            }
        }
        "/announced" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
                .await?;
            drip(stream).await
        }
        "/long-head" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ").await?;
            loop {
                stream.write_all(&[b'x'; 64 << 10]).await?;
            }
        }
        "/many-headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(b"x-many: x\r\n").await?;
            }
        }
        // Until whoever asked goes away.
        _ => stream.read_u8().await.map(drop),
    }
}

/// One byte at a time, for ever: what is slow is not the network.
async fn drip(mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(b"x").await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
