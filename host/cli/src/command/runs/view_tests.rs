use std::collections::BTreeMap;

use dacapo_client::{Deployment, RunProgress, StepOutcome, StepStatus, WaitingFor};
use dacapo_model::{Kind, Payload, StepKey};

use super::*;

const NOW: i64 = 1_795_000_000_000_000;

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_micros(NOW - seconds * 1_000_000)
}

fn run(steps: usize) -> Run {
    let step = |number: usize| Step {
        key: StepKey::from_trusted(format!("part#{number}")),
        name: "part".to_owned(),
        kind: Kind::Step,
        status: StepStatus::Completed,
        attempts: 1,
        outcome: Some(StepOutcome::Ok(Payload::from_trusted(number.to_string()))),
        started_at: ago(10),
        finished_at: Some(ago(9)),
        due: None,
        failed_attempts: Vec::new(),
    };
    Run {
        id: "01a207fd-f74f-77b1-a2a9-db6f33855b68".parse().unwrap(),
        workflow: "shop:order/order.process".to_owned(),
        deployment: Deployment {
            package: "shop:order".to_owned(),
            number: 3,
        },
        status: Status::Suspended,
        input: Payload::from_trusted("null".to_owned()),
        output: None,
        failure: None,
        labels: BTreeMap::new(),
        created_at: ago(3_700),
        deadline: None,
        parent: None,
        queue: None,
        priority: 0,
        concurrency_key: None,
        started_at: Some(ago(90)),
        finished_at: None,
        progress: RunProgress {
            done: 1,
            total: Some(3),
            note: Some("packed\x1b[2J".to_owned()),
            said_at: Some(ago(5)),
        },
        waiting_for: Some(WaitingFor {
            reason: "event".to_owned(),
            events: vec!["settled".to_owned()],
            wake_at: None,
        }),
        blocked: None,
        steps: (1..=steps).map(step).collect(),
        interventions: Vec::new(),
    }
}

fn seen(view: &mut View, columns: usize, rows: usize) -> String {
    let lines = view.lines_at(columns, rows, Timestamp::from_micros(NOW));
    assert_eq!(lines.len(), rows.max(1));
    let lines: Vec<String> = lines.iter().map(Line::plain).collect();
    lines.join("\n") + "\n"
}

fn view(steps: usize) -> View {
    let run = run(steps);
    let mut view = View::new(run.id, false);
    view.show(run, Vec::new());
    view
}

#[test]
fn a_run_is_shown_with_what_it_waits_for_and_how_far_it_is() {
    let screen = seen(&mut view(2), 100, 14);
    for words in [
        "shop:order/order.process",
        "deployment 3 of shop:order",
        "suspended  waits for settled",
        "created 1h 1m ago, began 1m 30s ago",
        "[==========                    ] 1/3  packed",
        "part#2",
        "q quit",
        "2 steps",
    ] {
        assert!(screen.contains(words), "{words:?} is not in\n{screen}");
    }
    assert!(!screen.contains('\x1b'), "{screen}");
}

#[test]
fn the_newest_steps_are_followed_until_somebody_scrolls() {
    let mut view = view(50);
    let screen = seen(&mut view, 80, 16);
    assert!(screen.contains("part#50") && !screen.contains("part#1 "));
    view.scroll(-1);
    let screen = seen(&mut view, 80, 16);
    assert!(screen.contains("part#49") && !screen.contains("part#50"));
    assert!(screen.contains("of 50, f follows"), "{screen}");
    // Those that come meanwhile move nothing.
    view.show(run(60), Vec::new());
    let screen = seen(&mut view, 80, 16);
    assert!(screen.contains("part#49") && !screen.contains("part#60"));
    view.scroll(isize::MIN);
    assert!(seen(&mut view, 80, 16).contains("part#1 "));
    view.scroll_page(1);
    assert!(!seen(&mut view, 80, 16).contains("part#1 "));
    view.follow();
    assert!(seen(&mut view, 80, 16).contains("part#60"));
    view.scroll(-3);
    view.scroll(100);
    view.show(run(70), Vec::new());
    assert!(seen(&mut view, 80, 16).contains("part#70"));
}

#[test]
fn no_size_of_a_terminal_is_too_small_or_too_large() {
    for (width, height) in [(0, 0), (1, 1), (3, 2), (20, 5), (80, 3), (400, 200)] {
        let mut view = view(30);
        seen(&mut view, width, height);
        view.scroll_page(-1);
        seen(&mut view, width, height);
    }
}

#[test]
fn a_question_stands_in_the_place_of_the_keys() {
    let mut view = view(1);
    view.ask(Some(Question::Cancel));
    let screen = seen(&mut view, 100, 12);
    assert!(screen.contains("cancel this run?") && !screen.contains("q quit"));
    view.ask(None);
    assert!(seen(&mut view, 100, 12).contains("q quit"));
    view.say("it is paused".to_owned(), Tone::Good);
    assert!(seen(&mut view, 100, 12).contains("it is paused"));
}

#[test]
fn ages_are_read_at_a_glance() {
    for (seconds, text) in [
        (0, "0s"),
        (59, "59s"),
        (200, "3m 20s"),
        (7_260, "2h 1m"),
        (200_000, "2d 7h"),
        (-5, "0s"),
    ] {
        assert_eq!(age(ago(seconds), ago(0)), text);
    }
}
