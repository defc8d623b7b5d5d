//! Time on the device: CUDA events on the default stream, or the host's clock where calls wait for their work.

use std::time::Instant;

use crate::Error;

/// What measures.
pub enum Clock {
    /// The host's clock.
    Host,
    /// Events of the CUDA context that is current in this thread, as it is after any call on a CUDA device.
    #[cfg(feature = "cuda")]
    Events,
}

impl Clock {
    /// The clock of a GPU, or of the emulated device.
    #[cfg(feature = "cuda")]
    pub fn of(is_gpu: bool) -> Clock {
        if is_gpu { Clock::Events } else { Clock::Host }
    }

    /// The clock of the emulated device.
    #[cfg(not(feature = "cuda"))]
    pub fn of(_is_gpu: bool) -> Clock {
        Clock::Host
    }

    /// Milliseconds of each of `rounds` rounds, which are all enqueued before the first is waited for.
    pub fn time(
        &self,
        rounds: usize,
        mut round: impl FnMut() -> Result<(), Error>,
    ) -> Result<Vec<f64>, Error> {
        match self {
            Clock::Host => (0..rounds)
                .map(|_| {
                    let start = Instant::now();
                    round()?;
                    Ok(start.elapsed().as_secs_f64() * 1e3)
                })
                .collect(),
            #[cfg(feature = "cuda")]
            Clock::Events => {
                let mut events = vec![cuda::Event::new()?];
                events[0].record()?;
                for _ in 0..rounds {
                    round()?;
                    let end = cuda::Event::new()?;
                    end.record()?;
                    events.push(end);
                }
                events[rounds].wait()?;
                let pairs = events.windows(2);
                pairs.map(|pair| pair[1].since(&pair[0])).collect()
            }
        }
    }
}

#[cfg(feature = "cuda")]
pub use cuda::done;

#[cfg(feature = "cuda")]
mod cuda {
    use cust::sys::{self, CUresult, cudaError_enum};

    use crate::Error;

    /// A point on the default stream of the current context.
    pub struct Event(sys::CUevent);

    /// The driver's answer, as an error that says what it could not do.
    pub fn done(result: CUresult, what: &str) -> Result<(), Error> {
        match result {
            cudaError_enum::CUDA_SUCCESS => Ok(()),
            code => Err(format!("the CUDA driver could not {what}: {code:?}").into()),
        }
    }

    impl Event {
        pub fn new() -> Result<Event, Error> {
            let mut event = std::ptr::null_mut();
            // SAFETY: the handle is writable; without a current context the driver says so.
            let result = unsafe { sys::cuEventCreate(&mut event, 0) };
            done(result, "create an event")?;
            Ok(Event(event))
        }

        pub fn record(&self) -> Result<(), Error> {
            // SAFETY: the event is alive, and the null stream is the default one of its context.
            let result = unsafe { sys::cuEventRecord(self.0, std::ptr::null_mut()) };
            done(result, "record an event")
        }

        pub fn wait(&self) -> Result<(), Error> {
            // SAFETY: the event is alive.
            let result = unsafe { sys::cuEventSynchronize(self.0) };
            done(result, "finish the work before an event")
        }

        /// Milliseconds since `earlier`; both must have happened.
        pub fn since(&self, earlier: &Event) -> Result<f64, Error> {
            let mut milliseconds = 0.0;
            // SAFETY: both events are alive and the result is writable.
            let result = unsafe { sys::cuEventElapsedTime(&mut milliseconds, earlier.0, self.0) };
            done(result, "take the time between events")?;
            Ok(f64::from(milliseconds))
        }
    }

    impl Drop for Event {
        fn drop(&mut self) {
            // SAFETY: this is the only owner. A failure after an error of the device loses nothing of ours.
            let _ = unsafe { sys::cuEventDestroy_v2(self.0) };
        }
    }
}
