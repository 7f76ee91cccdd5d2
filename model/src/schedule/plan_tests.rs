use super::*;

fn at(text: &str) -> Timestamp {
    format!("2027-03-01T{text}Z").parse().unwrap()
}

fn plan(overlap: Overlap, catch_up: CatchUp) -> SchedulePlan {
    SchedulePlan {
        namespace: "default".to_owned(),
        name: "hourly".to_owned(),
        workflow: "shop:orders/api.report".to_owned(),
        ticks: Ticks::cron("0 * * * *", "UTC").unwrap(),
        jitter: Duration::ZERO,
        overlap,
        catch_up,
    }
}

fn standing(next: &str, now: &str) -> Standing {
    Standing {
        next: at(next),
        now: at(now),
        waited: false,
        previous_active: false,
    }
}

fn hours(ticks: &[Timestamp]) -> Vec<String> {
    ticks
        .iter()
        .map(|tick| tick.to_string()[11..16].to_owned())
        .collect()
}

#[test]
fn a_tick_that_has_come_is_started_and_the_next_one_is_next() {
    for overlap in Overlap::ALL {
        for catch_up in CatchUp::ALL {
            let decision = plan(overlap, catch_up).decide(&standing("03:00:00", "03:00:00.02"));
            assert_eq!(
                decision,
                Decision {
                    start: vec![at("03:00:00")],
                    cancel_previous: false,
                    wait: Wait::Nothing,
                    passed_over: None,
                    next: Some(at("04:00:00")),
                },
                "{overlap} {catch_up}"
            );
        }
    }
}

#[test]
fn before_its_time_nothing_is_decided() {
    let early = plan(Overlap::Skip, CatchUp::One).decide(&standing("03:00:00", "02:59:59.9"));
    assert_eq!((early.start, early.passed_over), (vec![], None));
    assert_eq!(early.next, Some(at("03:00:00")));
}

#[test]
fn a_tick_that_is_late_by_less_than_a_minute_was_not_missed() {
    let late = plan(Overlap::Allow, CatchUp::None).decide(&standing("03:00:00", "03:01:00"));
    assert_eq!(late.start, [at("03:00:00")]);
    let missed =
        plan(Overlap::Allow, CatchUp::None).decide(&standing("03:00:00", "03:01:00.000001"));
    assert_eq!(missed.start, []);
    assert_eq!(
        missed.passed_over,
        Some(PassedOver {
            from: at("03:00:00"),
            until: Some(at("04:00:00")),
            reason: PassedOverReason::Missed
        })
    );
}

#[test]
fn catching_up_starts_none_or_the_newest_or_all_that_were_missed() {
    let down = standing("03:00:00", "07:30:00");
    let start = |catch_up| hours(&plan(Overlap::Allow, catch_up).decide(&down).start);
    assert_eq!(start(CatchUp::None), [""; 0]);
    assert_eq!(start(CatchUp::One), ["07:00"]);
    assert_eq!(
        start(CatchUp::All),
        ["03:00", "04:00", "05:00", "06:00", "07:00"]
    );
    // One that is due just now was not missed.
    let down = standing("03:00:00", "07:00:01");
    let start = |catch_up| hours(&plan(Overlap::Allow, catch_up).decide(&down).start);
    assert_eq!(start(CatchUp::None), ["07:00"]);
    assert_eq!(start(CatchUp::One), ["06:00", "07:00"]);
}

#[test]
fn catching_up_is_bounded_and_goes_in_parts() {
    let mut plan = plan(Overlap::Allow, CatchUp::All);
    plan.ticks = Ticks::every(Duration::from_secs(1)).unwrap();
    let mut standing = standing("00:00:00", "05:00:00");
    let mut started = Vec::new();
    let mut passed_over = Vec::new();
    while standing.next <= standing.now {
        let decision = plan.decide(&standing);
        assert!(decision.start.len() <= STARTS_MAX);
        started.extend(decision.start);
        passed_over.extend(decision.passed_over);
        standing.next = decision.next.unwrap();
    }
    assert_eq!(started.len(), BACKLOG_MAX);
    assert_eq!(started.last(), Some(&at("05:00:00")), "the newest are kept");
    assert_eq!(
        passed_over,
        [PassedOver {
            from: at("00:00:00"),
            until: Some(started[0]),
            reason: PassedOverReason::Missed
        }]
    );
}

#[test]
fn skip_passes_over_what_comes_while_the_run_before_is_active() {
    let plan = plan(Overlap::Skip, CatchUp::All);
    let busy = Standing {
        previous_active: true,
        ..standing("03:00:00", "03:00:00")
    };
    let decision = plan.decide(&busy);
    assert_eq!(decision.start, []);
    assert_eq!(decision.next, Some(at("04:00:00")));
    let passed_over = PassedOver {
        from: at("03:00:00"),
        until: Some(at("04:00:00")),
        reason: PassedOverReason::Overlap,
    };
    assert_eq!(decision.passed_over, Some(passed_over));
    // Of several at once the first is started, and is active when the others are looked at.
    let decision = plan.decide(&standing("03:00:00", "05:10:00"));
    assert_eq!(hours(&decision.start), ["03:00"]);
    let passed_over = PassedOver {
        from: at("04:00:00"),
        until: Some(at("06:00:00")),
        reason: PassedOverReason::Overlap,
    };
    assert_eq!(decision.passed_over, Some(passed_over));
    assert_eq!(decision.next, Some(at("06:00:00")));
}

#[test]
fn queue_starts_ticks_one_after_the_other_and_loses_none() {
    let plan = plan(Overlap::Queue, CatchUp::None);
    let busy = Standing {
        previous_active: true,
        ..standing("03:00:00", "03:00:00")
    };
    let decision = plan.decide(&busy);
    assert_eq!(
        (decision.start, decision.wait, decision.next),
        (vec![], Wait::Previous, Some(at("03:00:00")))
    );
    // Two hours later that run has ended: what waited was not missed.
    let free = Standing {
        waited: true,
        ..standing("03:00:00", "05:10:00")
    };
    let decision = plan.decide(&free);
    assert_eq!(hours(&decision.start), ["03:00"]);
    assert_eq!(
        (decision.wait, decision.next, decision.passed_over),
        (Wait::Started, Some(at("04:00:00")), None)
    );
}

#[test]
fn cancel_previous_cancels_waits_and_starts_the_newest() {
    let plan = plan(Overlap::CancelPrevious, CatchUp::None);
    let busy = Standing {
        previous_active: true,
        ..standing("03:00:00", "03:00:00")
    };
    let decision = plan.decide(&busy);
    assert!(decision.cancel_previous);
    assert_eq!(
        (decision.start, decision.wait, decision.next),
        (vec![], Wait::Previous, Some(at("03:00:00")))
    );
    let free = Standing {
        waited: true,
        ..standing("03:00:00", "05:10:00")
    };
    let decision = plan.decide(&free);
    assert!(!decision.cancel_previous);
    assert_eq!(hours(&decision.start), ["05:00"]);
    let passed_over = PassedOver {
        from: at("03:00:00"),
        until: Some(at("05:00:00")),
        reason: PassedOverReason::Overlap,
    };
    assert_eq!(decision.passed_over, Some(passed_over));
    assert_eq!(decision.next, Some(at("06:00:00")));
}

#[test]
fn after_the_last_tick_there_is_no_next_one() {
    let mut plan = plan(Overlap::Skip, CatchUp::One);
    plan.ticks = Ticks::cron("0 0 3 1 3 * 2027", "UTC").unwrap();
    let decision = plan.decide(&standing("03:00:00", "03:00:00"));
    assert_eq!(
        (decision.start, decision.next),
        (vec![at("03:00:00")], None)
    );
    plan.catch_up = CatchUp::None;
    let decision = plan.decide(&standing("03:00:00", "09:00:00"));
    assert_eq!((decision.start, decision.next), (vec![], None));
    assert_eq!(
        decision.passed_over,
        Some(PassedOver {
            from: at("03:00:00"),
            until: None,
            reason: PassedOverReason::Missed
        })
    );
}

#[test]
fn jitter_delays_each_tick_by_a_share_of_its_own_and_never_beyond_the_next() {
    let mut plan = plan(Overlap::Skip, CatchUp::One);
    plan.jitter = Duration::from_secs(600);
    let ticks: Vec<_> = plan.ticks.iter_from(at("00:00:00")).take(200).collect();
    let delays: Vec<_> = ticks
        .iter()
        .map(|&tick| plan.due_at(tick).as_micros() - tick.as_micros())
        .collect();
    assert!(delays.iter().all(|delay| (0..=600_000_000).contains(delay)));
    assert!(delays.iter().any(|&delay| delay < 100_000_000));
    assert!(delays.iter().any(|&delay| delay > 500_000_000));
    assert_eq!(
        plan.due_at(ticks[7]),
        plan.due_at(ticks[7]),
        "always the same"
    );
    plan.jitter = JITTER_MAX;
    for pair in ticks.windows(2) {
        assert!(plan.due_at(pair[0]) < pair[1]);
    }
    // It is not missed while its delay lasts, and not started before it is over.
    plan.catch_up = CatchUp::None;
    let tick = ticks[1];
    let due = plan.due_at(tick);
    assert!(due > tick);
    let mut standing = standing("01:00:00", "01:00:00");
    standing.now = Timestamp::from_micros(due.as_micros() - 1);
    assert_eq!(plan.decide(&standing).start, []);
    assert_eq!(plan.decide(&standing).passed_over, None);
    standing.now = due;
    assert_eq!(plan.decide(&standing).start, [tick]);
}

#[test]
fn policies_survive_their_text_form_and_say_what_was_expected() {
    for policy in Overlap::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
        assert_eq!(
            serde_json::to_string(&policy).unwrap(),
            format!("\"{policy}\"")
        );
    }
    for policy in CatchUp::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
    let error = "never".parse::<Overlap>().unwrap_err().to_string();
    assert!(
        error.contains("skip, queue, cancel-previous, allow"),
        "{error}"
    );
    let error = "never".parse::<CatchUp>().unwrap_err().to_string();
    assert!(error.contains("none, one, all"), "{error}");
}
