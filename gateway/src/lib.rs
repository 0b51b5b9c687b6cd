//! The gateway of Queuebridge: jobs in over gRPC, messages out to queues and
//! topics, results back from the store.
//!
//! `serve` in [`server`] builds and runs it; [`submit`] is the way in,
//! [`lookup`] and [`waiter`] are the way back.

pub mod admission;
pub mod arriving;
mod attach;
mod audit;
pub mod auth;
pub mod aws;
pub mod callback;
pub mod cli;
pub mod config;
mod deployment;
pub mod descriptors;
mod download;
mod encryption;
mod error_size;
mod executions;
pub mod fan_out;
mod follow;
pub mod front;
mod gather;
pub mod group;
mod health;
pub mod identity;
pub mod infra;
pub mod jobs;
pub mod lambda;
pub mod leaving;
pub mod listener;
pub mod logging;
pub mod lookup;
pub mod message;
mod native;
mod open_files;
mod operations;
mod oversize;
pub mod publish;
pub mod quota;
mod read_stream;
pub mod reading;
mod reflection;
pub mod replies;
mod room;
pub mod route;
mod scatter;
pub mod server;
mod stack;
pub mod submission;
pub mod submit;
pub mod trust;
pub mod typed;
mod until_end;
pub mod upstream;
pub mod version;
pub mod view;
pub mod waiter;
pub mod watch;
