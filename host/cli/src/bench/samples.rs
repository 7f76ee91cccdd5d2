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

/// The middle of some figures; zero when there are none.
pub(super) fn middle(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
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
    fn the_middle_of_figures_is_one_of_them() {
        assert_eq!(middle(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(middle(&[]).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn no_samples_take_no_time() {
        assert_eq!(Samples::default().p99(), Duration::ZERO);
    }
}
