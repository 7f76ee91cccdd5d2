//! Schedules: when a workflow is started again and again, and what becomes of ticks that overlap, that are late, or that were missed.
//!
//! A *tick* is a point in time at which a schedule asks for a run. It is named by its time alone, whenever it is really started, and
//! the run's id is a pure function of the schedule and the tick ([`RunId::of_tick`](crate::RunId::of_tick)): there cannot be two runs
//! of one tick. [`Ticks`] knows the times, [`SchedulePlan`] decides what to do about those that have come.

mod plan;
mod ticks;

pub use plan::*;
pub use ticks::*;
