//! What the parts promise together, by subject.

mod aws;
mod bench;
mod callbacks;
mod chaos;
mod doors;
mod encryption;
mod fixture;
mod fuzz;
mod gathers;
mod golden;
mod lambda;
mod lints;
mod next;
mod parking;
mod payloads;
mod poller;
mod publishers;
mod replies;
mod runtime_api;
mod simulation;
mod store;
mod typed;
mod upstreams;
mod verdicts;
mod waiting;
mod watching;
