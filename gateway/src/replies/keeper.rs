//! Keeping the lease of a reply shard.

use super::Replies;
use queuebridge_proto::UnixMillis;
use queuebridge_store::{Acquired, Clock, LeaseStore, StoreError, Token};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a crashed gateway keeps others from its shard.
const LEASE: Duration = Duration::from_secs(30);
/// How often the lease is prolonged; each time costs a write.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How often a gateway looks for a free shard while there is none.
const LOOK: Duration = Duration::from_secs(10);
/// A shard is given up by so much before its lease ends, for clocks that differ.
const MARGIN: Duration = Duration::from_secs(3);

/// Holds one of the shards whenever one is free, and reads it with `read` as long
/// as it is held, until `stopping`.
///
/// No shard, a shard that was lost, a store that is down: those who wait poll.
pub async fn keep<R>(
    replies: Arc<Replies>,
    leases: Arc<dyn LeaseStore>,
    clock: Clock,
    read: impl Fn(String) -> R,
    stopping: CancellationToken,
) where
    R: Future<Output = ()>,
{
    let keeper = Keeper { replies, leases, clock, holder: Token::random() };
    tokio::select! {
        () = keeper.run(read) => {}
        () = stopping.cancelled() => {}
    }
    keeper.give_up().await;
}

struct Keeper {
    replies: Arc<Replies>,
    leases: Arc<dyn LeaseStore>,
    clock: Clock,
    holder: Token,
}

impl Keeper {
    async fn run<R: Future<Output = ()>>(&self, read: impl Fn(String) -> R) {
        if self.replies.shards.is_empty() {
            return;
        }
        loop {
            let Some((number, url)) = self.find().await else {
                sleep(LOOK).await;
                continue;
            };
            tracing::info!(shard = number, "reading a reply shard");
            self.replies.hold(Some(number));
            // The reader never ends by itself.
            tokio::select! {
                () = self.hold(&url) => {}
                () = read(url.clone()) => {}
            }
            self.replies.hold(None);
            tracing::warn!(shard = number, "a reply shard was lost");
        }
    }

    /// A free shard. Where it begins to look is random, so that gateways that start
    /// together do not all ask for the same.
    async fn find(&self) -> Option<(u8, String)> {
        let shards = &self.replies.shards;
        let first = usize::from(self.holder.as_bytes()[0]);
        for place in 0..shards.len() {
            let number = (first + place) % shards.len();
            let url = &shards[number];
            match self.acquire(url).await {
                Ok(Acquired::Held) => return Some((u8::try_from(number).ok()?, url.clone())),
                Ok(Acquired::HeldUntil(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "no reply shard could be leased");
                    return None;
                }
            }
        }
        None
    }

    /// Prolongs the lease until it is lost.
    async fn hold(&self, url: &str) {
        let mut ends = Instant::now() + LEASE - MARGIN;
        loop {
            sleep(HEARTBEAT).await;
            let asked = Instant::now();
            match timeout_at(ends, self.acquire(url)).await {
                Ok(Ok(Acquired::Held)) => ends = asked + LEASE - MARGIN,
                // Also when nobody can know any more.
                Ok(Ok(Acquired::HeldUntil(_))) | Err(_) => return,
                Ok(Err(error)) => tracing::warn!(%error, "a reply shard's lease was not prolonged"),
            }
            if Instant::now() + HEARTBEAT > ends {
                return;
            }
        }
    }

    async fn acquire(&self, url: &str) -> Result<Acquired, StoreError> {
        let now: UnixMillis = self.clock.now();
        self.leases.acquire(&lease_of(url), self.holder, now.plus(LEASE), now).await
    }

    async fn give_up(&self) {
        let Some(number) = self.replies.held() else { return };
        self.replies.hold(None);
        let Some(url) = self.replies.shards.get(usize::from(number)) else { return };
        if let Err(error) = self.leases.release(&lease_of(url), self.holder).await {
            tracing::warn!(%error, "a reply shard's lease was not given up");
        }
    }
}

/// The lease belongs to the queue, whatever its place in the list is.
fn lease_of(url: &str) -> String {
    format!("reply/{url}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_store::memory::MemoryResultStore;
    use queuebridge_store::testing::{Fault, Faulty};
    use tokio::task::JoinHandle;
    use tokio::time::advance;

    type Leases = Arc<Faulty<MemoryResultStore>>;

    fn leases() -> Leases {
        Arc::new(Faulty::new(Arc::new(MemoryResultStore::new(LEASE))))
    }

    struct Gateway {
        replies: Arc<Replies>,
        stopping: CancellationToken,
        task: JoinHandle<()>,
    }

    fn gateway(leases: &Leases, shards: &[&str]) -> Gateway {
        let shards = shards.iter().map(|url| (*url).to_owned()).collect();
        let (replies, stopping) = (Arc::new(Replies::new(shards)), CancellationToken::new());
        let clock = Clock::simulated(UnixMillis(1_700_000_000_000));
        let read = |_| std::future::pending();
        let keeping = keep(replies.clone(), leases.clone(), clock, read, stopping.clone());
        Gateway { replies, stopping, task: tokio::spawn(keeping) }
    }

    async fn seconds(count: u64) {
        for _ in 0..count {
            advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_shard_has_one_gateway_and_the_rest_have_none() {
        let leases = leases();
        let gateways: Vec<_> = (0..3).map(|_| gateway(&leases, &["a", "b"])).collect();
        seconds(100).await;
        let mut held: Vec<_> = gateways.iter().filter_map(|g| g.replies.held()).collect();
        held.sort_unstable();
        assert_eq!(held, [0, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_shard_of_a_stopped_gateway_is_taken_over() {
        let leases = leases();
        let first = gateway(&leases, &["a"]);
        seconds(1).await;
        let second = gateway(&leases, &["a"]);
        seconds(60).await;
        assert_eq!((first.replies.held(), second.replies.held()), (Some(0), None));
        first.stopping.cancel();
        first.task.await.unwrap();
        assert_eq!(first.replies.held(), None);
        seconds(LOOK.as_secs()).await;
        assert_eq!(second.replies.held(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_shard_of_a_crashed_gateway_is_taken_over_after_its_lease() {
        let leases = leases();
        let first = gateway(&leases, &["a"]);
        seconds(1).await;
        first.task.abort();
        let second = gateway(&leases, &["a"]);
        seconds(20).await;
        assert_eq!(second.replies.held(), None);
        seconds(LOOK.as_secs() + LEASE.as_secs()).await;
        assert_eq!(second.replies.held(), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_store_a_gateway_gives_up_before_another_can_begin() {
        let leases = leases();
        let first = gateway(&leases, &["a"]);
        seconds(5).await;
        assert_eq!(first.replies.held(), Some(0));
        leases.every(1, Fault::LoseRequest);
        seconds(LEASE.as_secs() - MARGIN.as_secs() + 1).await;
        assert_eq!(first.replies.held(), None);
        leases.every(0, Fault::None);
        seconds(LOOK.as_secs() + 1).await;
        assert_eq!(first.replies.held(), Some(0), "and takes it again");
    }

    /// Grants the lease once, and is silent from then on.
    #[derive(Default)]
    struct Silent(std::sync::atomic::AtomicBool);

    #[async_trait::async_trait]
    impl LeaseStore for Silent {
        async fn acquire(
            &self,
            _: &str,
            _: Token,
            _: UnixMillis,
            _: UnixMillis,
        ) -> Result<Acquired, StoreError> {
            if self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            Ok(Acquired::Held)
        }

        async fn release(&self, _: &str, _: Token) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_silent_store_a_gateway_gives_up_before_another_can_begin() {
        let replies = Arc::new(Replies::new(vec!["a".to_owned()]));
        let clock = Clock::simulated(UnixMillis(1_700_000_000_000));
        let read = |_| std::future::pending();
        let stopping = CancellationToken::new();
        tokio::spawn(keep(replies.clone(), Arc::new(Silent::default()), clock, read, stopping));
        seconds(1).await;
        assert_eq!(replies.held(), Some(0));
        seconds(LEASE.as_secs() - 1).await;
        assert_eq!(replies.held(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_lost_heartbeat_is_no_loss() {
        let leases = leases();
        let first = gateway(&leases, &["a"]);
        seconds(5).await;
        leases.script([Fault::LoseResponse]);
        seconds(100).await;
        assert_eq!(first.replies.held(), Some(0));
    }
}
