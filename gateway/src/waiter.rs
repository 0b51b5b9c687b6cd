//! Waiting for a job to finish.
//!
//! Everyone who waits for a job on this gateway shares one subscription. Where the
//! job's end is announced here, the announcement is the answer. In any case one task
//! polls the store for all of them, after a quarter of the time that it has waited
//! already, or after as long again when an announcement is expected. A lost
//! announcement costs time, never the answer.

use crate::lookup::{Found, Lookup};
use crate::reading::Reading;
use crate::replies::Replies;
use queuebridge_proto::JobId;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::{Announcement, Job};
use queuebridge_store::{Record, Token};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use uuid::Uuid;

/// The shortest pause between two polls: a job over SQS takes tens of milliseconds.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(2);
/// The same where an announcement is expected.
const LONGEST_ANNOUNCED: Duration = Duration::from_secs(5);

/// Waits for jobs.
#[derive(Clone)]
pub struct Waiter(Arc<Parts>);

struct Parts {
    lookup: Arc<Lookup>,
    replies: Arc<Replies>,
    subscriptions: Mutex<HashMap<Uuid, Subscription>>,
    draining: CancellationToken,
    polls: TaskTracker,
}

struct Subscription {
    news: watch::Sender<News>,
    places: usize,
    /// Places that want to see every change, and not just the end.
    watchers: usize,
    /// Places that want to know which attempt is under way.
    followers: usize,
    polled: bool,
}

impl Subscription {
    /// Tells everyone, unless the end of the job is known already: what is announced late
    /// must not hide it from those who have not heard of it yet.
    fn tell(&self, news: News) {
        self.news.send_if_modified(|known| {
            let over = matches!(known, News::Found(found) if found.is_final());
            if !over {
                *known = news;
            }
            !over
        });
    }
}

#[derive(Clone, Debug)]
enum News {
    /// Nothing is known.
    Nothing,
    /// Something happened: look.
    Look,
    /// The job as it stands.
    Found(Arc<Found>),
    /// This attempt has begun to answer with a stream.
    Streaming(Token),
}

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// The end of the job.
    End,
    /// Every change.
    Changes,
    /// The end, and the messages of a streamed answer before it.
    Stream,
}

/// What a place can hear.
#[derive(Clone, Debug)]
pub enum Event {
    /// The job as it stands.
    Found(Arc<Found>),
    /// This attempt has begun to answer with a stream.
    Streaming(Token),
}

impl Waiter {
    /// A waiter over `lookup`; once `draining` fires, everyone who waits is
    /// answered with the state as it is.
    #[must_use]
    pub fn new(lookup: Arc<Lookup>, replies: Arc<Replies>, draining: CancellationToken) -> Self {
        let (subscriptions, polls) = (Mutex::default(), TaskTracker::new());
        // Closed, so that it can be waited for; it still takes tasks.
        polls.close();
        Self(Arc::new(Parts { lookup, replies, subscriptions, draining, polls }))
    }

    /// The job when it is finished, or as it stands after `wait`.
    ///
    /// # Errors
    /// Those of [`Lookup::job`].
    pub async fn wait(&self, job: &Reading, wait: Duration) -> Result<Job, Status> {
        if wait.is_zero() {
            return self.0.lookup.job(job).await;
        }
        // Before the first look, so that nothing happens in between.
        let place = self.subscribe(job.id(), Interest::End);
        let found = self.0.lookup.find(job.id()).await?;
        place.finished(job, found, wait).await
    }

    /// A place among those who wait for a job.
    #[must_use]
    pub fn subscribe(&self, id: &JobId, interest: Interest) -> Place {
        let mut all = self.lock();
        let subscription = all.entry(id.uuid()).or_insert_with(|| Subscription {
            news: watch::channel(News::Nothing).0,
            places: 0,
            watchers: 0,
            followers: 0,
            polled: false,
        });
        subscription.places += 1;
        subscription.watchers += usize::from(interest == Interest::Changes);
        subscription.followers += usize::from(interest == Interest::Stream);
        let news = subscription.news.subscribe();
        Place { news, id: *id, interest, waiter: self.clone(), asked: false }
    }

    /// How many jobs are waited for.
    #[must_use]
    pub fn job_count(&self) -> usize {
        self.lock().len()
    }

    /// Returns when nobody waits any more, and no poll is under way.
    pub(crate) async fn settled(&self) {
        self.0.polls.wait().await;
    }

    /// Says that a job has changed: whoever waits for it looks.
    pub fn look(&self, job: Uuid) {
        if let Some(subscription) = self.lock().get(&job) {
            subscription.tell(News::Look);
        }
    }

    /// Takes in the announcement of a finished job.
    pub fn announced(&self, announcement: Announcement) {
        let Ok(job) = Uuid::from_slice(&announcement.job) else { return };
        if let Some(subscription) = self.lock().get(&job) {
            let attempt = <[u8; 16]>::try_from(&announcement.streaming[..]);
            subscription.tell(match (announcement.finished, attempt) {
                (Some(finished), _) => {
                    News::Found(Arc::new(Found::Finished(Record::of_finished(finished))))
                }
                (None, Ok(attempt)) => News::Streaming(Token::from_bytes(attempt)),
                (None, Err(_)) => News::Look,
            });
        }
    }

    pub(crate) fn lookup(&self) -> &Lookup {
        &self.0.lookup
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Subscription>> {
        self.0.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the one task that polls for this job, if it has not been started.
    fn ensure_poll(&self, id: &JobId, at_once: bool) {
        let mut all = self.lock();
        if let Some(subscription) = all.get_mut(&id.uuid())
            && !std::mem::replace(&mut subscription.polled, true)
        {
            let news = subscription.news.subscribe();
            self.0.polls.spawn(self.clone().poll(*id, news, at_once));
        }
    }

    /// Polls for a job as long as someone waits for it.
    async fn poll(self, id: JobId, mut news: watch::Receiver<News>, at_once: bool) {
        let begun = Instant::now();
        let mut known = None;
        // Whoever asks has waited for the shortest pause.
        let first = self.pause(&id, Duration::ZERO).saturating_sub(SHORTEST);
        let mut pause = if at_once { Duration::ZERO } else { first };
        loop {
            tokio::select! {
                () = sleep(jittered(pause, &id).min(self.to_expiry(&id))) => {}
                changed = news.changed() => match changed.map(|()| news.borrow_and_update().clone()) {
                    Ok(News::Look) => {}
                    // Somebody else has found it, and has told the others.
                    Ok(News::Found(found)) if found.is_final() => return,
                    Ok(News::Found(_) | News::Streaming(_) | News::Nothing) => continue,
                    Err(_) => return,
                },
            }
            let found = if self.is_watched(&id) {
                self.0.lookup.find_changes(&id).await
            } else {
                self.0.lookup.find(&id).await
            };
            pause = self.pause(&id, begun.elapsed());
            let all = self.lock();
            let Some(subscription) = all.get(&id.uuid()) else { return };
            let Ok(found) = found else { continue };
            let heeded = subscription.watchers + subscription.followers > 0;
            // An attempt that was given back is not counted, so that the next one has its
            // number, but another token.
            let stands = Some((found.version(), found.token()));
            if found.is_final() || (heeded && known != stands) {
                known = stands;
                let last = found.is_final();
                subscription.tell(News::Found(Arc::new(found)));
                if last {
                    return;
                }
                news.mark_unchanged();
            }
        }
    }

    /// How long it is until whoever looks finds the job finished in any case; for ever
    /// when that is behind.
    fn to_expiry(&self, id: &JobId) -> Duration {
        let left = self.0.lookup.clock.now().until(id.expires_at().plus(CLOCK_SKEW));
        if left.is_zero() { Duration::MAX } else { left }
    }

    /// Whether somebody wants to see every change.
    fn is_watched(&self, id: &JobId) -> bool {
        self.lock().get(&id.uuid()).is_some_and(|job| job.watchers > 0)
    }

    fn pause(&self, id: &JobId, waited: Duration) -> Duration {
        if self.0.replies.expects(id) && !self.is_watched(id) {
            waited.clamp(SHORTEST, LONGEST_ANNOUNCED)
        } else {
            (waited / 4).clamp(SHORTEST, LONGEST)
        }
    }
}

/// Spreads the polls of many jobs; the job's own random bits are jitter enough.
fn jittered(pause: Duration, id: &JobId) -> Duration {
    let random = f64::from(id.uuid().as_bytes()[15]) / 255.0;
    pause.mul_f64(0.75 + random / 2.0)
}

/// One place in a subscription; the last one to leave ends it.
pub struct Place {
    news: watch::Receiver<News>,
    id: JobId,
    interest: Interest,
    waiter: Waiter,
    /// Whether the task that polls was asked for.
    asked: bool,
}

impl Place {
    /// The job of this place when it is finished, or as it stands after `wait`. `found` is
    /// how it stood when this place, or a later look, was taken.
    ///
    /// # Errors
    /// Those of [`Lookup::job`].
    pub async fn finished(
        mut self,
        job: &Reading,
        mut found: Found,
        wait: Duration,
    ) -> Result<Job, Status> {
        let until = Instant::now() + wait;
        while !found.is_final() {
            found = match self.next(Some(until)).await {
                Some(news) => Found::clone(&news),
                None => {
                    found = self.waiter.0.lookup.find(&self.id).await?;
                    break;
                }
            };
        }
        let lookup = self.waiter.0.lookup.clone();
        // With its place it would keep what it has heard.
        drop(self);
        lookup.show(job, found).await
    }

    /// The next that is known of the job; `None` after `until`, and when the gateway
    /// shuts down.
    pub async fn next(&mut self, until: Option<Instant>) -> Option<Arc<Found>> {
        let draining = self.waiter.0.draining.clone();
        loop {
            tokio::select! {
                event = self.event(until) => match event? {
                    Event::Found(found) => return Some(found),
                    Event::Streaming(_) => {}
                },
                () = draining.cancelled() => return None,
            }
        }
    }

    /// What happens next; `None` after `until`. A shutdown does not end it: whoever waits
    /// for the answer to a call cannot go on elsewhere.
    pub async fn event(&mut self, until: Option<Instant>) -> Option<Event> {
        // Most answers are announced before the first poll would be due.
        let mut poll_at = Instant::now() + SHORTEST;
        loop {
            let end = match until {
                Some(until) if self.asked => until,
                Some(until) => until.min(poll_at),
                None if self.asked => Instant::now() + Duration::from_secs(3600),
                None => poll_at,
            };
            match timeout_at(end, self.news.changed()).await {
                Ok(Ok(())) => {
                    let news = self.news.borrow_and_update().clone();
                    match news {
                        News::Found(found) => return Some(Event::Found(found)),
                        News::Streaming(attempt) => return Some(Event::Streaming(attempt)),
                        News::Look => self.ask(true),
                        News::Nothing => {}
                    }
                }
                // The sender lives as long as this place does.
                Ok(Err(_)) => return None,
                Err(_) if until.is_some_and(|until| until <= Instant::now()) => return None,
                Err(_) => {
                    self.ask(false);
                    poll_at = end;
                }
            }
        }
    }

    fn ask(&mut self, at_once: bool) {
        if !std::mem::replace(&mut self.asked, true) {
            self.waiter.ensure_poll(&self.id, at_once);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.waiter.lock();
        if let Some(subscription) = all.get_mut(&self.id.uuid()) {
            subscription.places -= 1;
            subscription.watchers -= usize::from(self.interest == Interest::Changes);
            subscription.followers -= usize::from(self.interest == Interest::Stream);
            if subscription.places == 0 {
                all.remove(&self.id.uuid());
            }
        }
    }
}
