//! Direct calls of routed methods: clients and services with nothing of Queuebridge in
//! them, and a queue in between.

mod modes;
mod retries;
mod streams;
mod unary;
mod world;
