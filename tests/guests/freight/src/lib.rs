//! Integers of 64 bits and large texts from others: the same in each language whose kit reads them into types.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use bindings::exports::test::freight::freight::Guest;
use dacapo_guest::{child, step, wait_for};
use serde::Deserialize;

dacapo_guest::workflows!(Freight);

struct Freight;

#[derive(Debug, Deserialize)]
struct Parcel {
    id: u64,
    others: Vec<i64>,
}

impl Guest for Freight {
    fn count() -> String {
        let most: u64 = child("most", "test:port/port.most").run(&()).unwrap();
        let parcel: Parcel = wait_for("parcel").recv().unwrap();
        format!("{most} {} {:?}", parcel.id, parcel.others)
    }

    fn load(size: u32) -> u64 {
        let mut total = 0;
        for _ in 0..12 {
            let text: String = step("large").run(|| Ok("x".repeat(size as usize))).unwrap();
            let loaded: String = child("load", "test:port/port.load").run(&size).unwrap();
            total += text.len() + loaded.len();
        }
        let last: String = wait_for("last").recv().unwrap();
        (total + last.len()) as u64
    }
}
