//! Somebody who only works here.

use dacapo_guest::step;

use crate::Hostile;
use crate::bindings::exports::test::hostile::bystander::Guest;

impl Guest for Hostile {
    fn work(n: u32) -> Result<u32, String> {
        let mut sum = n;
        for name in ["first", "second", "third"] {
            sum = step(name).run(|| Ok(sum + 1))?;
        }
        Ok(sum)
    }
}
