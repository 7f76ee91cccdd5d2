//! `dacapo:workflow/context`: what a run may know about itself.

use dacapo_model::Timestamp;

use super::bindings::dacapo::workflow::context::Host;
use crate::guest::Guest;

impl Host for Guest {
    fn run_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.go.run_id.to_string())
    }

    fn workflow(&mut self) -> wasmtime::Result<String> {
        Ok(self.go.workflow.clone())
    }

    fn created_at(&mut self) -> wasmtime::Result<u64> {
        Ok(unix_ms(self.go.created_at))
    }

    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(unix_ms(self.visible_now()))
    }

    fn labels(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.go.labels.clone())
    }

    fn idempotency_key(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.open_idempotency_key())
    }

    fn changed(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.take_new_way(&name)?)
    }
}

/// Times before 1970 have no form in the interface, and no run was started then.
fn unix_ms(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0)
}
