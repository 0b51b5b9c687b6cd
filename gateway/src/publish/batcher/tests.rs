use super::*;
use async_trait::async_trait;
use std::collections::VecDeque;
use tokio::sync::Semaphore;

/// A destination under the test's control: each call waits for a permit, is
/// recorded, and answers as scripted, else OK.
struct Scripted {
    gate: Semaphore,
    calls: Mutex<Vec<Vec<String>>>,
    answers: Mutex<VecDeque<Vec<Answer>>>,
    concurrency: usize,
    limit: std::sync::atomic::AtomicUsize,
}

impl Scripted {
    fn new(permits: usize, concurrency: usize) -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(permits),
            calls: Mutex::default(),
            answers: Mutex::default(),
            concurrency,
            limit: 1000.into(),
        })
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().unwrap().clone()
    }

    fn script(&self, answers: Vec<Answer>) {
        self.answers.lock().unwrap().push_back(answers);
    }
}

#[async_trait]
impl Publisher for Scripted {
    fn limits(&self) -> Limits {
        let bytes = self.limit.load(std::sync::atomic::Ordering::Relaxed);
        Limits {
            batch_entries: 10,
            batch_bytes: bytes,
            message_bytes: bytes,
            fifo: false,
            concurrency: self.concurrency,
        }
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Answer> {
        self.calls.lock().unwrap().push(batch.iter().map(|m| m.body.clone()).collect());
        self.gate.acquire().await.unwrap().forget();
        let scripted = self.answers.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| vec![Ok(()); batch.len()])
    }
}

fn message(body: &str) -> Message {
    Message { body: body.into(), ..Message::default() }
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn publish(batcher: &Batcher, body: &str) -> tokio::task::JoinHandle<Answer> {
    let (batcher, message) = (batcher.clone(), message(body));
    tokio::spawn(async move { batcher.publish(message).await })
}

#[tokio::test(start_paused = true)]
async fn an_idle_batcher_sends_at_once_and_alone() {
    let queue = Scripted::new(100, 4);
    let batcher = Batcher::new(queue.clone());
    let begun = Instant::now();
    batcher.publish(message("a")).await.unwrap();
    batcher.publish(message("b")).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "no timer on the idle path");
    assert_eq!(queue.calls(), [["a"], ["b"]]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_leaves_while_another_is_under_way() {
    let queue = Scripted::new(0, 4);
    let batcher = Batcher::new(queue.clone());
    let calls: Vec<_> = (0..13).map(|i| publish(&batcher, &i.to_string())).collect();
    settle().await;
    assert_eq!(queue.calls().iter().map(Vec::len).collect::<Vec<_>>(), [1, 10]);
    queue.gate.add_permits(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(queue.calls().iter().map(Vec::len).collect::<Vec<_>>(), [1, 10, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_partial_batch_lingers_only_while_calls_are_under_way() {
    let queue = Scripted::new(0, 4);
    let batcher = Batcher::new(queue.clone());
    let _calls: Vec<_> = (0..3).map(|i| publish(&batcher, &i.to_string())).collect();
    settle().await;
    assert_eq!(queue.calls().len(), 1);
    tokio::time::advance(LINGER).await;
    settle().await;
    assert_eq!(queue.calls()[1], ["1", "2"], "the first call has still not returned");
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_the_destination_bears() {
    let queue = Scripted::new(0, 2);
    let batcher = Batcher::new(queue.clone());
    let calls: Vec<_> = (0..41).map(|i| publish(&batcher, &i.to_string())).collect();
    settle().await;
    tokio::time::advance(LINGER * 3).await;
    settle().await;
    assert_eq!(queue.calls().len(), 2);
    queue.gate.add_permits(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(queue.calls().iter().map(Vec::len).sum::<usize>(), 41);
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_to_the_bytes_of_a_call() {
    let queue = Scripted::new(0, 4);
    let batcher = Batcher::new(queue.clone());
    let calls: Vec<_> = (0..4).map(|_| publish(&batcher, &"x".repeat(400))).collect();
    settle().await;
    queue.gate.add_permits(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(queue.calls().iter().all(|call| call.len() <= 2));
    let too_large = batcher.publish(message(&"x".repeat(1001))).await;
    assert!(matches!(too_large, Err(PublishError::TooLarge(_))));
}

#[tokio::test(start_paused = true)]
async fn every_caller_is_answered_for_its_own_entry() {
    let queue = Scripted::new(0, 1);
    let batcher = Batcher::new(queue.clone());
    let first = publish(&batcher, "first");
    settle().await;
    let calls: Vec<_> = ["a", "b", "c"].iter().map(|b| publish(&batcher, b)).collect();
    settle().await;
    queue.script(vec![Ok(())]);
    queue.script(vec![Ok(()), Err(PublishError::Refused("b".into())), Ok(())]);
    queue.gate.add_permits(100);
    first.await.unwrap().unwrap();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(answers, [Ok(()), Err(PublishError::Refused("b".into())), Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn only_the_failed_entries_are_offered_again() {
    let queue = Scripted::new(0, 1);
    let batcher = Batcher::new(queue.clone());
    let first = publish(&batcher, "first");
    settle().await;
    let calls: Vec<_> = ["a", "b"].iter().map(|b| publish(&batcher, b)).collect();
    settle().await;
    queue.script(vec![Ok(())]);
    queue.script(vec![Err(PublishError::Retryable("throttled".into())), Ok(())]);
    queue.gate.add_permits(100);
    first.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let calls = queue.calls();
    assert_eq!(calls[1..], [vec!["a".to_owned(), "b".into()], vec!["a".into()]]);
}

#[tokio::test(start_paused = true)]
async fn doubt_is_ended_by_success_only() {
    let unknown = || vec![Err(PublishError::Unknown("lost".into()))];
    let queue = Scripted::new(100, 1);
    let batcher = Batcher::new(queue.clone());
    queue.script(unknown());
    (0..2).for_each(|_| queue.script(vec![Err(PublishError::Refused("no".into()))]));
    let answer = batcher.publish(message("a")).await;
    assert_eq!(answer, Err(PublishError::Unknown("lost".into())), "it may have been taken");
    queue.script(unknown());
    assert_eq!(batcher.publish(message("b")).await, Ok(()));
    (0..3).for_each(|_| queue.script(unknown()));
    assert!(matches!(batcher.publish(message("c")).await, Err(PublishError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_short_leaves_nobody_waiting() {
    let queue = Scripted::new(100, 1);
    let batcher = Batcher::new(queue.clone());
    (0..3).for_each(|_| queue.script(vec![]));
    assert!(matches!(batcher.publish(message("a")).await, Err(PublishError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_holds_nobody_up() {
    let queue = Scripted::new(0, 1);
    let batcher = Batcher::new(queue.clone());
    let gone = publish(&batcher, "gone");
    settle().await;
    let waiting = publish(&batcher, "waiting");
    settle().await;
    gone.abort();
    settle().await;
    queue.gate.add_permits(100);
    waiting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_for_its_size_is_sent_one_by_one() {
    let queue = Scripted::new(0, 1);
    let batcher = Batcher::new(queue.clone());
    let calls: Vec<_> = (0..4).map(|i| publish(&batcher, &i.to_string())).collect();
    settle().await;
    let too_large = || Err(PublishError::TooLarge("BatchRequestTooLong".into()));
    queue.script(vec![Ok(())]);
    queue.script(vec![too_large(), too_large(), too_large()]);
    queue.script(vec![Ok(())]);
    queue.script(vec![too_large()]);
    queue.gate.add_permits(100);
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    assert_eq!(queue.calls()[1..], [vec!["1", "2", "3"], vec!["1"], vec!["2"], vec!["3"]]);
    assert_eq!(answers, [Ok(()), Ok(()), too_large(), Ok(())]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_to_what_is_known_when_it_leaves() {
    let queue = Scripted::new(0, 1);
    let batcher = Batcher::new(queue.clone());
    let calls: Vec<_> = (0..3).map(|_| publish(&batcher, &"x".repeat(400))).collect();
    settle().await;
    queue.limit.store(500, std::sync::atomic::Ordering::Relaxed);
    let large = publish(&batcher, &"y".repeat(501));
    settle().await;
    assert!(matches!(large.await.unwrap(), Err(PublishError::TooLarge(_))));
    queue.limit.store(300, std::sync::atomic::Ordering::Relaxed);
    queue.gate.add_permits(100);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(queue.calls().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
}
