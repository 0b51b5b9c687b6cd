use super::*;
use crate::auth::refusal;
use std::io;
use std::net::Ipv4Addr;
use tokio::time::sleep;

const WRONG: &str = reason::CREDENTIALS_INVALID;
const MISSING: &str = reason::CREDENTIALS_MISSING;

fn v4(number: u32) -> Option<IpAddr> {
    Some(Ipv4Addr::from(0x0a00_0000 + number).into())
}

fn count(reason: &'static str, address: Option<IpAddr>, count: u64) -> Count {
    Count { reason, source: Source::of(address), count, period: period(reason) }
}

#[test]
fn guessing_is_a_line_at_once_and_then_a_count_each_minute() {
    let (mut table, begun) = (Table::default(), Instant::now());
    assert_eq!(table.note(WRONG, v4(1), begun), Noted::Shown);
    for _ in 0..1_000 {
        assert_eq!(table.note(WRONG, v4(1), begun), Noted::Counted);
    }
    assert_eq!(table.due(begun + PERIOD - Duration::from_millis(1)), []);
    assert_eq!(table.due(begun + PERIOD), [count(WRONG, v4(1), 1_000)]);
    // Who goes on has no line at once again.
    let later = begun + PERIOD + Duration::from_secs(1);
    assert_eq!(table.note(WRONG, v4(1), later), Noted::Counted);
    assert_eq!(table.due(later + PERIOD), [count(WRONG, v4(1), 1)]);
    assert_eq!(table.due(later + 2 * PERIOD), []);
    assert_eq!(table.note(WRONG, v4(1), later + 2 * PERIOD), Noted::Shown);
}

#[test]
fn neither_another_address_nor_another_reason_is_hidden() {
    let (mut table, now) = (Table::default(), Instant::now());
    for (reason, address) in [
        (WRONG, v4(1)),
        (WRONG, v4(2)),
        (WRONG, None),
        (MISSING, v4(1)),
        (reason::CREDENTIALS_EXPIRED, v4(1)),
        (reason::NO_TENANT, v4(1)),
        (WRONG, Some("2001:db8::1".parse().unwrap())),
        (WRONG, Some("2001:db8:0:1::1".parse().unwrap())),
    ] {
        assert_eq!(table.note(reason, address, now), Noted::Shown, "{reason} {address:?}");
    }
    // All that one caller has.
    let same = Some("2001:db8::ffff:0:0:1".parse().unwrap());
    assert_eq!(table.note(WRONG, same, now), Noted::Counted);
    let mapped = Some("::ffff:10.0.0.2".parse().unwrap());
    assert_eq!(table.note(WRONG, mapped, now), Noted::Counted);
    let mut shown: Vec<_> =
        table.due(now + PERIOD).iter().map(|count| count.source.to_string()).collect();
    shown.sort();
    assert_eq!(shown, ["10.0.0.2", "2001:db8::/64"]);
}

#[test]
fn calls_without_credentials_are_counted_for_longer() {
    let (mut table, now) = (Table::default(), Instant::now());
    for reason in [WRONG, MISSING] {
        table.note(reason, v4(1), now);
        table.note(reason, v4(1), now);
    }
    assert_eq!(table.due(now + PERIOD), [count(WRONG, v4(1), 1)]);
    assert_eq!(table.due(now + PERIOD_OF_MISSING), [count(MISSING, v4(1), 1)]);
}

#[test]
fn any_number_of_addresses_takes_bounded_room_and_loses_no_count() {
    let (mut table, now, many) = (Table::default(), Instant::now(), 100_000);
    let shown = (0..many).filter(|number| table.note(WRONG, v4(*number), now) == Noted::Shown);
    assert_eq!(shown.count(), MAX_ADDRESSES + 1);
    assert_eq!(table.reasons[WRONG].len(), MAX_ADDRESSES + 1);
    // Of another reason the addresses are told apart as before.
    assert_eq!(table.note(reason::NO_TENANT, v4(many), now), Noted::Shown);
    let due = table.due(now + PERIOD);
    let others = u64::from(many) - MAX_ADDRESSES as u64 - 1;
    let period = PERIOD;
    assert_eq!(due, [Count { reason: WRONG, source: Source::Others, count: others, period }]);
    assert_eq!(table.note(WRONG, v4(many), now + PERIOD), Noted::Shown);
}

/// Lines of the audit log, without their times.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Collects what this thread logs until the guard is dropped.
    fn start(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let lines = tracing_subscriber::fmt().json().with_writer(move || log.clone());
        tracing::subscriber::set_default(lines.finish())
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        text.lines().map(|text| line(text)["fields"].clone()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_count_is_written_also_when_the_guessing_has_ended() {
    let (log, strangers) = (Log::default(), Strangers::default());
    let _collects = log.start();
    let guess = || refusal::invalid("wrong").claiming("api-key:a\u{202e}\n".to_owned());
    for _ in 0..3 {
        strangers.refused(&guess(), v4(1));
    }
    let [line] = &log.lines()[..] else { panic!("one line") };
    assert_eq!(line["act"], "refuse");
    assert_eq!((&line["reason"], &line["peer"]), (&WRONG.into(), &"10.0.0.1".into()));
    assert_eq!(line["claimed"], "api-key:a\\u{202e}\\n");
    sleep(PERIOD + Duration::from_secs(1)).await;
    let [line] = &log.lines()[..] else { panic!("one count") };
    assert_eq!((&line["act"], &line["reason"]), (&"refuse".into(), &WRONG.into()));
    assert_eq!((&line["peer"], &line["count"]), (&"10.0.0.1".into(), &2.into()));
    assert_eq!(line["seconds"], 60);
    // Nothing is left that would wait or be written.
    sleep(10 * PERIOD).await;
    assert!(log.lines().is_empty() && !strangers.0.lock().unwrap().is_watched);
    // It watches again when there is something to count.
    strangers.refused(&guess(), None);
    strangers.refused(&guess(), None);
    sleep(PERIOD + Duration::from_secs(1)).await;
    let counts: Vec<_> = log.lines().iter().map(|line| line["count"].clone()).collect();
    assert_eq!(counts, [serde_json::Value::Null, 1.into()]);
    // A gateway that ends loses none.
    strangers.refused(&guess(), None);
    drop(strangers);
    assert_eq!(log.lines()[0]["count"], 1);
}
