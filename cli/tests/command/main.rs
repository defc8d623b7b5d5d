//! The command as a user meets it: exit codes, files, messages.

mod attend;
mod common;
mod files;
mod other;
mod profile;
mod sanitize;
