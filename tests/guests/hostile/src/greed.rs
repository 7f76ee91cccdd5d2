//! Computing, forks, children, and memory without end.

use std::hint::black_box;

use dacapo_guest::raw::forks::{self, Side};
use dacapo_guest::{Failure, child, map, step};

use crate::Hostile;
use crate::bindings::exports::test::hostile::greed::Guest;

impl Guest for Hostile {
    fn spins_in_branches() {
        if let Ok(Side::Branch(index)) = forks::fork("spin", 4, None) {
            let mut turns = u64::from(index);
            loop {
                turns = black_box(turns.wrapping_add(1));
            }
        }
    }

    fn hoards_crumbs() {
        hoard();
    }

    fn hoards_in_step() -> Result<(), String> {
        let failed: Result<(), Failure> = step("hoard").attempts(1).run(|| {
            hoard();
            Ok(())
        });
        failed.map_err(|failure| failure.code)
    }

    fn forks_wide() {
        // An instance for a branch comes by here, too, turns into it, and goes on to the next fork.
        loop {
            let _ = black_box(forks::fork("wide", 10_000, None));
        }
    }

    fn forks_deep() -> Result<(), String> {
        deeper().map_err(|failure| failure.code)
    }

    fn forks_too_many() {
        let _ = forks::fork("many", u32::MAX, None);
    }

    fn breeds(generation: u32) -> Result<(), String> {
        let next = generation + 1;
        child("next", "test:hostile/greed.breeds")
            .run::<_, ()>(&next)
            .map_err(|failure| format!("{generation}: {}: {}", failure.code, failure.message))
    }

    fn litters() -> Result<(), String> {
        loop {
            child("one", "test:hostile/greed.idles")
                .start::<_, ()>(&())
                .map_err(|failure| failure.code)?;
        }
    }

    fn idles() {}
}

fn hoard() {
    let mut held = Vec::new();
    loop {
        held.push(black_box(vec![1_u8; 100]));
    }
}

fn deeper() -> Result<(), Failure> {
    map("deeper", &[()]).run(|()| deeper())?;
    Ok(())
}
