//! Limits for what a guest may ask of the host: so many bytes and operations a second, with bursts.
//!
//! It has no clock: whoever asks says how late it is, as time since any fixed moment.

use std::num::NonZeroU64;
use std::time::Duration;

const SECOND: i128 = 1_000_000_000;

/// A bucket that tokens run into, and requests take tokens out of.
///
/// A request waits until there are enough. One that wants more than the bucket holds waits until it is full, and those
/// after it until what it took too much is paid back: so none is too large, and the rate is kept to the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBucket {
    /// Tokens a second.
    rate: i128,
    /// Tokens that it holds at most, in parts of 10^-9.
    size: i128,
    /// Tokens that it holds, in parts of 10^-9; below 0 while a debt is paid back.
    level: i128,
    /// When it held them.
    at: Duration,
}

impl TokenBucket {
    /// A full bucket: `rate` tokens a second run in, until it holds `burst`.
    #[must_use]
    pub fn new(rate: NonZeroU64, burst: NonZeroU64) -> Self {
        let size = i128::from(burst.get()) * SECOND;
        Self {
            rate: rate.get().into(),
            size,
            level: size,
            at: Duration::ZERO,
        }
    }

    /// How long after `now` there are `tokens` in it; none if there are now.
    fn wait(&mut self, now: Duration, tokens: u64) -> Option<Duration> {
        // A clock that goes back adds nothing.
        let elapsed = now.saturating_sub(self.at).as_nanos();
        self.at = self.at.max(now);
        let added =
            i128::try_from(elapsed).map_or(self.size, |elapsed| elapsed.saturating_mul(self.rate));
        self.level = self.level.saturating_add(added).min(self.size);
        let missing = self.size.min(i128::from(tokens) * SECOND) - self.level;
        if missing <= 0 {
            return None;
        }
        let nanoseconds = (missing + self.rate - 1) / self.rate;
        Some(u64::try_from(nanoseconds).map_or(Duration::MAX, Duration::from_nanos))
    }

    fn pay(&mut self, tokens: u64) {
        self.level = self
            .level
            .saturating_sub(i128::from(tokens).saturating_mul(SECOND));
    }

    fn give_back(&mut self, tokens: u64) {
        self.level = self
            .level
            .saturating_add(i128::from(tokens).saturating_mul(SECOND))
            .min(self.size);
    }
}

/// A bucket for bytes and one for operations; without one there is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateLimiter {
    /// A token a byte.
    pub bytes: Option<TokenBucket>,
    /// A token an operation.
    pub operations: Option<TokenBucket>,
}

impl RateLimiter {
    /// So many bytes and operations a second, and those of one second in a burst.
    #[must_use]
    pub fn per_second(bytes: Option<NonZeroU64>, operations: Option<NonZeroU64>) -> Self {
        let bucket = |rate: NonZeroU64| TokenBucket::new(rate, rate);
        Self {
            bytes: bytes.map(bucket),
            operations: operations.map(bucket),
        }
    }

    /// Takes the tokens of one operation on `bytes`.
    ///
    /// # Errors
    /// Nothing was taken: how long to wait before asking again.
    pub fn take(&mut self, now: Duration, bytes: u64) -> Result<(), Duration> {
        let waits = [
            self.bytes
                .as_mut()
                .and_then(|bucket| bucket.wait(now, bytes)),
            self.operations
                .as_mut()
                .and_then(|bucket| bucket.wait(now, 1)),
        ];
        match waits.into_iter().flatten().max() {
            Some(wait) => Err(wait),
            None => {
                self.pay(bytes);
                Ok(())
            }
        }
    }

    /// Takes them in any case: what comes later waits for it.
    pub fn pay(&mut self, bytes: u64) {
        self.each(bytes, TokenBucket::pay);
    }

    /// Gives the tokens of an operation back that did not take place.
    pub fn give_back(&mut self, bytes: u64) {
        self.each(bytes, TokenBucket::give_back);
    }

    fn each(&mut self, bytes: u64, change: fn(&mut TokenBucket, u64)) {
        if let Some(bucket) = &mut self.bytes {
            change(bucket, bytes);
        }
        if let Some(bucket) = &mut self.operations {
            change(bucket, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    fn limiter(bytes: u64, operations: u64) -> RateLimiter {
        RateLimiter::per_second(NonZeroU64::new(bytes), NonZeroU64::new(operations))
    }

    const fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn without_buckets_there_is_no_limit() {
        let mut limiter = limiter(0, 0);
        for _ in 0..1000 {
            limiter.take(Duration::ZERO, u64::MAX).unwrap();
        }
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let mut limiter = limiter(0, 10);
        for _ in 0..10 {
            limiter.take(at(5000), 1).unwrap();
        }
        assert_eq!(limiter.take(at(5000), 1), Err(at(100)));
        assert_eq!(limiter.take(at(5001), 1), Err(at(99)));
        limiter.take(at(5100), 1).unwrap();
        assert_eq!(limiter.take(at(5199), 1), Err(at(1)));
    }

    #[test]
    fn a_request_larger_than_the_bucket_is_paid_back() {
        let mut limiter = limiter(1000, 0);
        limiter.take(at(0), 5000).unwrap();
        assert_eq!(limiter.take(at(0), 1), Err(at(4001)));
        assert_eq!(limiter.take(at(4000), 1), Err(at(1)));
        limiter.take(at(4001), 1).unwrap();
        // One that wants more than there can be waits for all that there can be.
        assert_eq!(limiter.take(at(4001), 5000), Err(at(1000)));
    }

    #[test]
    fn both_buckets_have_to_agree() {
        let mut limiter = RateLimiter {
            bytes: Some(TokenBucket::new(number(1000), number(100))),
            operations: Some(TokenBucket::new(number(1), number(2))),
        };
        limiter.take(at(0), 100).unwrap();
        assert_eq!(limiter.take(at(0), 1), Err(at(1)), "bytes");
        limiter.take(at(100), 1).unwrap();
        assert_eq!(limiter.take(at(200), 1), Err(at(800)), "operations");
        limiter.give_back(1);
        limiter.take(at(200), 1).unwrap();
    }

    #[test]
    fn in_the_long_run_the_rate_is_exact() {
        let mut limiter = limiter(3333, 0);
        let mut now = Duration::ZERO;
        let mut moved = 0;
        while now < Duration::from_secs(1000) {
            match limiter.take(now, 777) {
                Ok(()) => moved += 777,
                Err(wait) => now += wait,
            }
        }
        let allowed = 3333 * 1000 + 3333;
        assert!(moved <= allowed && moved + 2 * 777 > allowed, "{moved}");
    }

    #[test]
    fn a_clock_that_jumps_does_no_harm() {
        let mut limiter = limiter(u64::MAX, 1);
        limiter.take(Duration::MAX, u64::MAX).unwrap();
        let wait = limiter.take(at(0), 1).unwrap_err();
        assert!(wait <= at(1001), "{wait:?}");
        limiter.pay(u64::MAX);
        limiter.pay(u64::MAX);
        assert!(limiter.take(Duration::MAX, 1).is_err());
    }
}
