//! What a seed chooses: what happens next, and what becomes of a statement.

use std::time::Duration;

use anyhow::Result;

use crate::plan::{Faults, Wish};

use super::links::{Doing, How, Stuck};
use super::{KILLED, KILLED_ASKING, Owner, World};

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    CarryOut(u32),
    Commit(u32),
    Abort(u32),
    Answer(u32),
    Tell(u32),
    Mute(u32),
    Forget(u32),
    Cut(u32),
    Stick(u32),
    Release(u32),
    Grant(usize),
    Advance,
    Kill(usize),
    Freeze(usize),
    Thaw(usize),
    Drain(usize),
    Begin(usize),
    Outage,
    Back,
}

impl World<'_> {
    pub(super) fn choose(&mut self) -> Action {
        let faults = if self.calm {
            Faults::default()
        } else {
            self.plan.faults
        };
        let mut choices: Vec<(u32, Action)> = Vec::new();
        let mut busy = false;
        let mut free = 0;
        for (&id, link) in &self.links {
            let is_gone = link.stream.is_none() && link.owner != Owner::Outside;
            match &link.doing {
                _ if link.stuck.is_some() => {
                    let often = match link.stuck {
                        _ if self.calm => 20_000,
                        // Its worker may have nothing to ask for meanwhile.
                        Some(Stuck::After(_)) => 200,
                        _ => 500,
                    };
                    choices.push((often, Action::Release(id)));
                }
                Doing::Nothing if !link.requests.is_empty() => {
                    let often = match link.is_next {
                        true => 200_000,
                        false => link.share(20_000),
                    };
                    choices.push((often, Action::CarryOut(id)));
                    busy = true;
                    if link.owner != Owner::Outside {
                        let often = if self.is_leaving(link.owner) { 50 } else { 10 };
                        choices.push((often * faults.stuck, Action::Stick(id)));
                    }
                }
                Doing::Nothing if is_gone => choices.push((4_000, Action::Forget(id))),
                Doing::Nothing if link.owner == Owner::Outside => free += 1,
                Doing::Nothing | Doing::Waiting { .. } | Doing::CarriedOut => {}
                Doing::Uncommitted { .. } => {
                    choices.push((link.share(6_000), Action::Commit(id)));
                    if is_gone || faults.lost_before > 0 && link.owner != Owner::Outside {
                        choices.push((1_000, Action::Abort(id)));
                    }
                    busy = true;
                }
                Doing::Answered { .. } => {
                    choices.push((link.share(8_000), Action::Answer(id)));
                    busy = true;
                }
            }
            if !link.heard.is_empty() {
                choices.push((8_000, Action::Tell(id)));
                choices.push((8 * faults.unheard, Action::Mute(id)));
            }
            if link.stream.is_some() && link.session.is_some() {
                // With a flush on its way there is something to find out, and while its worker leaves not much time for that.
                let often = match self.flushes(link) {
                    true if self.is_leaving(link.owner) => 250,
                    true => 50,
                    false => 1,
                };
                choices.push((often * faults.cut, Action::Cut(id)));
            }
        }
        if free > 0 {
            for at in 0..self.plan.wishes.len() {
                if self.may_be_granted(&self.plan.wishes[at]) {
                    // What is sent to a run that is played may come while it is being given up.
                    let often = match self.plan.wishes[at].run() {
                        _ if self.calm => 3_000,
                        Some(run) if self.is_played(run) => 2_500,
                        _ => 600,
                    };
                    choices.push((often, Action::Grant(at)));
                }
            }
        }
        let alive = self
            .places
            .iter()
            .filter(|place| place.life.is_some())
            .count();
        for (at, place) in self.places.iter().enumerate() {
            match (&place.life, place.frozen) {
                (None, _) => {
                    let often = if alive == 0 { 30_000 } else { 1_500 };
                    choices.push((often, Action::Begin(at)));
                }
                (Some(_), true) => {
                    let often = if self.calm { 50_000 } else { 1_500 };
                    choices.push((often, Action::Thaw(at)));
                    choices.push((faults.kill * 20, Action::Kill(at)));
                }
                (Some(life), false) => {
                    // With something of its on the way it is of more interest.
                    let mine = || {
                        self.links
                            .values()
                            .filter(|link| link.owner == Owner::Worker(at))
                    };
                    let is_asking = mine().any(|link| !link.requests.is_empty());
                    let is_stuck = mine().any(|link| link.stuck.is_some());
                    let often = if life.draining.is_some() { 60 } else { 20 };
                    choices.push((faults.kill * often, Action::Kill(at)));
                    let often = if is_asking { 100 } else { 20 };
                    choices.push((faults.freeze * often, Action::Freeze(at)));
                    if life.draining.is_none() {
                        let often = if is_stuck { 200 } else { 20 };
                        choices.push((faults.drain * often, Action::Drain(at)));
                    }
                }
            }
        }
        if self.outage {
            let often = if self.calm { 50_000 } else { 3_000 };
            choices.push((often, Action::Back));
        } else {
            choices.push((faults.outage * 10, Action::Outage));
        }
        let often = match busy {
            // Or whoever is held up would be held up for longer than leases.
            true if faults.uneven > 0 => 1_000,
            true => 3_000,
            false => 12_000,
        };
        choices.push((often, Action::Advance));
        let sum: u32 = choices.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.rng.u32(0..sum);
        for (weight, action) in choices {
            if drawn < weight {
                return action;
            }
            drawn -= weight;
        }
        Action::Advance
    }

    /// Whether a worker drains.
    fn is_leaving(&self, owner: Owner) -> bool {
        let Owner::Worker(at) = owner else {
            return false;
        };
        let life = self.places[at].life.as_ref();
        life.is_some_and(|life| life.draining.is_some())
    }

    /// Whether a worker holds a run.
    pub(super) fn is_played(&self, run: usize) -> bool {
        let shared = self.shared.borrow();
        let id = self.plan.runs[run].id.as_ref();
        id.is_some_and(|id| shared.ledger.holder(id).is_some())
    }

    pub(super) fn may_be_granted(&self, wish: &Wish) -> bool {
        let id = |at: usize| self.plan.runs[at].id.is_some();
        match wish {
            Wish::Start(_) | Wish::ResumeById(_) | Wish::Schedule | Wish::Unschedule => true,
            Wish::Send(at, ..) | Wish::Pause(at) | Wish::Resume(at) | Wish::Cancel(at) => id(*at),
        }
    }

    pub(super) fn how(&mut self, link: u32, sql: &str) -> How {
        if self.calm {
            return How::Plain;
        }
        let faults = self.plan.faults;
        let is_outside = self.links[&link].owner == Owner::Outside;
        let is_gone = self.links[&link].stream.is_none();
        let mut drawn = self.rng.u32(0..1_000);
        let mut hits = |rate: u32| {
            let hit = drawn < rate;
            drawn = drawn.saturating_sub(rate);
            hit
        };
        let is_begin = sql
            .get(..5)
            .is_some_and(|word| word.eq_ignore_ascii_case("begin"));
        let is_guests = self.links[&link].is_guests;
        if hits(faults.slow) && !is_begin && !is_guests {
            return How::Slow;
        }
        if is_outside || is_gone {
            return How::Plain;
        }
        if hits(faults.late) {
            return How::Late;
        }
        if hits(faults.lost_before) {
            return How::LostBefore;
        }
        if hits(faults.lost_after) {
            return How::LostAfter;
        }
        let is_idle = self.links[&link]
            .session
            .is_some_and(|session| self.theatre.server.status(session) == b'I');
        if hits(faults.collide) && is_idle && !is_begin {
            return How::Collides;
        }
        How::Plain
    }

    pub(super) fn act(&mut self, action: Action) -> Result<()> {
        match &action {
            Action::CarryOut(_) | Action::Grant(_) | Action::Advance => {}
            other => self.note(format!("{other:?}")),
        }
        match action {
            Action::CarryOut(link) => self.carry_out(link),
            Action::Commit(link) => self.commit(link),
            Action::Abort(link) => self.abort(link),
            Action::Answer(link) => {
                let link_of = self.link(link)?;
                if let Doing::Answered { answer } =
                    std::mem::replace(&mut link_of.doing, Doing::Nothing)
                {
                    self.answer(link, &answer)?;
                }
                Ok(())
            }
            Action::Tell(link) => {
                let heard: Vec<u8> = self.link(link)?.heard.drain(..).flatten().collect();
                self.send(link, &heard)
            }
            Action::Mute(link) => {
                self.link(link)?.heard.clear();
                Ok(())
            }
            Action::Forget(link) => self.forget(link),
            Action::Cut(link) => {
                self.cut(link)?;
                self.turn_of(link)
            }
            Action::Grant(at) => self.grant(at),
            Action::Advance => self.advance(),
            Action::Kill(at) => {
                let mut its = self
                    .links
                    .values()
                    .filter(|link| link.owner == Owner::Worker(at));
                let how = match its.any(|link| !link.requests.is_empty()) {
                    true => KILLED_ASKING,
                    false => KILLED,
                };
                *self.shared.borrow_mut().deaths.entry(how).or_default() += 1;
                self.bury(at)
            }
            Action::Stick(link) => {
                let stuck = match self.rng.bool() {
                    true => Stuck::Long,
                    false => self.after(),
                };
                self.link(link)?.stuck = Some(stuck);
                Ok(())
            }
            Action::Release(link) => {
                self.link(link)?.stuck = None;
                Ok(())
            }
            Action::Freeze(at) => {
                self.places[at].frozen = true;
                // Some of what it has sent arrives only when others have its runs.
                if self.plan.faults.stuck > 0 {
                    for link in self.links.values_mut() {
                        let is_its = link.owner == Owner::Worker(at) && !link.requests.is_empty();
                        if is_its && self.rng.u32(0..4) > 0 {
                            link.stuck = Some(Stuck::Long);
                        }
                    }
                }
                Ok(())
            }
            Action::Thaw(at) => {
                self.places[at].frozen = false;
                let owed = std::mem::take(&mut self.places[at].owed);
                self.turn(at, owed)
            }
            Action::Drain(at) => {
                if let Some(life) = &mut self.places[at].life
                    && let Some(worker) = life.worker.take()
                {
                    life.draining = Some(life.runtime.spawn(async move {
                        let _ = worker.drain().await;
                    }));
                }
                self.turn(at, Duration::ZERO)
            }
            Action::Begin(at) => self.begin(at),
            Action::Outage => self.black_out(),
            Action::Back => {
                self.outage = false;
                Ok(())
            }
        }
    }
}
