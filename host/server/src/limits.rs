//! How much may be asked of a server.

use std::time::Duration;

/// Limits of an application, with units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The body of a request, at most, in bytes. Those that carry many starts or a whole run may be larger.
    pub body_max_bytes: usize,
    /// The body of a request that carries many starts, or a run from another database.
    pub large_body_max_bytes: usize,
    /// A component that is deployed, with its manifest.
    pub component_max_bytes: usize,
    /// Requests that one address may send in a second, on average. 0: any number.
    pub requests_per_second: u32,
    /// Requests that an address may send at once after a rest.
    pub requests_burst: u32,
    /// How long an answer may take, unless it is asked to wait for something.
    pub answer_time_max: Duration,
    /// How long something that is done to many runs may take.
    pub bulk_time_max: Duration,
    /// Streams that may be open at the same time.
    pub streams_max: u32,
    /// How often a stream without news says that it lives.
    pub stream_heartbeat: Duration,
    /// How long a tool that is called over MCP waits for the end of a run.
    pub tool_wait_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_max_bytes: 2 << 20,
            large_body_max_bytes: 64 << 20,
            component_max_bytes: 256 << 20,
            requests_per_second: 200,
            requests_burst: 1_000,
            answer_time_max: Duration::from_secs(30),
            bulk_time_max: Duration::from_secs(600),
            streams_max: 256,
            stream_heartbeat: Duration::from_secs(15),
            tool_wait_max: Duration::from_secs(60),
        }
    }
}
