//! Upstreams: whatever gRPC can say passes through them unchanged.

mod failures;
mod house;
mod invoke;
mod lambda;
mod server;

use house::{House, Upright};
