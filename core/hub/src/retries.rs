//! What is asked again, and when.

use std::thread;
use std::time::Duration;

use crate::error::HubError;
use crate::settings::Patience;

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may go well another time.
    Transient(HubError),
    Final(HubError),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// Counts failures, and waits longer after each.
pub(crate) struct Retries {
    patience: Patience,
    failures: u32,
}

impl Retries {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            failures: 0,
        }
    }

    /// Something arrived: what failed before does not count any more.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits, if there is to be another attempt.
    pub(crate) fn after(&mut self, failure: Failure) -> Result<(), HubError> {
        let error = match failure {
            Failure::Transient(error) => error,
            Failure::Final(error) => return Err(error),
        };
        self.failures += 1;
        if self.failures >= self.patience.attempts {
            return Err(error);
        }
        thread::sleep(self.wait());
        Ok(())
    }

    fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(6);
        self.patience.wait * 2_u32.pow(doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_waits_longer_than_the_one_before() {
        let patience = Patience::default();
        let waits = (1..=4).map(|failures| Retries { patience, failures }.wait().as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [1, 2, 4, 8]);
    }
}
