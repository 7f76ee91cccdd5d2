//! What a guest can see that is not in the journal.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dacapo_guest::{Failure, Fatal, context, now, sleep, step};

use crate::Probe;
use crate::bindings::exports::test::probe::visible::{Guest, Sightings};

impl Guest for Probe {
    fn clock() -> Result<Sightings, String> {
        let nap = Duration::from_millis(50);
        let again = look();
        let first = step("first").run(|| Ok(again.clone()))?;
        sleep("nap", nap)?;
        let inside = step("inside").run(|| Ok(look()))?;
        let after_again = look();
        let after_first = step("after").run(|| Ok(after_again.clone()))?;
        sleep("nap", nap)?;
        Ok(Sightings {
            first,
            again,
            inside,
            after_first,
            after_again,
        })
    }

    fn journal_time(ms: u64) -> Result<Vec<u64>, String> {
        let nap = Duration::from_millis(ms);
        let start = unix_ms(now());
        sleep("nap", nap)?;
        let once = unix_ms(now());
        sleep("nap", nap)?;
        let twice = unix_ms(now());
        let inside = step("inside").run(|| Ok(unix_ms(now())))?;
        Ok(vec![start, once, twice, inside])
    }

    fn random_u64_in_step() -> Result<Vec<String>, String> {
        let numbers: Result<_, Failure> = step("random").run(|| {
            let random = || getrandom::u64().map_err(|error| Fatal(error.to_string()));
            Ok(vec![random()?.to_string(), random()?.to_string()])
        });
        Ok(numbers?)
    }

    fn random_u64() -> Vec<String> {
        vec![random(), random()]
    }

    fn thread_sleep(ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn about() -> Vec<String> {
        let mut lines = vec![
            context::run_id(),
            context::workflow(),
            unix_ms(context::created_at()).to_string(),
        ];
        lines.extend(
            context::labels()
                .into_iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        lines
    }
}

/// Everything that a program can see without asking the engine, as lines `name=value`.
fn look() -> Vec<String> {
    let mut seen = vec![
        format!("wall={}", unix_ms(SystemTime::now())),
        format!("monotonic={:?}", Instant::now()),
        format!("random={}", random()),
        format!("hash={}", RandomState::new().hash_one("probe")),
        format!("args={:?}", std::env::args().collect::<Vec<_>>()),
    ];
    seen.extend(std::env::vars().map(|(name, value)| format!("env.{name}={value}")));
    seen
}

fn random() -> String {
    getrandom::u64().map_or_else(|error| error.to_string(), |number| number.to_string())
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
