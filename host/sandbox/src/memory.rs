//! The limit on a guest's linear memory.

use wasmtime::ResourceLimiter;

/// Table elements that one table may have; the pool reserves address space for as many. Go puts every function of a program into its table:
/// 7,000 of a small one, 16,000 of one that serves HTTP.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Refuses growth beyond the limit, counted over all memories of a guest, and remembers that it did.
///
/// A refused growth is not an end by itself: a program may cope. Most abort, and then the remembered refusal names the cause.
#[derive(Debug)]
pub(crate) struct MemoryLimit {
    max_bytes: usize,
    used_bytes: usize,
    refused: bool,
    refused_table: bool,
}

impl MemoryLimit {
    pub(crate) fn new(max_bytes: usize) -> MemoryLimit {
        MemoryLimit {
            max_bytes,
            used_bytes: 0,
            refused: false,
            refused_table: false,
        }
    }

    /// Whether the guest asked for more than it may have.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// Whether the guest asked for a longer table than it may have.
    pub(crate) fn refused_table(&self) -> bool {
        self.refused_table
    }

    /// The limit in bytes.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self
            .used_bytes
            .saturating_add(desired.saturating_sub(current));
        if used > self.max_bytes {
            self.refused = true;
            return Ok(false);
        }
        self.used_bytes = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= TABLE_ELEMENTS_MAX;
        self.refused_table |= !fits;
        Ok(fits)
    }
}
