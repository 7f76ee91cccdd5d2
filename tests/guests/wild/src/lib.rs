//! A workflow that calls the host as numbers say, for fuzzing. What is wrong with these calls is the point of them, and it is the host that must
//! not be harmed.
#![allow(unsafe_code)]

use std::time::{Duration, SystemTime};

use dacapo_guest::raw::steps::{self, Attempt, Retry, State};
use dacapo_guest::raw::types::Failure;
use dacapo_guest::raw::{children, context, forks, http, log, secrets, sql, waits};

dacapo_guest::workflows!(Wild);
use bindings::exports::test::wild::wild::Guest;

struct Wild;

#[link(wasm_import_module = "dacapo:workflow/steps@0.1.0")]
unsafe extern "C" {
    #[link_name = "step-run"]
    fn step_run(name: *mut u8, name_len: usize, has_options: i32, options: i32, answer: *mut u8);
    #[link_name = "[method]attempt.number"]
    fn attempt_number(attempt: i32) -> i32;
    #[link_name = "[method]options.set-timeout"]
    fn set_timeout(options: i32, ms: i64);
    #[link_name = "[resource-drop]attempt"]
    fn drop_attempt(attempt: i32);
    #[link_name = "[resource-drop]options"]
    fn drop_options(options: i32);
}

#[link(wasm_import_module = "dacapo:workflow/log@0.1.0")]
unsafe extern "C" {
    #[link_name = "log"]
    fn raw_log(level: i32, text: *mut u8, text_len: usize, fields: *mut u8, fields_len: usize);
}

/// Names and texts that were trouble somewhere.
const TEXTS: &[&str] = &[
    "a",
    "a",
    "a",
    "b",
    "go",
    "go",
    "stop",
    "",
    " ",
    "a/b",
    "a#1",
    "#",
    "..",
    "\0",
    "\u{1}",
    "\u{feff}",
    "\u{202e}a",
    "é",
    "💥",
    "'; --",
    "%s",
    "{}",
    "null",
    "test:wild/wild.play",
    "wild.play",
    "play",
    "no-such",
    "https://example.com/",
    "http://127.0.0.1:1/",
    "select 1",
];
const JSONS: &[&str] = &[
    "null",
    "1",
    "[]",
    "{}",
    "\"go\"",
    "true",
    "-0",
    "1e400",
    "9007199254740993",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "[1,]",
    "{\"a\":1,\"a\":2}",
    "",
    "nul",
    "[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]",
    "[[7,1,0,0,7,2],[0]]",
    "[]",
];

struct Script<'a> {
    numbers: &'a [u32],
    at: usize,
    /// Which branch this is, so that branches differ.
    turn: u32,
    calls: u32,
    branches: u32,
    attempts: Vec<Attempt>,
    options: Vec<steps::Options>,
}

impl Script<'_> {
    fn next(&mut self) -> u32 {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        number.wrapping_add(self.turn)
    }

    fn text(&mut self) -> String {
        let number = self.next();
        let text = TEXTS[number as usize % TEXTS.len()];
        match number % 97 {
            13 => text.repeat(300),
            14 => "x".repeat(number as usize % (3 << 20)),
            _ => text.to_owned(),
        }
    }

    fn json(&mut self) -> String {
        let number = self.next();
        match number % 61 {
            13 => "[".repeat(number as usize % 100_000),
            14 => format!("\"{}\"", "x".repeat(number as usize % (3 << 20))),
            _ => JSONS[number as usize % JSONS.len()].to_owned(),
        }
    }

    /// Mostly few milliseconds, and sometimes anything.
    fn ms(&mut self) -> u64 {
        let number = self.next();
        match number % 16 {
            0 => 0,
            1 => u64::MAX,
            2 => u64::MAX / 1_000,
            3 => u64::from(number),
            _ => u64::from(number % 20),
        }
    }

    fn maybe_ms(&mut self) -> Option<u64> {
        match self.next() % 3 {
            0 => None,
            _ => Some(self.ms()),
        }
    }

    fn outcome(&mut self) -> Result<String, Failure> {
        match self.next() % 3 {
            0 => Err(Failure {
                code: self.text(),
                message: self.text(),
                retryable: self.next().is_multiple_of(2),
                details: match self.next() % 2 {
                    0 => None,
                    _ => Some(self.json()),
                },
            }),
            _ => Ok(self.json()),
        }
    }

    fn step(&mut self) {
        let name = self.text();
        let with = match self.next() % 3 {
            0 => self.options.last(),
            _ => None,
        };
        if let Ok(State::Execute(attempt)) = steps::step_run(&name, with) {
            self.attempts.push(attempt);
        }
    }

    fn end_step(&mut self) {
        if let Some(attempt) = self.attempts.pop() {
            let outcome = self.outcome();
            let _ = steps::step_end(attempt, outcome.as_deref());
        }
    }

    fn call(&mut self) {
        self.calls += 1;
        match self.next() % 40 {
            // What runs do comes often.
            0..=5 => {
                self.step();
                self.end_step();
            }
            6 => self.step(),
            7 => self.end_step(),
            8 => drop(self.attempts.pop()),
            9 => {
                if let Some(attempt) = self.attempts.last() {
                    let _ = attempt.number();
                }
            }
            10 => {
                let ms = self.ms();
                if let Some(attempt) = self.attempts.last() {
                    attempt.retry_after(ms);
                }
            }
            11 => {
                let options = steps::Options::new();
                let factor = f32::from_bits(self.next());
                let (initial_ms, max_ms) = (self.ms(), self.ms());
                let number = self.next();
                options.set_retry(Retry {
                    max_attempts: if number.is_multiple_of(4) {
                        number
                    } else {
                        number % 4
                    },
                    initial_ms,
                    factor: if number.is_multiple_of(3) {
                        factor
                    } else {
                        1.0
                    },
                    max_ms,
                });
                self.options.push(options);
            }
            12 => {
                let options = steps::Options::new();
                options.set_timeout(self.ms());
                self.options.push(options);
            }
            13 => drop(self.options.pop()),
            14 | 15 => {
                let (name, ms) = (self.text(), self.ms());
                let _ = waits::sleep(&name, ms);
            }
            16 => {
                let (name, ms) = (self.text(), self.ms());
                let _ = waits::sleep_until(&name, ms);
            }
            17 | 18 => {
                let (name, ms) = (self.text(), self.maybe_ms());
                let _ = waits::wait_for(&name, ms);
            }
            19 => {
                let name = self.text();
                let count = self.next() % 5;
                let events: Vec<String> = (0..count).map(|_| self.text()).collect();
                let ms = self.maybe_ms();
                let _ = waits::wait_for_any(&name, &events, ms);
            }
            20 => {
                let name = self.text();
                let _ = waits::pause(&name);
            }
            21 | 22 => self.fork(),
            23 => {
                let outcome = self.outcome();
                forks::branch_end(outcome.as_deref());
            }
            24 | 25 => self.child(),
            26 => {
                let (name, id, ms) = (self.text(), self.text(), self.maybe_ms());
                let _ = children::await_child(&name, &id, ms);
            }
            27 => {
                let number = self.next();
                let name = self.text();
                match number % 8 {
                    0 => drop(context::run_id()),
                    1 => drop(context::workflow()),
                    2 => drop(context::labels()),
                    3 => drop(context::idempotency_key()),
                    4 => drop(context::changed(&name)),
                    5 => drop(context::created_at()),
                    6 => drop(context::now()),
                    _ => context::set_progress(
                        u64::from(number),
                        u64::from(number) << 32,
                        Some(&name),
                    ),
                }
            }
            28 => {
                let (message, name, value) = (self.text(), self.text(), self.text());
                let level = [log::Level::Trace, log::Level::Info, log::Level::Error]
                    [self.next() as usize % 3];
                log::log(level, &message, &[(name, value)]);
            }
            29 => {
                let (name, reason) = (self.text(), self.text());
                if self.next().is_multiple_of(8) {
                    steps::step_reject(&name, &reason);
                }
            }
            30 => {
                let outcome = self.outcome();
                if let (Err(failure), 0) = (outcome, self.next() % 4) {
                    context::fail(&failure);
                }
            }
            31 => {
                let (url, name) = (self.text(), self.text());
                if self.next().is_multiple_of(6) {
                    let request = http::Request {
                        method: name.clone(),
                        url,
                        headers: vec![(name.clone(), name)],
                        body: None,
                    };
                    let _ = http::fetch(&request, None);
                }
            }
            32 => {
                let statement = self.text();
                if self.next().is_multiple_of(8) {
                    let _ = sql::query(&statement, &[sql::Value::Float(f64::NAN)]);
                }
            }
            33 => {
                let name = self.text();
                if self.next().is_multiple_of(8) {
                    let _ = secrets::reveal(&name);
                }
            }
            34 => self.world(),
            35 => self.forge(),
            36 => println!("{}", self.text()),
            37 => eprint!("{}", self.text()),
            38 => {
                // Memory that is held, and what is done with it.
                let bytes = vec![1_u8; self.next() as usize % (8 << 20)];
                std::hint::black_box(&bytes);
            }
            _ => {
                let steps = self.next() % 2_000_000;
                (0..steps).for_each(|step| {
                    std::hint::black_box(step);
                });
            }
        }
    }

    fn fork(&mut self) {
        let name = self.text();
        let number = self.next();
        let branches = match number % 32 {
            0 => number,
            1 => 0,
            2 => 100,
            _ => number % 4,
        };
        let options = forks::Options::new();
        if number.is_multiple_of(3) {
            options.set_max_parallel(self.next() % 4);
        }
        if number.is_multiple_of(5) {
            options.set_race();
        }
        if let Ok(forks::Side::Branch(index)) = forks::fork(&name, branches, Some(&options)) {
            self.turn = self.turn.wrapping_add(index);
            self.branches += 1;
        }
    }

    fn child(&mut self) {
        let name = self.text();
        let input = match self.next() % 3 {
            0 => self.json(),
            // A shorter script, so that families die out.
            _ => {
                let rest = &self.numbers[self.at.min(self.numbers.len())..];
                let rest: Vec<String> = rest
                    .iter()
                    .take(rest.len() / 2)
                    .map(u32::to_string)
                    .collect();
                format!("[{}]", rest.join(","))
            }
        };
        let options = children::Options::new();
        match self.next() % 8 {
            0 => options.set_detached(),
            1 => options.set_deadline(self.ms()),
            2 => {
                let (queue, key) = (self.text(), self.text());
                options.set_queue(&queue, Some(&key));
            }
            3 => options.set_priority(self.next().cast_signed() % 200),
            4 => {
                let (name, value) = (self.text(), self.text());
                options.set_labels(&[(name, value)]);
            }
            _ => {}
        }
        let workflow = match self.next() % 4 {
            0 => self.text(),
            _ => "test:wild/wild.play".to_owned(),
        };
        if let Ok(id) = children::start_child(&name, &workflow, &input, Some(&options)) {
            let ms = self.maybe_ms();
            let _ = children::await_child(&name, &id, ms);
        }
    }

    /// What WASI shows.
    fn world(&mut self) {
        match self.next() % 7 {
            0 => {
                std::hint::black_box(SystemTime::now());
            }
            1 => std::thread::sleep(Duration::from_millis(u64::from(self.next() % 30))),
            2 => {
                std::hint::black_box(std::collections::HashMap::<u32, u32>::new());
            }
            3 => drop(std::fs::write("/scratch/a", "a")),
            4 => drop(std::fs::read_dir("/")),
            5 => drop(std::env::vars().count()),
            _ => drop(std::net::TcpStream::connect("127.0.0.1:1")),
        }
    }

    /// Pointers and handles that are none.
    fn forge(&mut self) {
        if !self.next().is_multiple_of(4) {
            return;
        }
        let number = self.next();
        let small = (number % 8).cast_signed();
        let pointer = number as usize as *mut u8;
        match self.next() % 6 {
            0 => {
                unsafe { attempt_number(small) };
            }
            1 => unsafe { drop_attempt(small) },
            2 => unsafe { drop_options(small) },
            3 => unsafe { set_timeout(small, i64::from(number)) },
            4 => unsafe { step_run(pointer, number as usize % 64, small, small, pointer) },
            _ => unsafe {
                raw_log(
                    small,
                    pointer,
                    number as usize,
                    pointer,
                    number as usize % 64,
                )
            },
        }
    }
}

impl Guest for Wild {
    fn play(numbers: Vec<u32>) -> Result<u32, String> {
        let mut script = Script {
            numbers: &numbers,
            at: 0,
            turn: 0,
            calls: 0,
            branches: 0,
            attempts: Vec::new(),
            options: Vec::new(),
        };
        while script.at < numbers.len() {
            script.call();
        }
        // A branch ends as one, or as what it is not.
        if script.branches > 0 && numbers.first().is_some_and(|number| number % 8 != 0) {
            forks::branch_end(Ok("null"));
        }
        match numbers.first() {
            Some(number) if number % 16 == 3 => Err("as it was told".to_owned()),
            Some(number) if number % 16 == 4 => panic!("as it was told"),
            _ => Ok(script.calls),
        }
    }
}
