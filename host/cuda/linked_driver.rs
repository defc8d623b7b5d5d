//! The CUDA driver's functions, linked: in place of `driver.rs` in programs in which another library (cudarc, for candle)
//! links them, too. Such a program does not start without the driver.

use super::error::DriverError;

/// There is nothing to load.
pub fn load() -> Result<(), DriverError> {
    Ok(())
}
