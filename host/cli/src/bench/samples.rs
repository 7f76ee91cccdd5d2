//! Many measurements of the same thing.

use std::time::Duration;

/// Durations, to be asked for their middle and their end.
#[derive(Debug, Default)]
pub(super) struct Samples {
    sorted: Vec<Duration>,
}

impl FromIterator<Duration> for Samples {
    fn from_iter<T: IntoIterator<Item = Duration>>(durations: T) -> Self {
        let mut sorted: Vec<Duration> = durations.into_iter().collect();
        sorted.sort_unstable();
        Self { sorted }
    }
}

impl Samples {
    /// The duration that this share of all, from 0 to 1, does not exceed; zero when there are none.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let last = self.sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length is an index"
        )]
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.sorted.get(index).copied().unwrap_or_default()
    }

    /// The middle.
    pub(super) fn p50(&self) -> Duration {
        self.quantile(0.5)
    }

    /// What one in a hundred exceeds.
    pub(super) fn p99(&self) -> Duration {
        self.quantile(0.99)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_from_the_sorted_samples() {
        let samples: Samples = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(samples.p50(), Duration::from_millis(51));
        assert_eq!(samples.p99(), Duration::from_millis(100));
        assert_eq!(samples.quantile(1.0), Duration::from_millis(101));
    }

    #[test]
    fn no_samples_take_no_time() {
        assert_eq!(Samples::default().p99(), Duration::ZERO);
    }
}
