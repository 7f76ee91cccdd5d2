//! Calls that no compiler makes: the imports as they are below all types, with pointers and handles that are none.

// What is wrong with these calls is the point of them, and it is the host that must not be harmed.
#![allow(unsafe_code)]

use std::ptr::null_mut;

use dacapo_guest::raw::children::Options as ChildOptions;
use dacapo_guest::raw::steps;
use dacapo_guest::raw::steps::{Options, State};
use wasip2::clocks::monotonic_clock;
use wasip2::http::types::{Fields, OutgoingRequest};

use crate::Hostile;
use crate::bindings::exports::test::hostile::forged::Guest;

#[link(wasm_import_module = "dacapo:workflow/steps@0.1.0")]
unsafe extern "C" {
    #[link_name = "step-run"]
    fn step_run(name: *mut u8, name_len: usize, has_options: i32, options: i32, answer: *mut u8);
    #[link_name = "[method]attempt.number"]
    fn attempt_number(attempt: i32) -> i32;
    #[link_name = "[resource-drop]attempt"]
    fn drop_attempt(attempt: i32);
    #[link_name = "[resource-drop]options"]
    fn drop_options(options: i32);
}

#[link(wasm_import_module = "dacapo:workflow/log@0.1.0")]
unsafe extern "C" {
    fn log(level: i32, text: *mut u8, text_len: usize, fields: *mut u8, fields_len: usize);
}

/// The last bytes that an address can name, which no memory of a guest reaches to.
const BEYOND: *mut u8 = 0xffff_ff00 as *mut u8;

/// The word before the end of an answer that fits: room for whatever the host writes.
fn room() -> *mut u8 {
    Box::leak(Box::new([0_u64; 32])).as_mut_ptr().cast()
}

impl Guest for Hostile {
    fn malformed_text() {
        let mut bytes = [b'a', 0xff, 0xfe, b'z'];
        unsafe { step_run(bytes.as_mut_ptr(), bytes.len(), 0, 0, room()) };
    }

    fn wild_pointer() {
        unsafe { log(2, BEYOND, 100, null_mut(), 0) };
    }

    fn wild_length() {
        let mut bytes = [b'a'];
        unsafe { log(2, bytes.as_mut_ptr(), u32::MAX as usize, null_mut(), 0) };
    }

    fn crooked_answer() {
        let mut name = *b"s";
        unsafe { step_run(name.as_mut_ptr(), 1, 0, 0, room().wrapping_add(1)) };
    }

    fn made_up_handle() {
        unsafe { attempt_number(12_345) };
    }

    fn handle_of_another_kind() {
        let options = Options::new();
        unsafe { attempt_number(options.handle().cast_signed()) };
    }

    fn handle_after_drop() {
        if let Ok(State::Execute(attempt)) = steps::step_run("s", None) {
            let handle = attempt.handle().cast_signed();
            let _ = steps::step_end(attempt, Ok("null"));
            unsafe { attempt_number(handle) };
        }
    }

    fn handle_dropped_twice() {
        let options = Options::new();
        let handle = options.handle().cast_signed();
        drop(options);
        unsafe { drop_options(handle) };
    }

    fn ended_attempt() {
        if let Ok(State::Execute(attempt)) = steps::step_run("s", None) {
            let handle = attempt.handle().cast_signed();
            let _ = steps::step_end(attempt, Ok("null"));
            let _second = steps::step_run("t", None);
            unsafe { drop_attempt(handle) };
            unsafe { drop_attempt(handle) };
        }
    }

    fn aliased_texts() {
        let text = vec![b'x'; 1 << 20];
        let field = [text.as_ptr() as usize, text.len()];
        let mut fields = vec![[field, field]; 1_000];
        unsafe { log(2, null_mut(), 0, fields.as_mut_ptr().cast(), fields.len()) };
    }

    fn hoards_options() {
        loop {
            std::mem::forget(Options::new());
        }
    }

    fn hoards_timers() {
        loop {
            std::mem::forget(monotonic_clock::subscribe_duration(1));
        }
    }

    fn hoards_requests() {
        let path = format!("/{}", "x".repeat(60_000));
        loop {
            let request = OutgoingRequest::new(Fields::new());
            let _ = request.set_path_with_query(Some(&path));
            std::mem::forget(request);
        }
    }

    fn hoards_labels() {
        let labels: Vec<(String, String)> = (0..10_000)
            .map(|number| (format!("label {number}"), "x".repeat(200)))
            .collect();
        loop {
            let options = ChildOptions::new();
            options.set_labels(&labels);
            std::mem::forget(options);
        }
    }
}
