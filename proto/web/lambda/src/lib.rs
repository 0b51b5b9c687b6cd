//! HTTP requests that come to a Lambda function as events, from load balancers, HTTP
//! APIs and Function URLs: in, through the protocols, and out. Both programs use it.
//!
//! [`run`] serves invocations, [`Event`] says what one is about, and [`Door`] answers
//! those that are requests.

mod answer;
mod base_path;
mod door;
mod event;
mod foreign;
mod host;
mod request;
mod shutdown;

pub use base_path::BasePath;
pub use door::{Answer, Answered, Calls, Chunks, Door, DoorSettings, InvokeMode};
pub use event::{AnyRecord, Event, Kind, Request};
pub use foreign::records as foreign_records;
pub use host::{Ends, run};
pub use request::SourceIp;
pub use shutdown::Shutdown;
