//! What every implementation of a seam has to pass, and decorators that lose
//! requests and responses.
//!
//! The suites panic at the first case that fails, with its name.

pub mod faults;
pub mod gathers;
pub mod payloads;
pub mod results;
pub mod streams;

pub use faults::{Fault, Faulty};

/// Runs cases one after the other, each as a task of its own, so that a failure
/// can be told together with the name of its case.
macro_rules! run {
    ($subject:expr; $($module:ident: $($case:ident),+ $(,)?);+ $(;)?) => {
        $($(
            let case = tokio::spawn($module::$case($subject.clone()));
            if let Err(error) = case.await {
                let error = $crate::testing::panic_text(error);
                panic!("{}: {}: {error}", stringify!($module), stringify!($case));
            }
        )+)+
    };
}
pub(crate) use run;

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "the case was aborted".to_owned() };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => {
            panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).unwrap_or_default()
        }
    }
}
