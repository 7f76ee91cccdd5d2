//! A headless Chromium, driven by its own driver over the WebDriver protocol.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(30);

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What is installed, by the names that systems have for it.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
const DRIVERS: [&str; 1] = ["chromedriver"];

/// A browser with one window.
pub struct Browser {
    http: Client<HttpConnector, Full<Bytes>>,
    driver: Child,
    session: String,
    /// What this server's addresses begin with.
    site: String,
    clicks: AtomicU32,
}

/// The programs, if both are there.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |names: &[&str]| {
        let mut places = std::env::split_paths(&path)
            .flat_map(|directory| names.iter().map(move |name| directory.join(name)));
        places.find(|file| file.is_file())
    };
    Some((find(&BROWSERS)?, find(&DRIVERS)?))
}

/// A browser for the site at this address; none where there is no browser and the environment says that this is all right.
pub async fn browser(site: &str) -> Option<Browser> {
    let Some((browser, driver)) = programs() else {
        let how = "there is no Chromium with its driver: type `apt-get install chromium chromium-driver`, or ./x setup";
        assert!(
            std::env::var("DACAPO_BROWSER").is_ok_and(|value| value == "none"),
            "{how}; with DACAPO_BROWSER=none the dashboard is not tested"
        );
        eprintln!("NOT TESTED: {how}");
        return None;
    };
    Some(Browser::start(&browser, &driver, site).await)
}

impl Browser {
    async fn start(browser: &Path, driver: &Path, site: &str) -> Self {
        let mut child = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap();
            let line = line.expect("the driver says where it listens");
            if let Some((_, port)) = line.rsplit_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Whatever it says must be read, or it would stop at a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let http = Client::builder(TokioExecutor::new()).build_http();
        let mut this = Self {
            http,
            driver: child,
            session: format!("http://127.0.0.1:{port}/session"),
            site: site.to_owned(),
            clicks: AtomicU32::new(0),
        };
        let options = json!({
            "binary": browser,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb",
                "--window-size=1280,900", "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
            ],
        });
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let session = this
            .post("", json!({ "capabilities": { "alwaysMatch": wanted } }))
            .await;
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        this.session = format!("{}/{id}", this.session);
        this
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .header("content-type", "application/json; charset=utf-8")
            .header("content-length", body.len())
            .body(Full::new(body))
            .unwrap();
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let is_good = answer.status().is_success();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
        let value = answer["value"].take();
        match is_good {
            true => Ok(value),
            false => Err(format!("{}: {}", value["error"], value["message"])),
        }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        match self.call("POST", path, Some(body)).await {
            Ok(value) => value,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Opens a page by its path.
    pub async fn open(&self, path: &str) {
        self.post("/url", json!({ "url": format!("{}{path}", self.site) }))
            .await;
    }

    /// What a script of the test finds out: the body of a function.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// The same for a script that hands its answer to its last argument.
    pub async fn run_async(&self, script: &str) -> Value {
        self.post("/execute/async", json!({ "script": script, "args": [] }))
            .await
    }

    /// Waits until an expression of JavaScript is true.
    pub async fn until(&self, expression: &str) {
        let script = format!("return Boolean({expression})");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            // A page that is being left has no answer.
            let answer = self
                .call(
                    "POST",
                    "/execute/sync",
                    Some(json!({ "script": script, "args": [] })),
                )
                .await;
            if answer == Ok(Value::Bool(true)) {
                return;
            }
            if tokio::time::Instant::now() > deadline {
                let page = self
                    .run("return location.href + '\\n' + document.body.innerText")
                    .await;
                panic!(
                    "gave up waiting until {expression} ({answer:?}); the page says:\n{}",
                    page.as_str().unwrap_or("")
                );
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until the page shows a text.
    pub async fn sees(&self, text: &str) {
        self.until(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ))
        .await;
    }

    async fn find(&self, selector: &str) -> String {
        self.until(&format!("document.querySelector({})", json!(selector)))
            .await;
        let found = self
            .post(
                "/element",
                json!({ "using": "css selector", "value": selector }),
            )
            .await;
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks what a selector finds first, as a person does: it must be seen, and nothing may lie over it.
    pub async fn click(&self, selector: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let element = self.find(selector).await;
            match self
                .call(
                    "POST",
                    &format!("/element/{element}/click"),
                    Some(json!({})),
                )
                .await
            {
                Ok(_) => break,
                // A live update has put another element in its place meanwhile.
                Err(error) if tokio::time::Instant::now() < deadline => {
                    assert!(
                        error.contains("stale")
                            || error.contains("interactable")
                            || error.contains("intercepted"),
                        "{selector}: {error}"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{selector}: {error}"),
            }
        }
        self.clicks.fetch_add(1, Ordering::Relaxed);
    }

    /// How often was clicked so far.
    pub fn clicks(&self) -> u32 {
        self.clicks.load(Ordering::Relaxed)
    }

    /// Clicks the first element of this kind whose text is this, and which is seen.
    pub async fn click_text(&self, selector: &str, text: &str) {
        let script = format!(
            "return [...document.querySelectorAll({})].find(one => one.textContent.trim() === {} && one.getClientRects().length) || null",
            json!(selector),
            json!(text)
        );
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let found = self
                .call(
                    "POST",
                    "/execute/sync",
                    Some(json!({ "script": script, "args": [] })),
                )
                .await;
            // A live update may put another one in its place at any time.
            if let Ok(found) = &found
                && let Some(element) = found[ELEMENT].as_str()
                && self
                    .call(
                        "POST",
                        &format!("/element/{element}/click"),
                        Some(json!({})),
                    )
                    .await
                    .is_ok()
            {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "there is no {selector} {text:?} to be clicked ({found:?}); the page says:\n{}",
                self.run("return location.href + '\\n' + document.body.innerText")
                    .await
                    .as_str()
                    .unwrap_or("")
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        self.clicks.fetch_add(1, Ordering::Relaxed);
    }

    /// Types into what a selector finds, in the place of what is there.
    pub async fn write(&self, selector: &str, text: &str) {
        let element = self.find(selector).await;
        self.post(&format!("/element/{element}/clear"), json!({}))
            .await;
        self.post(
            &format!("/element/{element}/value"),
            json!({ "text": text }),
        )
        .await;
    }

    /// Presses keys wherever the focus is.
    pub async fn press(&self, keys: &str) {
        let presses: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [
                    json!({ "type": "keyDown", "value": key.to_string() }),
                    json!({ "type": "keyUp", "value": key.to_string() }),
                ]
            })
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": presses });
        self.post("/actions", json!({ "actions": [keyboard] }))
            .await;
    }

    /// Chooses an option of a `select` as a person does.
    pub async fn choose(&self, selector: &str, option: &str) {
        self.until(&format!("document.querySelector({})", json!(selector)))
            .await;
        let script = format!(
            "const it = document.querySelector({}); it.value = {}; it.dispatchEvent(new Event('change', {{ bubbles: true }}));",
            json!(selector),
            json!(option)
        );
        self.run(&script).await;
    }

    /// Says something to the browser itself.
    async fn tell(&self, command: &str, parameters: Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
        .await
    }

    /// What the system says of light and dark.
    pub async fn prefers(&self, scheme: &str) {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.tell("Emulation.setEmulatedMedia", feature).await;
    }

    /// The window as large as this, as a phone where that is narrow.
    pub async fn size(&self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Keeps what is seen as `target/screenshots/NAME.png`.
    pub async fn photograph(&self, name: &str) {
        let png = self.call("GET", "/screenshot", None).await.unwrap();
        let png = base64::engine::general_purpose::STANDARD
            .decode(png.as_str().unwrap())
            .unwrap();
        let directory = target().join("screenshots");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), png).unwrap();
    }

    /// What the browser has complained of so far: errors of scripts, and what the policy of the pages forbids.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await;
        log.as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["level"] == "SEVERE")
            .filter_map(|entry| entry["message"].as_str())
            // Answers that say what is wrong with a form are no mistakes of ours.
            .filter(|message| !message.contains("the server responded with a status of 4"))
            .map(str::to_owned)
            .collect()
    }

    /// Ends it in good order.
    pub async fn quit(self) {
        self.call("DELETE", "", None).await.unwrap();
    }
}

/// Also where a test has failed: told to end, the driver ends its browser, too.
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(id) = self.driver.id()
            && let Ok(id) = i32::try_from(id)
        {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }
}

/// The directory of what is built.
pub fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from)
}
