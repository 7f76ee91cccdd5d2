//! Random inputs at every door of Dacapo, the same for the same seed: components, manifests, JSON, calls of guests, arguments of SQL functions and
//! of the command. A [`Target`] makes inputs and knows what must hold of each; an input that it does not hold of is a finding, and once the
//! mistake is mended the input stays in `corpus/`, from where each test run takes it again.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod calls;
mod check;
mod command;
mod components;
mod json;
mod manifests;
mod random;
mod sql;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use calls::Calls;
pub use command::Commands;
pub use components::Components;
pub use json::Json;
pub use manifests::Manifests;
pub use random::Random;
pub use sql::Sql;

/// A door, and what must hold of whatever comes in.
pub trait Target {
    /// Its name, and that of its directory in the corpus.
    const NAME: &'static str;

    /// An input: the same for the same numbers.
    fn generate(&self, random: &mut Random) -> Vec<u8>;

    /// Lets an input in. The error says what does not hold.
    fn check(&mut self, input: &[u8]) -> impl Future<Output = Result<(), String>>;
}

/// An input of which something does not hold.
#[derive(Debug)]
pub struct Finding {
    /// The seed that it was made from.
    pub seed: u64,
    /// What does not hold.
    pub what: String,
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// Lets in all that the corpus has for this target. Answers what does not hold, by the names of files.
pub async fn replay<T: Target>(target: &mut T) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(corpus(T::NAME)) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let input = std::fs::read(&file).unwrap();
        if let Err(what) = target.check(&input).await {
            found.push(format!("{}: {what}", file.display()));
        }
    }
    found
}

/// Lets in the inputs of one seed after the other, until the time is up, and answers how many there were and what was found. Each finding is kept
/// in the corpus, one for each kind of words.
pub async fn fuzz<T: Target>(target: &mut T, from: u64, time: Duration) -> (u64, Vec<Finding>) {
    let end = Instant::now() + time;
    let mut findings: Vec<Finding> = Vec::new();
    let mut seed = from;
    while Instant::now() < end {
        let input = target.generate(&mut Random::new(seed));
        if let Err(what) = target.check(&input).await {
            let kind = kind(&what);
            if findings
                .iter()
                .all(|finding| self::kind(&finding.what) != kind)
            {
                let directory = corpus(T::NAME);
                std::fs::create_dir_all(&directory).unwrap();
                std::fs::write(directory.join(format!("seed-{seed}")), &input).unwrap();
                eprintln!(
                    "{}: seed {seed}: {what}\n    again: ./x fuzz 1 --target {} --seed {seed}",
                    T::NAME,
                    T::NAME
                );
                findings.push(Finding { seed, what });
            }
        }
        seed += 1;
    }
    (seed - from, findings)
}

/// The letters of the beginning, up to what is quoted: what is the same for inputs that fail alike.
fn kind(what: &str) -> String {
    what.chars()
        .take_while(|char| !['"', '\'', '['].contains(char))
        .filter(|char| char.is_alphabetic())
        .take(60)
        .collect()
}
