//! Of which machine to count.

use thiserror::Error;

use super::l2::{L2, LINE_BYTES};

/// Of which machine to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterOptions {
    /// The cache in front of device memory.
    pub l2: L2Cache,
}

/// The size of an L2 cache with lines of 128 bytes and sectors of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum L2Cache {
    /// It holds everything: only what is touched for the first time is read, and each sector is
    /// written once.
    Unbounded,
    /// A cache that replaces the line of a set that was used least recently.
    Bounded {
        /// Its size, a positive multiple of `128 * ways` and at most 1 GiB.
        bytes: u64,
        /// Lines of a set, at least 1.
        ways: u32,
    },
}

/// A cache whose size is no whole number of sets, or beyond the host's means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "an L2 of {bytes} bytes with {ways} ways cannot be modelled: its size must be a positive multiple of {} bytes \
     times the ways, at most {} bytes",
    LINE_BYTES,
    L2Cache::MAX_BYTES
)]
pub struct L2CacheError {
    /// Its size.
    pub bytes: u64,
    /// Lines of a set.
    pub ways: u32,
}

impl Default for L2Cache {
    /// That of an A100: 40 MiB (NVIDIA A100 Tensor Core GPU Architecture). Its associativity is not
    /// published; 16 is an assumption.
    fn default() -> Self {
        Self::Bounded {
            bytes: 40 << 20,
            ways: 16,
        }
    }
}

impl L2Cache {
    /// Largest size, so that its model fits into the host.
    const MAX_BYTES: u64 = 1 << 30;

    /// Whether it can be modelled.
    ///
    /// # Errors
    /// [`L2CacheError`] with the rule and the values.
    pub fn check(self) -> Result<(), L2CacheError> {
        let Self::Bounded { bytes, ways } = self else {
            return Ok(());
        };
        let set_bytes = LINE_BYTES * u64::from(ways);
        if ways == 0 || bytes == 0 || bytes > Self::MAX_BYTES || bytes % set_bytes != 0 {
            return Err(L2CacheError { bytes, ways });
        }
        Ok(())
    }

    /// The empty cache; none without bounds.
    pub(super) fn model(self) -> Option<L2> {
        let Self::Bounded { bytes, ways } = self else {
            return None;
        };
        let sets = bytes / (LINE_BYTES * u64::from(ways));
        Some(L2::new(sets as usize, ways as usize))
    }
}
