//! How long nothing was heard of another rank.

use std::time::{Duration, Instant};

/// What counts at most of the time between two looks: a rank that was stopped or suspended itself could hear nobody.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);

/// The silence of another rank, as one hears it that looks for signs of life now and then.
#[derive(Debug)]
pub(crate) struct Silence {
    looked: Instant,
    lasted: Duration,
}

impl Silence {
    /// Nothing is awaited before `now`.
    pub(crate) fn new(now: Instant) -> Self {
        Self { looked: now, lasted: Duration::ZERO }
    }

    /// Notes whether there was a sign since the last look; how long there has been none.
    pub(crate) fn look(&mut self, now: Instant, heard: bool) -> Duration {
        let since = now.saturating_duration_since(self.looked).min(BETWEEN_LOOKS);
        self.looked = now;
        self.lasted = if heard { Duration::ZERO } else { self.lasted + since };
        self.lasted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A silence that began some looks ago, one each second.
    fn after(seconds: u64) -> (Silence, Instant) {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        for second in 1..=seconds {
            silence.look(start + Duration::from_secs(second), false);
        }
        (silence, start + Duration::from_secs(seconds))
    }

    #[test]
    fn silence_lasts_until_a_sign() {
        let (mut silence, now) = after(20);
        assert_eq!(silence.look(now, false), Duration::from_secs(20));
        assert_eq!(silence.look(now, true), Duration::ZERO);
        assert_eq!(silence.look(now + Duration::from_secs(1), false), Duration::from_secs(1));
    }

    #[test]
    fn time_in_which_this_rank_was_stopped_is_no_silence_of_others() {
        let (mut silence, now) = after(3);
        let hour = now + Duration::from_secs(3600);
        assert_eq!(silence.look(hour, false), Duration::from_secs(5));
        assert_eq!(silence.look(hour + Duration::from_secs(1), false), Duration::from_secs(6));
    }
}
