//! Following a job: what is shown of it, one change after the other.
//!
//! The next change is looked for when its reader has taken the last one, so that a
//! slow reader holds nothing here but its place.

use crate::lookup::Found;
use crate::reading::Reading;
use crate::version::Version;
use crate::waiter::{Interest, Place, Waiter};
use futures_util::stream::{self, Stream};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::v1::Job;
use std::sync::Arc;
use tonic::{Code, Status};

/// A job as it stood at one moment.
pub type Shown = (Job, Version);

/// The job as it stands, unless that is what `seen` says, and then every change of
/// it, to its end. Fails with the errors of a look-up, and with
/// `UNAVAILABLE`/`DRAINING` when the gateway shuts down.
pub fn changes(
    waiter: &Waiter,
    job: Reading,
    seen: Option<Version>,
) -> impl Stream<Item = Result<Shown, Status>> + Send + use<> {
    let place = waiter.subscribe(job.id(), Interest::Changes);
    let watch = Watch { waiter: waiter.clone(), place, job, seen, looked: false, over: false };
    stream::unfold(watch, async |mut watch| {
        let next = watch.next().await?;
        watch.over |= next.is_err();
        Some((next, watch))
    })
}

struct Watch {
    waiter: Waiter,
    place: Place,
    job: Reading,
    seen: Option<Version>,
    looked: bool,
    over: bool,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Shown, Status>> {
        while !self.over {
            let found = match self.look().await {
                Ok(found) => found,
                Err(status) => return Some(Err(status)),
            };
            self.over = found.is_final();
            // Who has seen the end needs no more, also when it is forgotten by now.
            let ended = self.seen.is_some_and(|seen| seen.is_final());
            if self.seen == Some(found.version()) || ended {
                self.over |= ended;
                continue;
            }
            self.seen = Some(found.version());
            let (version, found) = (found.version(), Found::clone(&found));
            let shown = self.waiter.lookup().show(&self.job, found).await;
            return Some(shown.map(|job| (job, version)));
        }
        None
    }

    async fn look(&mut self) -> Result<Arc<Found>, Status> {
        if !std::mem::replace(&mut self.looked, true) {
            return self.waiter.lookup().find_changes(self.job.id()).await.map(Arc::new);
        }
        self.place.next(None).await.ok_or_else(|| {
            let message = "the gateway is shutting down; go on with the last resume_token";
            error::status(Code::Unavailable, reason::DRAINING, message)
        })
    }
}
