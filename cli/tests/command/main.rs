//! The command as a user meets it: exit codes, files, messages.

mod attend;
mod common;
mod files;
mod grad;
mod layouts;
mod options;
mod other;
mod predicted;
mod profile;
mod sanitize;
mod support;
