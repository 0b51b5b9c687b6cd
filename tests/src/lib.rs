//! What the tests over all parts share.

pub mod emulator;
pub mod python;
pub mod runtime_api;

pub use emulator::Emulator;
