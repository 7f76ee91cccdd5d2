//! A tour of the kit: the same in each language that has one, and with the same journal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bindings::exports::test::tour::tour::{Guest, Luggage};
use dacapo_guest::sql::{JsonText, Micros};
use dacapo_guest::tracing::{debug, error, info, trace, warn};
use dacapo_guest::{
    Failure, Result, StepError, child, context, http, join, map, now, pause, race, secret, sleep,
    sleep_until, step, wait_for, wait_for_any,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

dacapo_guest::workflows!(Tour);

const HOUR: Duration = Duration::from_secs(60 * 60);
const MOMENT: Duration = Duration::from_millis(20);
const TURNS: [&str; 2] = ["turn-left", "turn-right"];

struct Tour;

impl Guest for Tour {
    fn see(service: String) -> Result<Vec<String>, String> {
        let mut met = Vec::new();
        look(&mut met)?;
        ask(&service, &mut met)?;
        book(&mut met)?;
        context::progress(2, 4, "half of it");
        send(&mut met)?;
        part(&mut met)?;
        rest(&mut met)?;
        context::progress(4, 4, None);
        Ok(met)
    }

    fn visit(place: String) -> Result<String, String> {
        match place.as_str() {
            "nowhere" => return Err("there is no such place".to_owned()),
            "far" => sleep("way", HOUR)?,
            _ => {}
        }
        Ok(step("look").run(|| Ok(format!("seen {place}")))?)
    }

    fn draw() -> Result<String, String> {
        let before = sample();
        same("before", &before)?;
        let inside: String = step("inside").run(|| Ok(sample()))?;
        sleep("rest", Duration::from_millis(5))?;
        let after = sample();
        same("after", &after)?;
        sleep("rest", Duration::from_millis(5))?;
        let twice = map("twice", &[1, 2]).run(|_| Ok(sample()))?;
        Ok(format!("[{before},{inside},{after},{}]", twice.join(",")))
    }

    fn carry(luggage: Luggage) -> Luggage {
        luggage
    }

    fn misread() {
        // The kit would not let it be recorded as what it is no type for.
        let said: String = match step("read").run(|| Ok("a text".to_owned())) {
            Ok(said) => said,
            Err(failure) => context::fail(failure),
        };
        if let Err(error) = said.parse::<u32>() {
            dacapo_guest::raw::steps::step_reject("read", &error.to_string());
        }
    }

    fn greet(name: String) -> String {
        format!("Good day, {name}!")
    }
}

#[derive(Serialize, Deserialize)]
struct About {
    run: String,
    workflow: String,
    colour: String,
    shape: Option<String>,
    attempt: u32,
    key: Option<String>,
    started: bool,
}

/// What the run knows about itself, its log, and attempts.
fn look(met: &mut Vec<String>) -> Result<(), Failure> {
    let (created, now, mut labels) = (context::created_at(), now(), context::labels());
    let started =
        created <= now && ms(created) > 1_577_836_800_000 && ms(SystemTime::now()) == ms(now);
    step("about").run_with(|attempt| {
        Ok(About {
            run: context::run_id(),
            workflow: context::workflow(),
            colour: labels.remove("colour").unwrap_or_default(),
            shape: labels.remove("shape"),
            attempt,
            key: context::idempotency_key(),
            started,
        })
    })?;
    if context::changed("scenic-route") {
        met.push("scenic".to_owned());
    }
    trace!(place = "tower", metres = 300, "a line for trace");
    debug!(place = "tower", metres = 300, "a line for debug");
    info!(place = "tower", metres = 300, "a line for info");
    warn!(place = "tower", metres = 300, "a line for warn");
    error!(place = "tower", metres = 300, "a line for error");
    let knocked: u32 = step("knock")
        .attempts(3)
        .backoff(Duration::from_millis(1), 1.0, Duration::from_millis(1))
        .run_with(|attempt| {
            if attempt == 1 {
                let closed = Failure::retry("closed", "nobody is at home");
                let closed = closed.with_details(&json!({ "opens": "soon" }))?;
                return Err(StepError::from(closed).after(Duration::from_millis(40)));
            }
            Ok(attempt)
        })?;
    met.push(format!("knock: {knocked}"));
    let slow = step("slow").attempts(1).timeout(Duration::from_millis(100));
    let slow = slow.run(|| -> Result<()> {
        loop {
            std::hint::spin_loop();
        }
    });
    failing(met, "slow", slow);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Asked {
    status: u16,
    told: Option<String>,
    said: String,
    bytes: usize,
    sum: u32,
}

/// Requests and secrets.
fn ask(service: &str, met: &mut Vec<String>) -> Result<(), Failure> {
    step("ask").run(|| {
        let answer = http::Request::new("PUT", format!("{service}/echo"))
            .header("x-note", "noted")
            .header("authorization", format!("Bearer {}", secret("key")))
            .json(&json!({ "stop": "tower", "cents": 42 }))
            .timeout(Duration::from_secs(5))
            .response_max(1_000)
            .idempotency_header("x-key")
            .send()?;
        let bytes = http::get(format!("{service}/away"))
            .redirects(1)
            .send()?
            .body;
        Ok(Asked {
            status: answer.status,
            told: answer.header("X-Told").map(str::to_owned),
            said: answer.json::<Value>()?["said"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            bytes: bytes.len(),
            sum: bytes.into_iter().map(u32::from).sum(),
        })
    })?;
    let big = step("big").attempts(1).run(|| {
        let answer = http::get(format!("{service}/bytes"))
            .response_max(10)
            .send()?;
        Ok(answer.status)
    });
    failing(met, "big", big);
    step("sign").run(|| Ok(dacapo_guest::reveal("pass")?.len()))?;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Booked {
    touched: u64,
    name: String,
    cents: i64,
    score: f64,
    open: bool,
    stars: i64,
    photo: Vec<u8>,
    seen: i64,
    closed: Option<String>,
}

/// Statements that are one transaction with their step.
fn book(met: &mut Vec<String>) -> Result<(), Failure> {
    step("book").sql(|tx| {
        let touched = tx.execute(
            "insert into stop values ($1, $2, $3, $4, $5, $6, $7, $8)",
            (
                "tower",
                4200_i64,
                0.5,
                true,
                JsonText::of(&json!({ "stars": 5 }))?,
                vec![1_u8, 2, 255],
                Micros(1_767_323_045_678_000),
                None::<String>,
            ),
        )?;
        let rows = tx.query("select * from stop where name = $1", ("tower",))?;
        let row = rows.first().ok_or(dacapo_guest::Fatal("it is not there"))?;
        Ok(Booked {
            touched,
            name: row.get("name")?,
            cents: row.get("cents")?,
            score: row.get("score")?,
            open: row.get("is_open")?,
            stars: row.get::<JsonText>("note")?.read::<Value>()?["stars"]
                .as_i64()
                .unwrap_or_default(),
            photo: row.get("photo")?,
            seen: row.get::<Micros>("seen_at")?.0 / 1_000,
            closed: row.get("closed")?,
        })
    })?;
    let again = step("book-again")
        .attempts(1)
        .sql(|tx| Ok(tx.execute("insert into stop (name) values ($1)", ("tower",))?));
    if let Err(failure) = again {
        let details: Option<Value> = failure.details().unwrap_or_default();
        let state = details.and_then(|details| Some(details["sqlState"].as_str()?.to_owned()));
        met.push(format!(
            "book-again: {} {}",
            failure.code,
            state.unwrap_or_default()
        ));
    }
    Ok(())
}

/// Children.
fn send(met: &mut Vec<String>) -> Result<(), Failure> {
    let mail: String = child("mail", "test:tour/tour.visit")
        .labels([("kind", "mail")])
        .deadline(2 * HOUR)
        .detached()
        .queue("slow")
        .concurrency_key("ada")
        .priority(7)
        .run("tower")?;
    met.push(format!("mail: {mail}"));
    let lost = child("lost", "tour.visit").run::<_, String>("nowhere");
    failing(met, "lost", lost);
    let far = child("far", "tour.visit").start::<_, String>("far")?;
    let far = far.output_within(MOMENT)?;
    met.push(format!("far: {}", far.as_deref().unwrap_or("not yet")));
    Ok(())
}

/// Branches.
fn part(met: &mut Vec<String>) -> Result<(), Failure> {
    let first: String = race!(
        "first",
        || {
            wait_for::<Value>("whistle").recv()?;
            step("walk").run(|| Ok("tortoise".to_owned()))
        },
        || match sleep("nap", HOUR) {
            Err(failure) if failure.is_cancelled() => {
                step("wake").run(|| Ok("too late".to_owned()))?;
                Err(failure)
            }
            slept => slept.map(|()| "hare".to_owned()),
        },
    )?;
    let (left, lunch, right): (u32, String, Vec<String>) = join!(
        "three",
        || step("left").run(|| Ok(1)),
        || wait_for("lunch").recv(),
        || step("right").run(|| Ok(vec!["a".to_owned(), "b".to_owned()])),
    )?;
    met.push(format!("first: {first}"));
    met.push(format!("three: {} {lunch} {}", left + 1, right.join("+")));
    let each = map("each", &[1, 2, 3]).run_all(|number| {
        step("odd").run(|| match number % 2 {
            0 => Err(Failure::fatal("even", format!("{number} is even")).into()),
            _ => Ok(number * number),
        })
    })?;
    met.extend(each.into_iter().map(|one: Result<i32, Failure>| match one {
        Ok(square) => format!("each: {square}"),
        Err(failure) => format!("each: {}, {}", failure.code, failure.message),
    }));
    Ok(())
}

/// Waits.
fn rest(met: &mut Vec<String>) -> Result<(), Failure> {
    let (event, degrees): (String, u32) = wait_for_any("turn", &TURNS).recv()?;
    met.push(format!("turn: {event} {}", degrees + 1));
    let again = wait_for_any::<u32>("turn-again", &TURNS)
        .timeout(MOMENT)
        .recv()?;
    let again = again.map_or_else(|| "nothing".to_owned(), |(event, _)| event);
    met.push(format!("turn-again: {again}"));
    sleep_until("until", now() + MOMENT)?;
    pause("look-around")
}

/// Meets with the code of the failure.
fn failing<T>(met: &mut Vec<String>, name: &str, outcome: Result<T, Failure>) {
    let code = outcome
        .err()
        .map_or_else(|| "done".to_owned(), |failure| failure.code);
    met.push(format!("{name}: {code}"));
}

/// What clocks say. Generators of random numbers are crates of the guest's own.
fn sample() -> String {
    json!({
        "clock: now": ms(now()).to_string(),
        "clock: SystemTime::now": ms(SystemTime::now()).to_string(),
    })
    .to_string()
}

/// Fails if this is not what it was when it was first reached.
fn same(name: &str, now: &str) -> Result<(), String> {
    let then: String = step(name).run(|| Ok(now.to_owned()))?;
    match then == now {
        true => Ok(()),
        false => Err(format!("{name}: {then} has become {now}")),
    }
}

fn ms(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}
