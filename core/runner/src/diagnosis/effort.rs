//! How much is tried.

/// How many specs of a large model are run: each is read and run anew, up to the component at fault.
const OF_A_LARGE_MODEL: usize = 24;

/// What was tried, and how much may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    most: usize,
    tried: usize,
    left_out: usize,
}

impl Effort {
    pub(super) fn for_a_model(is_large: bool) -> Self {
        Self {
            most: if is_large {
                OF_A_LARGE_MODEL
            } else {
                usize::MAX
            },
            tried: 0,
            left_out: 0,
        }
    }

    /// Whether one more repair or mistake may be tried; else it is left out.
    pub(super) fn allows_one_more(&mut self) -> bool {
        let is_allowed = self.has_some_left();
        self.left_out += usize::from(!is_allowed);
        is_allowed
    }

    /// Whether one more spec may be run.
    pub(super) fn has_some_left(self) -> bool {
        self.tried < self.most
    }

    /// Counts a spec that is run.
    pub(super) fn spend(&mut self) {
        self.tried += 1;
    }

    pub(super) fn tried(self) -> usize {
        self.tried
    }

    pub(super) fn left_out(self) -> usize {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_large_model_as_much_is_tried_as_time_allows_and_the_rest_is_counted() {
        let spent = |is_large| {
            let mut effort = Effort::for_a_model(is_large);
            for _ in 0..30 {
                if effort.allows_one_more() {
                    effort.spend();
                }
            }
            (effort.tried(), effort.left_out())
        };
        assert_eq!(spent(true), (24, 6));
        assert_eq!(spent(false), (30, 0));
    }
}
