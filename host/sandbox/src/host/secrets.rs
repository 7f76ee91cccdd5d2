//! `dacapo:workflow/secrets`: secrets whose bytes a guest is granted.

use super::bindings::dacapo::workflow::secrets::Host;
use super::bindings::dacapo::workflow::types;
use crate::guest::Guest;

impl Host for Guest {
    fn reveal(&mut self, name: String) -> wasmtime::Result<Result<String, types::Failure>> {
        self.attempt_for("secrets.reveal")?;
        let Some(outbound) = &self.go.outbound else {
            return Ok(Err(Guest::no_outbound().into()));
        };
        let revealed = outbound.reveal(&self.go.terms.grants, &name);
        Ok(self.refuse(revealed)?.map_err(Into::into))
    }
}
