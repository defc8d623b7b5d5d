//! Times of pieces of work that take turns, so that a slow moment of the machine hits all of them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::SuiteError;

/// Times of one piece of work, in seconds of wall time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Half of the rounds were faster.
    pub median: f64,
    /// Fastest round.
    pub min: f64,
    /// Slowest round.
    pub max: f64,
    /// How many there were, one before them not counted.
    pub rounds: usize,
}

impl Spread {
    /// Of one or more times in any order; zeros when there is none.
    pub fn of(mut times: Vec<f64>) -> Spread {
        times.sort_by(f64::total_cmp);
        let rounds = times.len();
        let at = |index: usize| times.get(index).copied().unwrap_or_default();
        Spread {
            median: (at(rounds.saturating_sub(1) / 2) + at(rounds / 2)) / 2.0,
            min: at(0),
            max: at(rounds.saturating_sub(1)),
            rounds,
        }
    }
}

/// One piece of work and its times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Who did it.
    pub name: String,
    /// How long it took.
    pub seconds: Spread,
}

/// A named piece of work.
pub struct Contender<'a> {
    name: String,
    work: Work<'a>,
}

type Work<'a> = Box<dyn FnMut() -> Result<(), SuiteError> + 'a>;

impl<'a> Contender<'a> {
    /// Work that is done once a round.
    pub fn new(
        name: impl Into<String>,
        work: impl FnMut() -> Result<(), SuiteError> + 'a,
    ) -> Contender<'a> {
        Contender {
            name: name.into(),
            work: Box::new(work),
        }
    }
}

/// Lets all contenders work once, which is not counted, and then `rounds` times in turn.
///
/// # Errors
///
/// The first that a contender reports.
pub fn interleave(
    rounds: usize,
    mut contenders: Vec<Contender>,
) -> Result<Vec<Timing>, SuiteError> {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (contender.work)()?;
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let timings = contenders.into_iter().zip(times);
    Ok(timings
        .map(|(contender, times)| Timing {
            name: contender.name,
            seconds: Spread::of(times),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let odd = Spread::of(vec![5.0, 1.0, 2.0]);
        assert_eq!(
            (odd.min, odd.median, odd.max, odd.rounds),
            (1.0, 2.0, 5.0, 3)
        );
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
        assert_eq!(Spread::of(Vec::new()).median, 0.0);
    }

    #[test]
    fn contenders_take_turns_and_the_first_turn_is_not_counted() {
        let turns = RefCell::new(String::new());
        let contender = |name: &str| {
            let (name, turns) = (name.to_owned(), &turns);
            Contender::new(name.clone(), move || {
                turns.borrow_mut().push_str(&name);
                Ok(())
            })
        };
        let timings = interleave(2, vec![contender("a"), contender("b")]).unwrap();
        assert_eq!(*turns.borrow(), "ababab");
        assert_eq!(timings[1].name, "b");
        assert_eq!(timings[1].seconds.rounds, 2);
    }

    #[test]
    fn a_failure_ends_it() {
        let failing = Contender::new("a", || {
            Err(SuiteError::Peer {
                name: "a",
                message: "is broken".to_owned(),
            })
        });
        let error = interleave(1, vec![failing]).unwrap_err();
        assert_eq!(error.to_string(), "a: is broken");
    }
}
