//! What the tests over all parts share.

pub mod emulator;
pub mod events;
pub mod fuzz;
pub mod messages;
pub mod python;
pub mod runtime_api;
pub mod sockets;
pub mod templates;

pub use emulator::Emulator;
pub use messages::Messages;
