//! Admission: how much work the gateway takes in hand at once.

use queuebridge_proto::error::{reason, retry_after};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Status};

/// The bytes of requests that may be in hand at once, in KiB: a bound on memory
/// whatever the sizes of the submissions are.
const MAX_KIB: usize = 256 * 1024;

/// When a refused caller should come back.
const COME_BACK: Duration = Duration::from_millis(250);

/// Counts the submissions in hand and refuses, or holds back, the rest.
#[derive(Clone, Debug)]
pub struct Admission {
    jobs: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    /// What those who are slowed down may have, and wait for, of both: whoever waits
    /// for a place gets it before those who would be refused.
    share: Share,
}

#[derive(Clone, Debug)]
struct Share {
    jobs: Arc<Semaphore>,
    kib: Arc<Semaphore>,
}

/// A place for one submission; dropped when it is answered.
#[derive(Debug)]
pub struct Place {
    _job: OwnedSemaphorePermit,
    _kib: Option<OwnedSemaphorePermit>,
    _of_share: Option<[OwnedSemaphorePermit; 2]>,
}

/// Room for a request that is still coming.
#[derive(Debug)]
pub struct Held {
    kib: Arc<Semaphore>,
    bytes: usize,
    room: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// Room for so many bytes more.
    ///
    /// # Errors
    /// As [`Admission::enter`].
    pub fn add(&mut self, bytes: usize) -> Result<(), Status> {
        self.bytes = self.bytes.saturating_add(bytes);
        let more = kib(self.bytes).saturating_sub(kib(self.bytes - bytes.min(self.bytes)));
        if more > 0 {
            let more = self.kib.clone().try_acquire_many_owned(more).map_err(|_| overloaded())?;
            match &mut self.room {
                Some(room) => room.merge(more),
                none => *none = Some(more),
            }
        }
        Ok(())
    }
}

/// Room for copies; dropped when they are sent.
#[derive(Debug)]
pub struct Copies(#[expect(dead_code, reason = "held until it is dropped")] OwnedSemaphorePermit);

impl Admission {
    /// At most `max_pending` submissions at once.
    #[must_use]
    pub fn new(max_pending: usize) -> Self {
        let jobs = max_pending.min(Semaphore::MAX_PERMITS);
        let places = |places| Arc::new(Semaphore::new(places));
        let share = Share { jobs: places(jobs.div_ceil(2)), kib: places(MAX_KIB / 2) };
        Self { jobs: places(jobs), kib: places(MAX_KIB), share }
    }

    /// A place at once, or the refusal.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` with the time to come back.
    pub fn enter(&self, bytes: usize) -> Result<Place, Status> {
        let job = self.jobs.clone().try_acquire_owned();
        let kib = self.kib.clone().try_acquire_many_owned(kib(bytes));
        match (job, kib) {
            (Ok(job), Ok(kib)) => Ok(Place { _job: job, _kib: Some(kib), _of_share: None }),
            _ => Err(overloaded()),
        }
    }

    /// Room for a request that is still coming: nothing yet.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held { kib: self.kib.clone(), bytes: 0, room: None }
    }

    /// A place at once for a request that has come.
    ///
    /// # Errors
    /// As [`Admission::enter`].
    pub fn enter_with(&self, held: Held) -> Result<Place, Status> {
        let job = self.jobs.clone().try_acquire_owned().map_err(|_| overloaded())?;
        Ok(Place { _job: job, _kib: held.room, _of_share: None })
    }

    /// Room for the copies of a submission that has a place already.
    ///
    /// # Errors
    /// As [`Admission::enter`].
    pub fn copies(&self, bytes: usize) -> Result<Copies, Status> {
        // Alone, even the largest is taken.
        let kib = kib(bytes).min(kib(MAX_KIB * 1024 / 2));
        let kib = self.kib.clone().try_acquire_many_owned(kib);
        kib.map(Copies).map_err(|_| overloaded())
    }

    /// A place as soon as there is one: for streams and batches, which are slowed down
    /// instead of refused, and get at most half of the places.
    ///
    /// # Errors
    /// As [`Admission::enter`], when the gateway is being taken down.
    pub async fn wait(&self, bytes: usize) -> Result<Place, Status> {
        let kib = kib(bytes).min(kib(MAX_KIB * 1024 / 2));
        let place = async {
            let job_of_share = self.share.jobs.clone().acquire_owned().await?;
            let kib_of_share = self.share.kib.clone().acquire_many_owned(kib).await?;
            Ok::<_, AcquireError>(Place {
                _job: self.jobs.clone().acquire_owned().await?,
                _kib: Some(self.kib.clone().acquire_many_owned(kib).await?),
                _of_share: Some([job_of_share, kib_of_share]),
            })
        };
        place.await.map_err(|_| overloaded())
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).min(MAX_KIB)).unwrap_or(u32::MAX)
}

/// The refusal, also for queues in this process that are full.
#[must_use]
pub fn overloaded() -> Status {
    let message = "the gateway has as much work in hand as it may";
    retry_after(Code::ResourceExhausted, reason::OVERLOADED, message, COME_BACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_still_coming_takes_room_as_well() {
        let admission = Admission::new(2);
        let mut held = admission.hold();
        for _ in 0..100 {
            held.add(100).unwrap();
        }
        assert_eq!(held.room.as_ref().unwrap().num_permits(), 10, "10,000 bytes");
        let mut other = admission.hold();
        other.add(200 * 1024 * 1024).unwrap();
        assert!(held.add(100 * 1024 * 1024).is_err());
        drop(other);
        let mut held = admission.hold();
        held.add(200 * 1024 * 1024).unwrap();
        let place = admission.enter_with(held).unwrap();
        assert!(admission.enter(100 * 1024 * 1024).is_err(), "until it is published");
        drop(place);
        assert!(admission.enter(100 * 1024 * 1024).is_ok());
    }

    #[tokio::test]
    async fn those_who_wait_leave_room_for_those_who_would_be_refused() {
        let admission = Admission::new(8);
        let large = 100 * 1024 * 1024;
        let _place = admission.wait(large).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(Box::pin(admission.wait(large)));
            assert!(futures_util::poll!(waiting.last_mut().unwrap()).is_pending());
        }
        assert!(admission.enter(large).is_ok());
        drop(waiting);
        let mut small = Vec::new();
        for _ in 0..3 {
            small.push(admission.wait(1).await.unwrap());
        }
        let mut fifth = Box::pin(admission.wait(1));
        assert!(futures_util::poll!(&mut fifth).is_pending(), "half of the places");
        assert!(admission.enter(1).is_ok());
        drop(small);
        assert!(fifth.await.is_ok());
    }

    #[test]
    fn refuses_by_count_and_by_bytes_and_recovers() {
        let admission = Admission::new(2);
        let first = admission.enter(1).unwrap();
        let second = admission.enter(300 * 1024 * 1024).unwrap_err();
        assert_eq!(second.code(), Code::ResourceExhausted, "too many bytes");
        let second = admission.enter(1).unwrap();
        assert!(admission.enter(1).unwrap_err().metadata().contains_key("grpc-retry-pushback-ms"));
        drop((first, second));
        let copies = admission.copies(300 * 1024 * 1024).unwrap();
        assert!(admission.enter(200 * 1024 * 1024).is_err(), "copies count as well");
        drop(copies);
        assert!(admission.enter(300 * 1024 * 1024).is_ok(), "alone, even the largest is taken");
    }
}
