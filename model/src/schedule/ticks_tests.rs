use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next ticks after a time, in UTC without the year and the zero seconds.
fn ticks(ticks: &Ticks, after: &str, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut time = at(after);
    for _ in 0..count {
        time = ticks.next_after(time).unwrap();
        found.push(
            time.to_string()
                .replace(":00.000000Z", "")
                .replace(".000000Z", "")[5..]
                .to_owned(),
        );
    }
    found
}

fn cron(expression: &str, zone: &str) -> Ticks {
    Ticks::cron(expression, zone).unwrap()
}

#[test]
fn fields_are_minute_hour_day_month_weekday_and_seconds_may_stand_in_front() {
    let weekdays = cron("30 2 * * MON-FRI", "UTC");
    assert_eq!(
        ticks(&weekdays, "2026-11-27T02:30:00Z", 2),
        ["11-30T02:30", "12-01T02:30"]
    );
    let seconds = cron("*/20 0 3 * * *", "UTC");
    assert_eq!(
        ticks(&seconds, "2026-11-27T03:00:19Z", 3),
        ["11-27T03:00:20", "11-27T03:00:40", "11-28T03:00"]
    );
    assert_eq!(
        ticks(&cron("@daily", "UTC"), "2026-11-27T03:00:19Z", 1),
        ["11-28T00:00"]
    );
    assert_eq!(
        ticks(&cron("0 12 L * *", "UTC"), "2027-02-01T00:00:00Z", 2),
        ["02-28T12:00", "03-31T12:00"]
    );
}

#[test]
fn a_tick_is_later_than_the_time_asked_for_also_within_a_second() {
    let seconds = cron("* * * * * *", "UTC");
    assert_eq!(
        seconds.next_after(at("2026-11-27T03:00:19.999999Z")),
        Some(at("2026-11-27T03:00:20Z"))
    );
    assert_eq!(
        seconds.next_after(at("2026-11-27T03:00:20Z")),
        Some(at("2026-11-27T03:00:21Z"))
    );
    assert_eq!(
        seconds.next_from(at("2026-11-27T03:00:20Z")),
        Some(at("2026-11-27T03:00:20Z"))
    );
}

#[test]
fn an_hour_that_is_skipped_delays_a_time_of_day_and_drops_what_comes_often() {
    // In Paris 2027-03-28 goes from 02:00 (01:00Z) to 03:00.
    let daily = cron("30 2 * * *", "Europe/Paris");
    assert_eq!(
        ticks(&daily, "2027-03-27T00:00:00Z", 4),
        // 02:30 does not exist on the 28th: 03:00, when the clock has jumped.
        ["03-27T01:30", "03-28T01:00", "03-29T00:30", "03-30T00:30"]
    );
    let before = cron("0 1 * * *", "Europe/Paris");
    assert_eq!(
        ticks(&before, "2027-03-27T12:00:00Z", 2),
        ["03-28T00:00", "03-28T23:00"]
    );
    let often = cron("*/30 * * * *", "Europe/Paris");
    assert_eq!(
        ticks(&often, "2027-03-28T00:00:00Z", 4),
        ["03-28T00:30", "03-28T01:00", "03-28T01:30", "03-28T02:00"],
        "every half hour goes on every half hour"
    );
    let quarters = cron("*/15 2 * * *", "Europe/Paris");
    assert_eq!(
        ticks(&quarters, "2027-03-27T12:00:00Z", 1),
        ["03-29T00:00"],
        "there is no two o'clock on that day"
    );
}

#[test]
fn an_hour_that_is_repeated_does_not_repeat_a_time_of_day() {
    // In Paris 2027-10-31 goes from 03:00 (01:00Z) back to 02:00.
    let daily = cron("30 2 * * *", "Europe/Paris");
    assert_eq!(
        ticks(&daily, "2027-10-29T12:00:00Z", 3),
        ["10-30T00:30", "10-31T00:30", "11-01T01:30"]
    );
    // From within the second pass, too.
    assert_eq!(
        ticks(&daily, "2027-10-31T01:10:00Z", 1),
        ["11-01T01:30"],
        "02:30 was reached in the first pass"
    );
    let often = cron("*/30 * * * *", "Europe/Paris");
    assert_eq!(
        ticks(&often, "2027-10-30T23:30:00Z", 6),
        [
            "10-31T00:00",
            "10-31T00:30",
            "10-31T01:00",
            "10-31T01:30",
            "10-31T02:00",
            "10-31T02:30"
        ],
        "every half hour goes on every half hour"
    );
}

#[test]
fn zones_with_half_hours_and_changes_at_midnight_are_known() {
    // Lord Howe puts its clock back by half an hour: 2027-04-04 02:00 (+11, 15:00Z on the 3rd) to 01:30 (+10:30).
    let howe = cron("45 1 * * *", "Australia/Lord_Howe");
    assert_eq!(
        ticks(&howe, "2027-04-02T12:00:00Z", 3),
        ["04-02T14:45", "04-03T14:45", "04-04T15:15"]
    );
    // Santiago goes from 2027-09-05 00:00 (04:00Z) to 01:00: there is no midnight.
    let santiago = cron("0 0 * * *", "America/Santiago");
    assert_eq!(
        ticks(&santiago, "2027-09-04T12:00:00Z", 2),
        ["09-05T04:00", "09-06T03:00"]
    );
    assert_eq!(
        ticks(
            &cron("0 9 * * *", "Asia/Kathmandu"),
            "2027-01-01T00:00:00Z",
            1
        ),
        ["01-01T03:15"]
    );
}

#[test]
fn intervals_are_counted_from_the_epoch_and_know_no_change_of_clocks() {
    let quarter = Ticks::every(Duration::from_secs(900)).unwrap();
    assert_eq!(
        ticks(&quarter, "2027-10-31T00:44:59.5Z", 3),
        ["10-31T00:45", "10-31T01:00", "10-31T01:15"]
    );
    assert_eq!(
        quarter.next_from(at("2027-10-31T00:45:00Z")),
        Some(at("2027-10-31T00:45:00Z"))
    );
    assert_eq!(
        quarter.next_after(at("1969-12-31T23:59:59Z")),
        Some(Timestamp::EPOCH)
    );
}

#[test]
fn the_last_times_have_no_next_one() {
    let years = cron("0 0 0 1 1 * 2026", "UTC");
    assert_eq!(years.next_after(at("2026-01-01T00:00:00Z")), None);
    assert_eq!(
        cron("0 0 30 2 *", "UTC").next_after(at("2026-01-01T00:00:00Z")),
        None,
        "there is no 30th of February"
    );
    for ticks in [
        cron("* * * * *", "Asia/Tokyo"),
        Ticks::every(INTERVAL_MAX).unwrap(),
    ] {
        assert_eq!(ticks.next_after(Timestamp::MAX), None);
        assert!(
            ticks
                .next_after(Timestamp::MIN)
                .is_none_or(|tick| tick > Timestamp::MIN)
        );
    }
}

#[test]
fn what_is_no_cron_expression_is_said_with_what_was_expected() {
    for (expression, says) in [
        ("", "it is empty"),
        ("* * *", "\"* * *\": it has 3 fields: expected"),
        ("61 * * * *", "minute \"61\": number out of bounds"),
        ("0 0 25 * * *", "hour \"25\": number out of bounds"),
        ("every day", "it has 2 fields"),
        ("* * * x *", "month \"x\": "),
        ("* * * * * * * *", "it has 8 fields"),
        ("5-1 * * * *", "minute \"5-1\": "),
        ("* */0 * * *", "hour \"*/0\": "),
        ("@reboot", "it has 1 field:"),
        ("0 0 * * *\u{301}", "not ASCII"),
        (&"*".repeat(300), "the limit is 200 bytes"),
    ] {
        let error = Ticks::cron(expression, "UTC").unwrap_err();
        assert_eq!(error.what(), "cron expression");
        let error = error.to_string();
        assert!(error.contains(says), "expected {says:?} in: {error}");
        assert!(error.contains("expected minute, hour"), "{error}");
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn what_is_no_time_zone_is_said_with_what_was_expected() {
    for zone in ["Europe/Pari", "", "Mars/Olympus", "../etc/passwd", "+02:00"] {
        let error = Ticks::cron("* * * * *", zone).unwrap_err();
        assert_eq!(error, TicksError::TimeZone(zone.to_owned()));
        assert!(error.to_string().contains("Europe/Paris"), "{error}");
    }
    let (_, zone) = cron("* * * * *", "europe/paris")
        .as_cron()
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert_eq!(zone, "Europe/Paris", "it has one spelling");
}

#[test]
fn absurd_intervals_are_refused() {
    for interval in [
        Duration::ZERO,
        Duration::from_millis(999),
        Duration::from_millis(1_500),
        INTERVAL_MAX + Duration::from_secs(1),
        Duration::MAX,
    ] {
        let error = Ticks::every(interval).unwrap_err().to_string();
        assert!(error.contains("from 1 s to 366 days"), "{error}");
    }
}

#[test]
fn the_newest_ticks_are_the_last_of_all() {
    let daily = cron("30 2 * * *", "Europe/Paris");
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2027-11-01T00:00:00Z"));
    let all: Vec<_> = daily
        .iter_from(from)
        .take_while(|&tick| tick <= to)
        .collect();
    assert_eq!(daily.newest(from, to, 3), all[all.len() - 3..]);
    assert_eq!(daily.newest(from, to, 10_000), all);
    assert_eq!(daily.newest(to, from, 10), [], "from after to");
    let tick = *all.last().unwrap();
    assert_eq!(daily.newest(tick, tick, 10), [tick], "both ends count");
}

proptest! {
    /// In whatever zone, around whatever change of clocks: ticks only go forward, each fits the expression's seconds, and a search from
    /// anywhere between two of them finds the second.
    #[test]
    fn ticks_are_strictly_increasing_and_found_from_anywhere_before_them(
        expression in prop::sample::select(vec![
            "30 2 * * *", "0 0 * * *", "*/15 * * * *", "0 */2 * * *", "15 0-5 * * *", "0 30 1 * * SUN", "*/20 */30 1-3 * * *",
        ]),
        zone in prop::sample::select(vec![
            "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Pacific/Apia", "UTC",
        ]),
        start in 1_600_000_000_i64..1_900_000_000,
        between in 0.0_f64..1.0,
    ) {
        let ticks = cron(expression, zone);
        let mut before = Timestamp::from_micros(start * 1_000_000);
        for _ in 0..30 {
            let next = ticks.next_after(before).unwrap();
            prop_assert!(next > before);
            prop_assert_eq!(next.as_micros() % 1_000_000, 0);
            let gap = (next.as_micros() - before.as_micros()) as f64;
            let middle = Timestamp::from_micros(before.as_micros() + (gap * between) as i64);
            prop_assert_eq!(ticks.next_after(middle.min(Timestamp::from_micros(next.as_micros() - 1))), Some(next));
            before = next;
        }
    }
}
