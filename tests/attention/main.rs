//! Everything that this library promises about attention, in one binary: a machine with a GPU gets it as one file.
//!
//! The numeric tests run on `FLASH_ATTENTION_DEVICE`; when it is not set, on the emulated device as sm_80 and as sm_90a,
//! but on the first alone where no kernel for Hopper takes part (ALiBi, bias, dropout). Those about schedules, planted
//! bugs and addresses always run on the emulated one.

mod arguments;
mod arguments_training;
mod arguments_varlen;
mod backward;
mod baseline;
mod common;
#[cfg(feature = "cuda")]
mod cuda;
mod determinism;
mod determinism_backward;
mod dropout;
mod edge_cases;
mod edge_cases_backward;
mod forward;
mod hopper;
mod lse_gradient;
mod masks;
mod planted_bugs;
mod planted_bugs_backward;
mod planted_bugs_hopper;
mod profile;
mod properties;
mod real_data;
mod scores;
mod strides;
mod training;
mod varlen;
