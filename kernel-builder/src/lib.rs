//! kernel-builder
