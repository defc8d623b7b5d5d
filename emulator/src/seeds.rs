//! Running something under many schedules.

use std::error::Error;
use std::fmt::{self, Debug, Display};

use crate::machine::{Plan, Schedule};

/// Runs `run` under the schedule of each seed and stops at the first that fails.
///
/// ```
/// use ptx_emulator::{GlobalMemory, Launch, Module, Options, for_each_seed, launch};
///
/// let module = Module::parse(".version 7.0\n.target sm_80\n.entry k() { bar.sync 0; ret; }")?;
/// for_each_seed(0..8, |schedule| {
///     let options = Options { schedule, ..Options::default() };
///     let shape = Launch { grid: [2, 1, 1], block: [64, 1, 1], cluster: None, dynamic_shared_bytes: 0, params: &[] };
///     launch(module.kernel("k")?, &GlobalMemory::new(), &shape, &options)?;
///     Ok::<_, Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SeedFailure`] with the seed, its plan and what `run` has returned.
pub fn for_each_seed<E>(
    seeds: impl IntoIterator<Item = u64>,
    mut run: impl FnMut(Schedule) -> Result<(), E>,
) -> Result<(), SeedFailure<E>> {
    for seed in seeds {
        let schedule = Schedule::Seeded(seed);
        run(schedule).map_err(|error| SeedFailure {
            seed,
            plan: schedule.plan(),
            error,
        })?;
    }
    Ok(())
}

/// A seed under which something fails; `Schedule::Seeded(seed)` runs it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedFailure<E> {
    /// The seed.
    pub seed: u64,
    /// What its schedule does.
    pub plan: Plan,
    /// What went wrong.
    pub error: E,
}

impl<E: Display> Display for SeedFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "schedule seed {} ({}): {}",
            self.seed, self.plan, self.error
        )
    }
}

impl<E: Debug + Display> Error for SeedFailure<E> {}
