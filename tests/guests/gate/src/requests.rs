//! Requests, through both interfaces.

use std::cell::RefCell;
use std::time::Duration;

use dacapo_guest::http::Request;
use dacapo_guest::tracing::info;
use dacapo_guest::{Failure, Fatal, Retry, context, reveal, step};

use crate::bindings::exports::test::gate::requests::{Ask, Flood, Guest};
use crate::{Gate, wasi};

impl Guest for Gate {
    fn fetch(ask: Ask) -> Result<String, String> {
        Ok(in_step(&ask, |ask| {
            Ok(text(request(ask).send().map(|it| (it.status, it.body))?))
        }))
    }

    fn wasi_fetch(ask: Ask) -> Result<String, String> {
        Ok(in_step(&ask, |ask| {
            wasi::fetch(ask)
                .map(text)
                .map_err(|error| Failure::fatal("wasi", error))
        }))
    }

    fn fetch_outside(url: String) -> String {
        told(
            dacapo_guest::http::get(url)
                .send()
                .map(|response| response.status.to_string()),
        )
    }

    fn wasi_fetch_outside(url: String) -> String {
        let ask = get(url);
        wasi::fetch(&ask).map_or_else(|error| error, text)
    }

    fn blabs(ask: Ask) -> Result<String, String> {
        blab(|| request(&ask).send().map(|it| text((it.status, it.body))))
    }

    fn wasi_blabs(ask: Ask) -> Result<String, String> {
        blab(|| {
            wasi::fetch(&ask)
                .map(text)
                .map_err(|error| Failure::fatal("wasi", error))
        })
    }

    fn reveals(name: String) -> Result<String, String> {
        Ok(told(step("reveal").run(|| Ok(reveal(&name)?))))
    }

    fn reveals_outside(name: String) -> String {
        told(reveal(&name))
    }

    fn keys() -> Result<Vec<String>, String> {
        let key = || context::idempotency_key().unwrap_or_else(|| "none".to_owned());
        let quick = Duration::from_millis(1);
        let mut keys = vec![key()];
        let tried = step("tried zwölf times")
            .attempts(2)
            .backoff(quick, 1.0, quick)
            .run_with(|attempt| {
                info!("effect {}", key());
                if attempt == 1 {
                    Err(Retry("not yet"))?;
                }
                Ok(key())
            })?;
        keys.push(tried);
        keys.push(step("other").run(|| Ok(key()))?);
        Ok(keys)
    }

    fn wasi_floods(flood: Flood) -> Result<String, String> {
        let begun: String = step("flood").attempts(1).run(|| {
            let mut begun = Vec::new();
            for _ in 0..flood.count {
                match wasi::begin(&get(flood.url.clone())) {
                    Ok(response) => begun.push(response),
                    Err(error) => return Ok(format!("{} {error}", begun.len())),
                }
            }
            Ok(begun.len().to_string())
        })?;
        Ok(begun)
    }

    fn wasi_smuggles(url: String) -> Result<String, String> {
        let smuggled = RefCell::new(None);
        step("begin").run(|| {
            *smuggled.borrow_mut() = Some(wasi::begin(&get(url)).map_err(Fatal)?);
            Ok(())
        })?;
        Ok(match smuggled.into_inner() {
            Some(response) => wasi::answer(&response).map_or_else(|error| error, text),
            None => "nothing".to_owned(),
        })
    }

    fn wasi_lingers(url: String) -> Result<String, String> {
        let kept = RefCell::new(None);
        let ask = Ask {
            method: Some("POST".to_owned()),
            ..get(url)
        };
        step("begin").attempts(1).run(|| {
            *kept.borrow_mut() = Some(wasi::begin_upload(&ask, b"one").map_err(Fatal)?);
            Ok(())
        })?;
        Ok(match kept.into_inner() {
            Some(upload) => wasi::go_on(upload, b"two").err().unwrap_or_default(),
            None => "nothing".to_owned(),
        })
    }
}

fn get(url: String) -> Ask {
    Ask {
        url,
        method: None,
        headers: Vec::new(),
        body: None,
        timeout_ms: None,
        connect_timeout_ms: None,
        first_byte_timeout_ms: None,
        between_bytes_timeout_ms: None,
        step_timeout_ms: None,
        redirects: None,
        response_max: None,
        idempotent: false,
        attempts: 1,
    }
}

fn request(ask: &Ask) -> Request {
    let mut request = Request::new(ask.method.as_deref().unwrap_or("GET"), &ask.url);
    for header in &ask.headers {
        request = request.header(&header.name, &header.value);
    }
    if let Some(body) = &ask.body {
        request = request.body(body.as_bytes());
    }
    if let Some(ms) = ask.timeout_ms {
        request = request.timeout(Duration::from_millis(ms));
    }
    if let Some(max) = ask.redirects {
        request = request.redirects(max);
    }
    if let Some(bytes) = ask.response_max {
        request = request.response_max(bytes);
    }
    if ask.idempotent {
        request = request.idempotent();
    }
    request
}

fn in_step(ask: &Ask, send: impl Fn(&Ask) -> Result<String, Failure>) -> String {
    let quick = Duration::from_millis(1);
    let mut sending = step("ask")
        .attempts(ask.attempts)
        .backoff(quick, 1.0, quick);
    if let Some(ms) = ask.step_timeout_ms {
        sending = sending.timeout(Duration::from_millis(ms));
    }
    told(sending.run_with(|attempt| {
        let answer = send(ask)?;
        if attempt < ask.attempts {
            Err(Retry("once more"))?;
        }
        Ok(answer)
    }))
}

/// Says what came back in every way that there is.
fn blab(send: impl Fn() -> Result<String, Failure>) -> Result<String, String> {
    let said: String = step("ask").attempts(1).run(|| {
        let answer = send()?;
        println!("printed {answer}");
        eprintln!("printed {answer}");
        info!(answer, "logged {answer}");
        Ok(answer)
    })?;
    let failed: Result<(), Failure> = step("fail").attempts(1).run(|| {
        let answer = send()?;
        Err(Failure::fatal("told", answer.clone()).with_details(&answer)?)?;
        Ok(())
    });
    let _: Result<(), Failure> = step("trap")
        .attempts(1)
        .run(|| panic!("{}", send().unwrap_or_default()));
    Err(format!("{said} {failed:?}"))
}

fn text((status, body): (u16, Vec<u8>)) -> String {
    format!("{status} {}", String::from_utf8_lossy(&body))
}

fn told(result: Result<String, Failure>) -> String {
    result.unwrap_or_else(|failure| format!("{}: {}", failure.code, failure.message))
}
