//! A deployment that takes a part of the new runs of its package.

use std::collections::BTreeMap;

use crate::RunId;

/// What goes to a deployment while it is rolled out; all other new runs go to the active one.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rollout {
    /// Of a hundred new runs so many.
    pub percent: u8,
    /// In any case those that have all these labels; none of them: none.
    pub labels: BTreeMap<String, String>,
}

impl Rollout {
    /// Whether a new run goes there. The same run goes the same way however often it is asked: `dacapo.takes` of the schema says the same.
    #[must_use]
    pub fn takes(&self, run: RunId, labels: &BTreeMap<String, String>) -> bool {
        let has = |(name, value): (&String, &String)| labels.get(name) == Some(value);
        (!self.labels.is_empty() && self.labels.iter().all(has)) || part_of(run) < self.percent
    }
}

/// In which of a hundred parts a run is, by the end of its id, which is random or a hash.
fn part_of(run: RunId) -> u8 {
    let bytes = run.0.as_bytes();
    let part = u16::from_be_bytes([bytes[14], bytes[15]]) % 100;
    u8::try_from(part).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_share_goes_there_and_a_larger_share_takes_the_same_runs_and_more() {
        let none = BTreeMap::new();
        let rollout = |percent| Rollout {
            percent,
            labels: BTreeMap::new(),
        };
        let runs: Vec<RunId> = (0..20_000).map(|_| RunId::new()).collect();
        let taken = |percent| {
            runs.iter()
                .filter(|run| rollout(percent).takes(**run, &none))
                .count()
        };
        assert!((1_700..2_300).contains(&taken(10)), "{}", taken(10));
        assert_eq!(taken(0), 0);
        assert!(
            runs.iter()
                .all(|run| !rollout(10).takes(*run, &none) || rollout(50).takes(*run, &none))
        );
    }

    #[test]
    fn runs_with_all_the_labels_go_there_whatever_the_share() {
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let rollout = Rollout {
            percent: 0,
            labels: labels(&[("ring", "early"), ("region", "eu")]),
        };
        let run = RunId::new();
        assert!(rollout.takes(
            run,
            &labels(&[("region", "eu"), ("ring", "early"), ("x", "y")])
        ));
        assert!(!rollout.takes(run, &labels(&[("ring", "early")])));
        assert!(!rollout.takes(run, &labels(&[("ring", "late"), ("region", "eu")])));
    }
}
