//! What the parts promise together, by subject.

mod aws;
mod golden;
mod publishers;
mod simulation;
mod store;
mod verdicts;
