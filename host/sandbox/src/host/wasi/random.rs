//! `wasi:random`: a stream derived from the run outside an attempt, real randomness inside.

use dacapo_model::RunId;
use rand::rngs::ChaCha20Rng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::guest::Guest;

/// Bytes that a guest may ask for at once.
const REQUEST_MAX_BYTES: u64 = 16 << 20;

/// The randomness of one instance.
pub(crate) struct Randomness {
    /// Drawn from outside attempts only, so that every replay draws the same.
    derived: ChaCha20Rng,
    seed: (u64, u64),
}

impl Randomness {
    /// Randomness that is the same for each instance of runs with this seed in this scope, and unlike any other's.
    ///
    /// A run's id is not secret, so nothing drawn outside an attempt is: keys are to be made inside a step.
    pub(crate) fn new(seed: RunId, scope: &str) -> Randomness {
        let mut hash = Sha256::new();
        hash.update(b"dacapo randomness 1\0");
        hash.update(seed.0.as_bytes());
        hash.update(scope.as_bytes());
        let mut derived = ChaCha20Rng::from_seed(hash.finalize().into());
        let seed = (derived.next_u64(), derived.next_u64());
        Randomness { derived, seed }
    }
}

impl Guest {
    fn random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if len > REQUEST_MAX_BYTES {
            wasmtime::bail!(
                "{len} random bytes were asked for at once, the limit is {REQUEST_MAX_BYTES}"
            );
        }
        let mut bytes = vec![0; usize::try_from(len)?];
        if self.attempt.is_some() {
            rand::rng().fill_bytes(&mut bytes);
        } else {
            self.randomness.derived.fill_bytes(&mut bytes);
        }
        Ok(bytes)
    }

    fn random_u64(&mut self) -> u64 {
        if self.attempt.is_some() {
            rand::rng().next_u64()
        } else {
            self.randomness.derived.next_u64()
        }
    }
}

impl random::Host for Guest {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random_u64())
    }
}

impl insecure::Host for Guest {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.random_bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.random_u64())
    }
}

impl insecure_seed::Host for Guest {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        // Seeded inside attempts too: programs seed their hash maps with it once, wherever they happen to be, and use them ever after.
        Ok(self.randomness.seed)
    }
}
