//! The loopback queue: SQS, its event source and SNS, modelled in this process.
//!
//! It carries the embedded stack, and simulations run on it, so it forgets what
//! SQS forgets, redelivers what SQS redelivers and refuses what SQS refuses.
//! What it does not do: lose or double a message by chance, which SQS may do on
//! standard queues and which tests bring about by decorators; throttle; encrypt.
//!
//! Nothing runs in the background. A call first does what has become due since
//! the last one, and a receiver that waits sleeps until the next due time or
//! until somebody wakes it. Every operation takes constant or logarithmic time
//! under one lock per queue.
//!
//! | file | what it knows |
//! |---|---|
//! | `queue` | sending, and the lock around the books |
//! | `receive`, `settle` | receiving; deleting and changing visibility |
//! | `state`, `slab` | the books: messages, due times, retention |
//! | `order`, `lanes`, `standard`, `fifo` | which message is next |
//! | `dedup`, `redrive` | deduplication; dead letters |
//! | `limits`, `config` | what is refused |
//! | `topic`, `filter` | SNS with raw delivery |
//! | `publisher` | both as the gateway's publishers |

mod config;
mod counts;
mod dedup;
mod fifo;
mod filter;
mod lanes;
pub mod limits;
mod message;
mod order;
mod publisher;
mod queue;
mod receipt;
mod receive;
mod redrive;
mod settle;
mod slab;
mod standard;
mod state;
#[cfg(test)]
mod tests;
mod topic;

pub use config::{ConfigError, QueueConfig, Redrive};
pub use counts::{Counts, Totals};
pub use filter::{Condition, FilterError, FilterPolicy};
pub use limits::{BatchError, SendError};
pub use message::{Attribute, MESSAGE_OVERHEAD_BYTES, Received};
pub use queue::Loopback;
pub use receipt::{Receipt, ReceiptError};
pub use receive::{EVENT_BYTES, EVENT_RECORDS, ReceiveError};
pub use settle::VisibilityError;
pub use topic::{
    LoopbackTopic, SubscribeError, Subscription, TOPIC_MESSAGE_BYTES, TopicConfig, TopicCounts,
};
