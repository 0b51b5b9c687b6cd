//! Direct calls of routed methods: clients and services with nothing of Queuebridge in
//! them, and a queue in between.

mod attach;
mod bridge;
mod broken_off;
mod callers;
mod errors;
mod losses;
mod modes;
mod retries;
mod simulation;
mod streams;
mod unary;
mod world;
