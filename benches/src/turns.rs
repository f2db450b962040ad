use std::time::{Duration, Instant};

/// The fastest turn of something that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best(Duration);

impl Best {
    /// Seconds of the fastest turn.
    pub fn seconds(self) -> f64 {
        self.0.as_secs_f64()
    }

    /// Megabytes (10^6 bytes) a second, when a turn works through `bytes`.
    pub fn megabytes_per_second(self, bytes: usize) -> f64 {
        bytes as f64 / 1e6 / self.seconds()
    }
}

/// Measures `first` and `second` in turn, `rounds` times (at least once), and gives the best of each. The fastest turn is the one that was
/// disturbed least. What they return is dropped outside of the measured time.
///
/// # Errors
/// The first that either returns.
pub fn take_turns<A, B, E>(
    rounds: u32,
    mut first: impl FnMut() -> Result<A, E>,
    mut second: impl FnMut() -> Result<B, E>,
) -> Result<(Best, Best), E> {
    let mut best = (time(&mut first)?, time(&mut second)?);
    for _ in 1..rounds {
        best.0 = best.0.min(time(&mut first)?);
        best.1 = best.1.min(time(&mut second)?);
    }
    Ok((Best(best.0), Best(best.1)))
}

fn time<T, E>(work: &mut impl FnMut() -> Result<T, E>) -> Result<Duration, E> {
    let start = Instant::now();
    let result = std::hint::black_box(work()?);
    let elapsed = start.elapsed();
    drop(result);
    Ok(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternates_and_keeps_the_fastest() {
        let order = std::cell::RefCell::new(String::new());
        let slow_at_first = || {
            if order.borrow().is_empty() {
                std::thread::sleep(Duration::from_millis(50));
            }
            order.borrow_mut().push('a');
            Ok::<_, ()>(())
        };
        let other = || {
            order.borrow_mut().push('b');
            Ok(())
        };
        let (best, _) = take_turns(3, slow_at_first, other).unwrap();
        assert_eq!(*order.borrow(), "ababab");
        assert!(best.seconds() < 0.05);
    }

    #[test]
    fn an_error_ends_the_run() {
        assert_eq!(take_turns(3, || Ok(()), || Err::<(), _>("broken")), Err("broken"));
    }
}
