//! What the tests over all parts share.

pub mod emulator;

pub use emulator::Emulator;
