//! Being heard of while the caller is slow: a worker that waits for its reader to go on
//! would take a silent one for gone.

use crate::lookup::Lookup;
use queuebridge_proto::JobId;
use queuebridge_proto::v1::StreamMark;
use queuebridge_store::Lane;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Ends with its reader.
pub(super) struct Heartbeat {
    place: Arc<Place>,
    _gone: DropGuard,
}

/// Where the reader is.
#[derive(Default)]
struct Place {
    taken: AtomicU32,
    /// It has all there is, so that nobody waits for it.
    waits: AtomicBool,
}

impl Heartbeat {
    pub(super) fn start(lookup: Arc<Lookup>, id: JobId, lane: Lane) -> Self {
        let (place, gone) = (Arc::<Place>::default(), CancellationToken::new());
        let beating = beat(lookup, id, lane, place.clone());
        tokio::spawn(gone.clone().run_until_cancelled_owned(beating));
        Self { place, _gone: gone.drop_guard() }
    }

    /// The reader wants the next chunk, until the answer is dropped.
    pub(super) fn waiting(&self) -> Waiting {
        self.place.waits.store(true, Ordering::Relaxed);
        Waiting(self.place.clone())
    }

    /// The reader has taken so many chunks.
    pub(super) fn taken(&self, chunks: u32) {
        self.place.taken.store(chunks, Ordering::Relaxed);
    }
}

pub(super) struct Waiting(Arc<Place>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waits.store(false, Ordering::Relaxed);
    }
}

async fn beat(lookup: Arc<Lookup>, id: JobId, lane: Lane, place: Arc<Place>) {
    loop {
        sleep(HEARTBEAT).await;
        if place.waits.load(Ordering::Relaxed) {
            continue;
        }
        let now = lookup.clock.now();
        let mark = StreamMark { taken: place.taken.load(Ordering::Relaxed), seen_at: now.0 };
        if let Err(error) = lookup.streams.mark(&id, lane, mark, now).await {
            tracing::warn!(job = %id, %error, "a slow reader could not be noted");
        }
    }
}
