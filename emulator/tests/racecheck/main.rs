//! racecheck: planted races of every kind and their repaired twins.
//!
//! Every program runs in order and under several seeds, and has to be judged alike: a race is one
//! whether or not it has changed a value.

mod blocks;
mod check;
mod copies;
mod generate;
mod model;
mod patterns;
mod program;
mod shared;
