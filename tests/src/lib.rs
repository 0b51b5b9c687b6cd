//! What the tests over all parts share.

pub mod emulator;
pub mod python;

pub use emulator::Emulator;
