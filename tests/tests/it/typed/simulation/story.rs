//! What happens to one call of the simulation, and the handler that plays its part in it.

use super::super::world::{Answers, Script};
use crate::chaos::Random;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use queuebridge_worker::JobContext;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status, Streaming};

/// What a call is like, on all sides. Everything follows from the seed.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) number: u64,
    /// The caller's messages, and the pause before each.
    pub(crate) requests: Vec<Duration>,
    /// The caller breaks off before the last of them.
    pub(crate) breaks_off: bool,
    /// The sizes of the answers, and the pause before each.
    pub(crate) answers: Vec<(usize, Duration)>,
    /// How the attempts end; further ones end well.
    pub(crate) fates: Vec<Fate>,
    /// How long the caller takes over each message.
    pub(crate) reads: Duration,
    /// After so many messages it goes away.
    pub(crate) leaves_after: Option<usize>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) auto: bool,
    /// Another call with the same id.
    pub(crate) twin: bool,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, requests, breaks_off, answers, fates, reads, .. } = self;
        let Self { leaves_after, deadline, auto, twin, .. } = self;
        let bytes: usize = answers.iter().map(|(size, _)| size).sum();
        let pauses: Duration = answers.iter().map(|(_, pause)| *pause).sum();
        let takes: Duration = requests.iter().sum();
        write!(f, "call {number}: {} requests in {takes:?}, ", requests.len())?;
        write!(f, "{} answers of {bytes} bytes in {pauses:?}, ", answers.len())?;
        write!(f, "{fates:?}, reads {reads:?}, deadline {deadline:?}, auto {auto}, ")?;
        write!(f, "breaks off {breaks_off}, leaves {leaves_after:?}, twin {twin}")
    }
}

/// How an attempt ends before its last message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Fails(usize),
    Panics(usize),
}

impl Plan {
    pub(crate) fn new(number: u64, random: &Random) -> Self {
        let below = |bound: u64| random.below(bound);
        let millis = |bound| Duration::from_millis(below(bound));
        let count = [1, 1, 1, 2, 5, 40][usize::try_from(below(6)).unwrap()];
        let pause = [1, 1, 30, 900][usize::try_from(below(4)).unwrap()];
        let requests: Vec<Duration> = (0..count).map(|_| millis(pause)).collect();
        let twin = below(6) == 0;
        let breaks_off = !twin && count > 1 && below(4) == 0;
        let many = [0, 1, 2, 8, 60, 500][usize::try_from(below(6)).unwrap()];
        let (most, rest) = ([1, 200, 20_000, 70_000][usize::try_from(below(4)).unwrap()], millis);
        let pause =
            if many > 100 { 20 } else { [1, 100, 3_000][usize::try_from(below(3)).unwrap()] };
        let size = |_| (usize::try_from(below(most)).unwrap(), rest(pause));
        let answers: Vec<_> = (0..many).map(size).collect();
        let fate = |_| {
            let at = usize::try_from(below(many + 1)).unwrap();
            if below(3) == 0 { Fate::Panics(at) } else { Fate::Fails(at) }
        };
        let fates = (0..[0, 0, 0, 1, 2][usize::try_from(below(5)).unwrap()]).map(fate).collect();
        let leaves = below(5) == 0 && !twin;
        Self {
            number,
            requests,
            breaks_off,
            answers,
            fates,
            reads: if below(3) == 0 { millis(2_000) } else { Duration::ZERO },
            leaves_after: leaves.then(|| usize::try_from(below(many + 1)).unwrap()),
            deadline: (below(3) == 0).then(|| Duration::from_secs(5 + below(120))),
            auto: below(2) == 0,
            twin,
        }
    }

    /// The caller's messages; those that it sends before it breaks off.
    pub(crate) fn requests(&self) -> Vec<(Duration, Bytes)> {
        let last = self.requests.len() - 1;
        let all = self.requests.iter().enumerate().map(|(index, pause)| {
            let mut message = BytesMut::new();
            message.put_u64(self.number);
            message.put_u32(u32::try_from(index).unwrap());
            message.put_u8(u8::from(index == last));
            (*pause, message.freeze())
        });
        all.take(self.requests.len() - usize::from(self.breaks_off)).collect()
    }
}

/// What handlers do, and what was seen of them.
#[derive(Default)]
pub(crate) struct Stage {
    pub(crate) plans: Mutex<HashMap<u64, Plan>>,
    pub(crate) seen: Mutex<HashMap<u64, Seen>>,
    pub(crate) wrong: Mutex<Vec<String>>,
    pub(crate) deterministic: bool,
}

/// What was seen of the handlers of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Attempts that had the whole request.
    pub(crate) runs: usize,
    /// Handlers that have not ended.
    pub(crate) running: usize,
    /// The messages and their bytes that each attempt has made.
    pub(crate) made: HashMap<u32, (usize, usize)>,
    /// When an attempt has made its first message, and when its last.
    pub(crate) began: Option<Instant>,
    pub(crate) ended: Option<Instant>,
}

impl Stage {
    pub(crate) fn seen(&self, number: u64) -> Seen {
        self.seen.lock().unwrap().get(&number).cloned().unwrap_or_default()
    }

    fn note(&self, number: u64, note: impl FnOnce(&mut Seen)) {
        note(self.all().entry(number).or_default());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Seen>> {
        self.seen.lock().unwrap()
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    pub(crate) fn script(self: &Arc<Self>) -> Script {
        let stage = self.clone();
        Script::new(move |request| stage.clone().play(request))
    }

    async fn play(
        self: Arc<Self>,
        request: Request<Streaming<Bytes>>,
    ) -> Result<Response<Answers>, Status> {
        let attempt = request.extensions().get::<JobContext>().unwrap().attempt;
        let mut messages = request.into_inner();
        let (mut expected, mut whole, mut number) = (0, false, 0);
        let mut running: Option<Running> = None;
        while let Some(mut message) = messages.message().await? {
            number = message.get_u64();
            running.get_or_insert_with(|| Running::new(&self, number));
            if message.get_u32() != expected || whole {
                self.wrong(format!("call {number}: attempt {attempt} reads out of order"));
            }
            expected += 1;
            whole = message.get_u8() == 1;
        }
        if !whole {
            self.wrong(format!("call {number}: half a request was taken for a whole one"));
        }
        let Some(plan) = self.plans.lock().unwrap().get(&number).cloned() else {
            return Err(Status::internal("nobody knows this call"));
        };
        let mut run = 0;
        self.note(number, |seen| {
            run = seen.runs;
            seen.runs += 1;
        });
        let fate = plan.fates.get(run).copied();
        let tag = if self.deterministic { 0 } else { u32::try_from(run).unwrap() + 1 };
        let making = (self, plan, 0, running, fate);
        let answers = stream::unfold(Some(making), move |making| async move {
            let (stage, plan, index, running, fate) = making?;
            match fate {
                Some(Fate::Fails(at)) if at == index => {
                    return Some((Err(Status::unavailable("again")), None));
                }
                Some(Fate::Panics(at)) if at == index => panic!("as planned"),
                _ => {}
            }
            let number = plan.number;
            let Some((size, pause)) = plan.answers.get(index).copied() else {
                stage.note(number, |seen| seen.ended = Some(Instant::now()));
                return None;
            };
            if !pause.is_zero() {
                sleep(pause).await;
            }
            let mut message = BytesMut::zeroed(8 + size);
            message[..4].copy_from_slice(&u32::try_from(index).unwrap().to_be_bytes());
            message[4..8].copy_from_slice(&tag.to_be_bytes());
            stage.note(number, |seen| {
                let made = seen.made.entry(tag).or_default();
                *made = (made.0 + 1, made.1 + 8 + size);
                if index == 0 {
                    seen.began = Some(Instant::now());
                }
            });
            let next = (stage, plan, index + 1, running, fate);
            Some((Ok(message.freeze()), Some(next)))
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// Counts a handler until it ends, however that is.
struct Running(Arc<Stage>, u64);

impl Running {
    fn new(stage: &Arc<Stage>, number: u64) -> Self {
        stage.note(number, |seen| seen.running += 1);
        Self(stage.clone(), number)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.note(self.1, |seen| seen.running -= 1);
    }
}
