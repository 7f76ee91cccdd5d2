//! People: what they wish, and what they are told.

use anyhow::{Context, Result};

use crate::ledger;
use crate::plan::Wish;
use crate::script;
use crate::wire::{self, Part, Request};

use super::links::{Doing, Link};
use super::{Owner, World};

/// The queue that some runs are in.
pub(super) const QUEUE: &str = "narrow";

impl World<'_> {
    /// In the end whatever waits for a person is resumed.
    pub(super) fn wish_resumed(&mut self) {
        let shared = self.shared.borrow();
        for (run, tasks) in &shared.ledger.tasks {
            let waits = |task: &ledger::Task| {
                task.place == "suspended"
                    && (task.paused || task.reason.as_deref() == Some("blocked"))
            };
            let wish = Wish::ResumeById(run.clone());
            let is_wished = self.plan.wishes.contains(&wish)
                || self
                    .links
                    .values()
                    .any(|link| link.wish.as_ref() == Some(&wish));
            if tasks.iter().any(waits) && !is_wished {
                self.plan.wishes.push(wish);
            }
        }
    }

    /// In the end whatever waits for an event that others may have taken is sent one.
    pub(super) fn wish_sent(&mut self) {
        let shared = self.shared.borrow();
        for (at, run) in self.plan.runs.iter().enumerate() {
            let Some(tasks) = run.id.as_ref().and_then(|id| shared.ledger.tasks.get(id)) else {
                continue;
            };
            let events = tasks.iter().flat_map(|task| &task.events);
            for event in events.filter(|event| script::is_shared(event)) {
                let is_it = |wish: &Wish| matches!(wish, Wish::Send(of, name, _) if *of == at && name == event);
                let is_wished = self.plan.wishes.iter().any(is_it)
                    || self
                        .links
                        .values()
                        .any(|link| link.wish.as_ref().is_some_and(is_it));
                if !is_wished {
                    // No payload was sent before.
                    let payload = 2_000 + self.choices;
                    self.plan
                        .wishes
                        .push(Wish::Send(at, event.clone(), payload));
                }
            }
        }
    }
    /// In the end no more ticks come.
    pub(super) fn wish_unscheduled(&mut self) {
        let shared = self.shared.borrow();
        let is_on = shared
            .ledger
            .schedule
            .as_ref()
            .is_some_and(|schedule| !schedule.paused);
        let is_it = |wish: &Wish| *wish == Wish::Unschedule;
        let is_wished = self.plan.wishes.iter().any(is_it)
            || self
                .links
                .values()
                .any(|link| link.wish.as_ref().is_some_and(is_it));
        if is_on && !is_wished {
            self.plan.wishes.push(Wish::Unschedule);
        }
    }

    pub(super) fn grant(&mut self, at: usize) -> Result<()> {
        let wish = self.plan.wishes.remove(at);
        let id = |run: usize| self.plan.runs[run].id.clone().unwrap_or_default();
        let sql = match &wish {
            Wish::Start(run) => {
                let script = script::text(&self.plan.runs[*run].deeds);
                let input = serde_json::to_string(&script)?;
                let planned = &self.plan.runs[*run];
                let mut options = serde_json::json!({ "key": format!("run{run}") });
                if let Some(ms) = planned.deadline {
                    options["deadline"] = format!("{ms} milliseconds").into();
                }
                if let Some(singleton) = &planned.singleton {
                    options["singleton"] = singleton.key.into();
                    options["onConflict"] = singleton.conflict.into();
                }
                if let Some(key) = &planned.queued {
                    options["queue"] = QUEUE.into();
                    options["priority"] = planned.priority.into();
                    if let Some(key) = key {
                        options["concurrencyKey"] = key.as_str().into();
                    }
                }
                format!(
                    "select dacapo.start('script.play', {}, {})",
                    quoted(&input),
                    quoted(&options.to_string())
                )
            }
            Wish::Send(run, event, payload) => format!(
                "select dacapo.send_event('{}'::uuid, '{event}'::text, '{payload}'::text, '{event}.{payload}'::text)",
                id(*run),
            ),
            Wish::Pause(run) => format!("select dacapo.pause('{}')", id(*run)),
            Wish::Resume(run) => format!("select dacapo.resume('{}')", id(*run)),
            Wish::ResumeById(run) => format!("select dacapo.resume('{run}')"),
            Wish::Cancel(run) => format!("select dacapo.cancel('{}')", id(*run)),
            Wish::Schedule => {
                let schedule = self.plan.schedule.as_ref();
                schedule.context("there is nothing to schedule")?.sql(self.now)?
            }
            Wish::Unschedule => "update dacapo.schedule set paused = true, waiting_for = null, trouble = null, trouble_since = null,
                updated_at = clock_timestamp()
                where not paused returning name"
                .to_owned(),
        };
        let free = |link: &Link| {
            link.owner == Owner::Outside
                && matches!(link.doing, Doing::Nothing)
                && link.requests.is_empty()
        };
        let id = self
            .links
            .iter()
            .find(|(_, link)| free(link))
            .map(|(id, _)| *id);
        let id = id.context("nobody is free to ask")?;
        self.note(format!("{id} wishes {wish:?}"));
        let link = self.link(id)?;
        link.wish = Some(wish);
        link.requests.push_back(Request {
            parts: vec![Part::Query(sql)],
        });
        self.carry_out(id)
    }

    /// A wish was answered.
    pub(super) fn granted(&mut self, id: u32, answer: &[u8]) -> Result<()> {
        let Some(wish) = self.link(id)?.wish.take() else {
            return Ok(());
        };
        if let Some((code, said)) = wire::error_in(answer) {
            let is_taken = |run: &usize| {
                let singleton = self.plan.runs[*run].singleton.as_ref();
                singleton.is_some_and(|singleton| singleton.conflict == "reject")
            };
            let may_be_later = match &wish {
                // Another run has its key.
                Wish::Start(run) => code == "23505" && is_taken(run),
                _ => false,
            };
            if ["40P01", "40001", "55P03"].contains(&code.as_str()) || may_be_later {
                self.plan.wishes.push(wish);
            } else {
                let text = format!("{wish:?} was refused: {code} {said}");
                self.shared.borrow_mut().wrong.push(text);
            }
            return Ok(());
        }
        let rows = wire::rows(answer);
        let said = rows
            .first()
            .and_then(|row| row[0].clone())
            .unwrap_or_default();
        self.note(format!("{id} is told {said}"));
        match wish {
            Wish::Start(run) => self.plan.runs[run].id = Some(said),
            Wish::Send(run, event, payload) if said == "sent" || said == "duplicate" => {
                let run = self.plan.runs[run].id.clone().unwrap_or_default();
                let delivery = format!("{event}.{payload}");
                self.shared.borrow_mut().ledger.acknowledge(&run, &delivery);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A text as SQL has it.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
