//! Branches of a run that are played at the same time: [`join!`](crate::join!), [`map`] and [`race!`](crate::race!).
//!
//! Each branch is played in an instance of its own, from the top of the workflow to the fork, so it sees what stood in memory there, and
//! nothing that other branches do. What it hands back is recorded as JSON.

use std::num::NonZeroU32;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::raw::forks::{self, Joined, Options, Side};
use crate::raw::{steps, types};

/// Runs the closure for each item, in branches of the run that are played at the same time; [`Map::run`] says how it ends.
///
/// ```no_run
/// use dacapo_guest::{map, step};
///
/// # fn resize(image: &str) -> String { image.to_owned() }
/// # let images = vec!["a.png".to_owned()];
/// let small: Vec<String> = map("resize", &images)
///     .max_parallel(8)
///     .run(|image| step("resize").run(|| Ok(resize(image))))?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// The items must be the same in every replay: they come from the workflow's input, or out of a step. There are at most 10,000 of them,
/// and each branch is handed the workflow's input anew: where there are many small ones, let a branch do several (`items.chunks(100)`).
pub fn map<'a, I>(name: &'a str, items: &'a [I]) -> Map<'a, I> {
    Map {
        name,
        items,
        max_parallel: None,
    }
}

/// Work on each of several items, made by [`map`].
#[must_use = "nothing is done until `run` or `run_all` is called"]
pub struct Map<'a, I> {
    name: &'a str,
    items: &'a [I],
    max_parallel: Option<NonZeroU32>,
}

impl<I> Map<'_, I> {
    /// At most so many items are worked on at the same time, those that wait for something included; 0 is taken for 1. Without it: all of
    /// them.
    pub fn max_parallel(mut self, items: u32) -> Self {
        self.max_parallel = Some(NonZeroU32::new(items).unwrap_or(NonZeroU32::MIN));
        self
    }

    /// Runs the closure for each item, and answers what it returned, in the order of the items. No item is left out because of another one's
    /// failure.
    ///
    /// # Errors
    ///
    /// The failure of the first item, in their order, that failed. The code is `cancelled` while the run is being ended.
    pub fn run<T, F>(self, work: F) -> Result<Vec<T>, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(&I) -> Result<T, Failure>,
    {
        self.run_all(work)?.into_iter().collect()
    }

    /// Like [`Map::run`], and answers for each item how it came out.
    ///
    /// # Errors
    ///
    /// The code is `cancelled` when the run is being ended before any item was begun.
    pub fn run_all<T, F>(self, work: F) -> Result<Vec<Result<T, Failure>>, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(&I) -> Result<T, Failure>,
    {
        if self.items.is_empty() {
            return Ok(Vec::new());
        }
        let branches = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        let options = self.max_parallel.map(|max| {
            let options = Options::new();
            options.set_max_parallel(max.get());
            options
        });
        let joined = match forks::fork(self.name, branches, options.as_ref())? {
            Side::Branch(index) => end(work(&self.items[index as usize])),
            Side::Joined(joined) => joined,
        };
        let outcomes = joined.outcomes.into_iter();
        Ok(outcomes.map(|outcome| decode(self.name, outcome)).collect())
    }
}

/// Runs two to eight closures in branches of the run that are played at the same time, and answers what they returned, as a tuple. All of
/// them are run to their end, whatever comes of the others.
///
/// ```no_run
/// use dacapo_guest::{join, step, wait_for};
///
/// # fn reserve() -> u32 { 1 }
/// let (seat, paid): (u32, String) = join!(
///     "book",
///     || step("reserve").run(|| Ok(reserve())),
///     || wait_for("paid").recv(),
/// )?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// The failure is that of the first closure, in their order, that failed.
#[macro_export]
macro_rules! join {
    ($name:expr, $($branch:expr),+ $(,)?) => {
        $crate::join($name, ($($branch,)+))
    };
}

/// Runs several closures with results of one type in branches of the run that are played at the same time, and answers what the first one
/// to succeed returned. The others are told at their next step or wait that they are cancelled, and may make up for what they did; the run
/// goes on when they have ended.
///
/// ```no_run
/// use std::time::Duration;
///
/// use dacapo_guest::{race, sleep, wait_for};
///
/// let answer: Option<String> = race!(
///     "answer",
///     || wait_for("answered").recv().map(Some),
///     || sleep("patience", Duration::from_secs(60)).map(|()| None),
/// )?;
/// # Ok::<(), dacapo_guest::Failure>(())
/// ```
///
/// If none succeeds, the failure is that of the first closure, in their order.
#[macro_export]
macro_rules! race {
    ($name:expr, $($branch:expr),+ $(,)?) => {
        $crate::race($name, &mut [$(&mut $branch),+])
    };
}

/// Closures of [`join!`](crate::join!): a tuple of two to eight.
pub trait Branches {
    /// What they return, as a tuple.
    type Outcomes;
    /// How many they are.
    const COUNT: u32;
    /// Runs one of them, and answers its outcome as JSON.
    fn run(self, index: u32) -> Result<String, Failure>;
    /// What they returned, from their recorded outcomes.
    fn decode(
        name: &str,
        outcomes: Vec<Result<String, types::Failure>>,
    ) -> Result<Self::Outcomes, Failure>;
}

macro_rules! branches {
    ($count:literal: $($index:tt $closure:ident $value:ident),+) => {
        impl<$($closure, $value),+> Branches for ($($closure,)+)
        where
            $($closure: FnOnce() -> Result<$value, Failure>, $value: Serialize + DeserializeOwned),+
        {
            type Outcomes = ($($value,)+);
            const COUNT: u32 = $count;

            fn run(self, index: u32) -> Result<String, Failure> {
                match index {
                    $($index => encode((self.$index)()),)+
                    _ => Err(Failure::fatal("misuse", format!("there is no branch {index}"))),
                }
            }

            fn decode(
                name: &str,
                outcomes: Vec<Result<String, types::Failure>>,
            ) -> Result<Self::Outcomes, Failure> {
                let mut outcomes = outcomes.into_iter();
                Ok(($(next::<$value>(name, &mut outcomes)?,)+))
            }
        }
    };
}

branches!(2: 0 A Ta, 1 B Tb);
branches!(3: 0 A Ta, 1 B Tb, 2 C Tc);
branches!(4: 0 A Ta, 1 B Tb, 2 C Tc, 3 D Td);
branches!(5: 0 A Ta, 1 B Tb, 2 C Tc, 3 D Td, 4 E Te);
branches!(6: 0 A Ta, 1 B Tb, 2 C Tc, 3 D Td, 4 E Te, 5 F Tf);
branches!(7: 0 A Ta, 1 B Tb, 2 C Tc, 3 D Td, 4 E Te, 5 F Tf, 6 G Tg);
branches!(8: 0 A Ta, 1 B Tb, 2 C Tc, 3 D Td, 4 E Te, 5 F Tf, 6 G Tg, 7 H Th);

/// What [`join!`](crate::join!) calls.
pub fn join<B: Branches>(name: &str, branches: B) -> Result<B::Outcomes, Failure> {
    match forks::fork(name, B::COUNT, None)? {
        Side::Branch(index) => end_encoded(branches.run(index)),
        Side::Joined(joined) => B::decode(name, joined.outcomes),
    }
}

/// What [`race!`](crate::race!) calls.
pub fn race<T: Serialize + DeserializeOwned>(
    name: &str,
    branches: &mut [&mut dyn FnMut() -> Result<T, Failure>],
) -> Result<T, Failure> {
    let options = Options::new();
    options.set_race();
    let count = u32::try_from(branches.len()).unwrap_or(u32::MAX);
    let joined = match forks::fork(name, count, Some(&options))? {
        Side::Branch(index) => end(branches[index as usize]()),
        Side::Joined(joined) => joined,
    };
    let which = joined.winner.unwrap_or(0);
    next(name, &mut joined.outcomes.into_iter().skip(which as usize))
}

/// Ends this instance's branch.
fn end<T: Serialize>(outcome: Result<T, Failure>) -> Joined {
    end_encoded(encode(outcome))
}

fn end_encoded<T>(outcome: Result<String, Failure>) -> T {
    match outcome {
        Ok(text) => forks::branch_end(Ok(&text)),
        Err(failure) => forks::branch_end(Err(&failure.into())),
    }
    unreachable!("the host ends the instance in `branch-end`")
}

fn encode<T: Serialize>(outcome: Result<T, Failure>) -> Result<String, Failure> {
    let value = outcome?;
    serde_json::to_string(&value).map_err(|error| {
        let message = format!("what the branch returned cannot be recorded as JSON: {error}");
        Failure::fatal("encode", message)
    })
}

fn next<T: DeserializeOwned>(
    name: &str,
    outcomes: &mut impl Iterator<Item = Result<String, types::Failure>>,
) -> Result<T, Failure> {
    match outcomes.next() {
        Some(outcome) => decode(name, outcome),
        None => Err(reject(name, "there are fewer outcomes than branches")),
    }
}

/// Reads a recorded outcome. One that is not a `T` blocks the run, since guessing would be worse than waiting.
fn decode<T: DeserializeOwned>(
    name: &str,
    outcome: Result<String, types::Failure>,
) -> Result<T, Failure> {
    let text = outcome?;
    serde_json::from_str(&text).map_err(|error| reject(name, &error.to_string()))
}

#[cold]
fn reject(name: &str, problem: &str) -> Failure {
    let reason =
        format!("the recorded outcome of a branch does not fit the code's type: {problem}");
    steps::step_reject(name, &reason);
    // Not reached: the host ends the instance in `step-reject`.
    Failure::fatal("decode", reason)
}
