//! The loop's decisions over time: virtual time, a feed of numbered items, a receiver that answers as a test says.
use super::*;
use crate::events::Format;
use crate::store::Missing;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

fn item(seq: u64) -> Item {
    let id = EventId::of_line(&seq.to_le_bytes());
    Item { seq, id, time: 0, received_at: seq as Micros, source: "test".into(), format: Format::COWRIE, payload: 0..0 }
}

fn payload(seq: u64) -> String {
    format!("event {seq}")
}

/// Items up to what is durable.
struct Numbers {
    next: u64,
    durable: watch::Receiver<u64>,
    /// Every so many events one is let through.
    keep: u64,
    kept: Arc<Kept>,
}

impl Feed for Numbers {
    fn take(&mut self, limits: BatchLimits, _: Micros) -> Result<Taken, super::super::feed::FeedError> {
        let mut taken = Taken::default();
        let head = *self.durable.borrow();
        while self.next < head && taken.batch.items.len() < limits.items {
            if self.next.is_multiple_of(self.keep) {
                taken.batch.push(item(self.next), payload(self.next).as_bytes());
            }
            self.next += 1;
        }
        taken.more = self.next < head;
        taken.cursor = self.next;
        Ok(taken)
    }
    fn settled(&mut self, items: &[Item]) {
        self.kept.settled.lock().unwrap().extend(items.iter().map(|item| item.seq));
    }
    fn seek(&mut self, seq: u64) {
        self.next = seq;
    }
}

#[derive(Default)]
struct Kept {
    saved: Mutex<Vec<SinkCursor>>,
    buried: Mutex<BTreeMap<u64, String>>,
    cannot_bury: Mutex<bool>,
    attempts: Mutex<Vec<(EventId, SendOutcome)>>,
    lost: Mutex<u64>,
    /// What the feed was told of.
    settled: Mutex<Vec<u64>>,
    letters_lost: std::sync::atomic::AtomicU64,
}

impl Keeper for Kept {
    fn save(&self, cursor: SinkCursor) -> Result<(), String> {
        self.saved.lock().unwrap().push(cursor);
        Ok(())
    }
    fn bury(&self, letters: &[DeadLetter]) -> Result<(), String> {
        if *self.cannot_bury.lock().unwrap() {
            return Err("disk full".into());
        }
        self.buried.lock().unwrap().extend(letters.iter().map(|letter| (letter.item.seq, letter.why.clone())));
        Ok(())
    }
    fn attempted(&self, attempt: &Attempt<'_>) {
        self.attempts.lock().unwrap().push((attempt.batch, attempt.outcome));
    }
    fn failed(&self, _: FailureStage, _: FailureClass, _: &str) {}
    fn lost(&self, gap: &Gap) {
        *self.lost.lock().unwrap() += gap.events;
    }
    fn letters_lost(&self) -> u64 {
        self.letters_lost.load(std::sync::atomic::Ordering::Relaxed)
    }
}

type Behaviour = dyn FnMut(&[u64], u32) -> (Duration, Answer) + Send;

/// A receiver: what it is asked, it answers after a time.
struct Scripted {
    behaviour: Mutex<Box<Behaviour>>,
    concurrency: usize,
    requests: Mutex<Vec<(Instant, EventId, Vec<u64>)>>,
    under_way: Mutex<(usize, usize)>,
}

impl Sink for Scripted {
    fn encode(&self, batch: &Batch) -> Result<Request, String> {
        let body = batch.items.iter().flat_map(|item| item.seq.to_le_bytes()).collect();
        let last_seq = batch.items.last().map_or(0, |item| item.seq);
        Ok(Request { body, id: batch.id(), items: batch.items.len(), last_seq, headers: Vec::new() })
    }

    fn send<'a>(&'a self, request: &'a Request, attempt: u32) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let items: Vec<u64> = request.body.chunks(8).map(|seq| u64::from_le_bytes(seq.try_into().unwrap())).collect();
            self.requests.lock().unwrap().push((Instant::now(), request.id, items.clone()));
            let (after, answer) = (self.behaviour.lock().unwrap())(&items, attempt);
            {
                let mut under_way = self.under_way.lock().unwrap();
                under_way.0 += 1;
                under_way.1 = under_way.1.max(under_way.0);
            }
            let _gone = Gone(self);
            tokio::time::sleep(after).await;
            Outcome { answer, status: None }
        })
    }

    fn probe(&self) -> BoxFuture<'_, Outcome> {
        Box::pin(async { Outcome { answer: Answer::Delivered, status: Some(200) } })
    }

    fn concurrency_max(&self) -> usize {
        self.concurrency
    }
}

struct Gone<'s>(&'s Scripted);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().0 -= 1;
    }
}

struct Rig {
    sink: Arc<Scripted>,
    kept: Arc<Kept>,
    commands: mpsc::Sender<Command>,
    durable: watch::Sender<u64>,
    snapshot: watch::Receiver<SinkSnapshot>,
    running: JoinHandle<()>,
}

fn policy() -> DeliveryPolicy {
    DeliveryPolicy { batch: BatchLimits { items: 10, bytes: 1 << 20 }, ..DeliveryPolicy::default() }
}

fn rig(policy: DeliveryPolicy, concurrency: usize, behaviour: impl FnMut(&[u64], u32) -> (Duration, Answer) + Send + 'static) -> Rig {
    rig_from(policy, concurrency, SinkCursor { seq: 1, paused: false }, behaviour)
}

fn rig_from(
    policy: DeliveryPolicy,
    concurrency: usize,
    cursor: SinkCursor,
    behaviour: impl FnMut(&[u64], u32) -> (Duration, Answer) + Send + 'static,
) -> Rig {
    let numbers = |durable, kept| -> Box<dyn Feed> { Box::new(Numbers { next: cursor.seq, durable, keep: 1, kept }) };
    rig_of(policy, concurrency, cursor, numbers, behaviour)
}

fn rig_of(
    policy: DeliveryPolicy,
    concurrency: usize,
    cursor: SinkCursor,
    feed: impl FnOnce(watch::Receiver<u64>, Arc<Kept>) -> Box<dyn Feed>,
    behaviour: impl FnMut(&[u64], u32) -> (Duration, Answer) + Send + 'static,
) -> Rig {
    let sink = Arc::new(Scripted {
        behaviour: Mutex::new(Box::new(behaviour)),
        concurrency,
        requests: Mutex::default(),
        under_way: Mutex::default(),
    });
    let kept = Arc::<Kept>::default();
    let (commands, orders) = mpsc::channel(8);
    let (durable, durable_receiver) = watch::channel(1);
    let (snapshot_sender, snapshot) = watch::channel(SinkSnapshot::default());
    let mut state = 7u64;
    let random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let ports = DeliveryPorts {
        sink: sink.clone(),
        feed: feed(durable_receiver.clone(), kept.clone()),
        keeper: kept.clone(),
        commands: orders,
        durable: durable_receiver,
        snapshot: snapshot_sender,
        random: Box::new(random),
    };
    let running = tokio::spawn(Delivery::new("test", "scripted", policy, cursor, ports).run());
    Rig { sink, kept, commands, durable, snapshot, running }
}

impl Rig {
    async fn until(&mut self, what: &str, condition: impl Fn(&SinkSnapshot) -> bool) -> SinkSnapshot {
        let waited = tokio::time::timeout(Duration::from_secs(24 * 3600), self.snapshot.wait_for(|snapshot| condition(snapshot))).await;
        match waited {
            Ok(Ok(snapshot)) => snapshot.clone(),
            _ => panic!("waited in vain: {what}"),
        }
    }

    async fn drain(self) -> (Arc<Scripted>, Arc<Kept>) {
        let (done, drained) = oneshot::channel();
        self.commands.send(Command::Drain(Duration::from_secs(1), done)).await.map_err(drop).expect("runs");
        drained.await.expect("drained");
        self.running.await.expect("ended");
        (self.sink, self.kept)
    }

    fn requests(&self) -> Vec<Vec<u64>> {
        self.sink.requests.lock().unwrap().iter().map(|(_, _, items)| items.clone()).collect()
    }
}

fn at_once(answer: Answer) -> (Duration, Answer) {
    (Duration::from_millis(1), answer)
}

fn retry() -> Answer {
    Answer::Retry { after: None, why: "503".into() }
}

#[tokio::test(start_paused = true)]
async fn everything_arrives_in_batches_and_the_cursor_follows() {
    let mut rig = rig(policy(), 1, |_, _| at_once(Answer::Delivered));
    rig.durable.send_replace(36);
    rig.until("all delivered", |snapshot| snapshot.delivered == 35 && snapshot.cursor == 36 && snapshot.state == SinkState::Idle).await;
    let sent: Vec<u64> = rig.requests().concat();
    assert_eq!(sent, (1..36).collect::<Vec<_>>(), "in order, once");
    assert_eq!(rig.requests().iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 10, 5]);
    let (_, kept) = rig.drain().await;
    assert_eq!(kept.saved.lock().unwrap().last(), Some(&SinkCursor { seq: 36, paused: false }));
}

#[tokio::test(start_paused = true)]
async fn few_events_wait_for_company_only_as_long_as_configured() {
    let mut rig = rig(policy(), 1, |_, _| at_once(Answer::Delivered));
    rig.until("idle", |snapshot| snapshot.state == SinkState::Idle).await;
    let started = Instant::now();
    rig.durable.send_replace(2);
    rig.until("delivered", |snapshot| snapshot.delivered == 1).await;
    assert!(started.elapsed() <= Duration::from_millis(210), "{:?}", started.elapsed());
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn six_hours_of_absence_cost_constant_memory_and_few_attempts() {
    let start = Instant::now();
    let absence = Duration::from_secs(6 * 3600);
    let policy = DeliveryPolicy { concurrency_max: 4, ..policy() };
    let mut rig = rig(policy, 4, move |_, _| at_once(if start.elapsed() < absence { retry() } else { Answer::Delivered }));
    let mut most = (0, 0);
    for second in 0..6 * 3600 / 10 {
        rig.durable.send_replace(1 + second * 100);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let snapshot = rig.snapshot.borrow().clone();
        most = (most.0.max(snapshot.batches), most.1.max(snapshot.batch_bytes));
        if second > 6 {
            assert_eq!(snapshot.state, SinkState::Degraded, "{snapshot:?}");
        }
    }
    assert!(most.0 <= 5, "{most:?}");
    assert!(most.1 <= 5 * 10 * 16, "{most:?}");
    let before = rig.requests().len();
    // Half a minute apart on average, once the circuit is open.
    assert!(before <= 6 * 3600 / 20, "{before} attempts");
    let head = *rig.durable.borrow();
    rig.until("caught up", |snapshot| snapshot.cursor == head && snapshot.state == SinkState::Idle).await;
    // Every batch had one key, however often it was sent.
    let mut keys: BTreeMap<u64, BTreeSet<EventId>> = BTreeMap::new();
    for (_, key, items) in rig.sink.requests.lock().unwrap().iter() {
        keys.entry(items[0]).or_default().insert(*key);
    }
    assert!(keys.values().all(|keys| keys.len() == 1));
    let (_, kept) = rig.drain().await;
    assert!(kept.buried.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_poison_item_becomes_a_dead_letter_and_the_rest_arrives() {
    let poison = [37, 38, 71];
    let mut rig = rig(policy(), 1, move |items, _| {
        at_once(if items.iter().any(|seq| poison.contains(seq)) { Answer::Refused { why: "400".into() } } else { Answer::Delivered })
    });
    rig.durable.send_replace(101);
    rig.until("settled", |snapshot| snapshot.cursor == 101).await;
    let requests = rig.requests().len();
    let (sink, kept) = rig.drain().await;
    assert_eq!(kept.buried.lock().unwrap().keys().copied().collect::<Vec<_>>(), poison);
    let arrived: BTreeSet<u64> = sink.requests.lock().unwrap().iter().flat_map(|(.., items)| items.clone()).collect();
    assert_eq!(arrived.len(), 100);
    assert!(requests <= 10 + 2 * 2 * 5, "{requests}");
}

#[tokio::test(start_paused = true)]
async fn the_cursor_waits_for_the_dead_letter_to_be_durable() {
    let mut rig =
        rig(policy(), 1, |items, _| at_once(if items.contains(&3) { Answer::Refused { why: "400".into() } } else { Answer::Delivered }));
    *rig.kept.cannot_bury.lock().unwrap() = true;
    rig.durable.send_replace(6);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.snapshot.borrow().cursor, 1);
    assert_eq!(rig.snapshot.borrow().state, SinkState::Degraded);
    *rig.kept.cannot_bury.lock().unwrap() = false;
    rig.until("settled", |snapshot| snapshot.cursor == 6).await;
    let (_, kept) = rig.drain().await;
    assert_eq!(kept.buried.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_refuses_everything_does_not_turn_all_into_dead_letters() {
    let policy = DeliveryPolicy { refused_max: 8, ..policy() };
    let mended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_mended = mended.clone();
    let mut rig = rig(policy, 2, move |_, _| {
        let mended = is_mended.load(std::sync::atomic::Ordering::Relaxed);
        at_once(if mended { Answer::Delivered } else { Answer::Refused { why: "404 no such path".into() } })
    });
    rig.durable.send_replace(1001);
    let degraded = rig.until("degraded", |snapshot| snapshot.state == SinkState::Degraded).await;
    assert!(degraded.reason.is_some_and(|reason| reason.contains("refuses everything") && reason.contains("404 no such path")));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(rig.snapshot.borrow().dead_letters, 8);
    assert_eq!(rig.snapshot.borrow().state, SinkState::Degraded);
    mended.store(true, std::sync::atomic::Ordering::Relaxed);
    rig.until("delivered", |snapshot| snapshot.cursor == 1001 && snapshot.state == SinkState::Idle).await;
    let (_, kept) = rig.drain().await;
    assert_eq!(kept.buried.lock().unwrap().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn verdicts_of_single_items_count_for_themselves() {
    let mut tried: BTreeMap<u64, u32> = BTreeMap::new();
    let mut rig = rig(policy(), 2, move |items, _| {
        let verdict = |seq: &u64| {
            let tries = tried.entry(*seq).or_default();
            *tries += 1;
            match seq % 10 {
                3 => Verdict::Refused("mapping".into()),
                5 if *tries < 3 => Verdict::Retry { status: None, why: "in a minute".into() },
                _ => Verdict::Delivered,
            }
        };
        at_once(Answer::Items(items.iter().map(verdict).collect()))
    });
    rig.durable.send_replace(101);
    let done = rig.until("settled", |snapshot| snapshot.cursor == 101).await;
    assert_eq!((done.delivered, done.dead_letters), (90, 10));
    let (sink, kept) = rig.drain().await;
    assert_eq!(kept.buried.lock().unwrap().keys().copied().collect::<Vec<_>>(), (0..10).map(|ten| ten * 10 + 3).collect::<Vec<_>>());
    let sent = sink.requests.lock().unwrap().iter().flat_map(|(.., items)| items.clone()).filter(|seq| seq % 10 == 1).count();
    assert_eq!(sent, 10, "what arrived is not sent again");
}

#[tokio::test(start_paused = true)]
async fn items_refused_for_strain_say_why_and_make_batches_smaller() {
    let busy = Arc::new(Mutex::new(true));
    let (is_busy, shed) = (busy.clone(), "status 429: es_rejected_execution_exception");
    let mut rig = rig(policy(), 1, move |items, _| {
        let again = Verdict::Retry { status: Some(429), why: shed.into() };
        let all = |verdict: Verdict| items.iter().map(|_| verdict.clone()).collect();
        let verdicts = if *is_busy.lock().unwrap() { all(again) } else { all(Verdict::Delivered) };
        (Duration::from_millis(1), Answer::Items(verdicts))
    });
    rig.durable.send_replace(101);
    let degraded = rig.until("degraded", |snapshot| snapshot.state == SinkState::Degraded).await;
    assert!(degraded.reason.as_deref().is_some_and(|reason| reason.ends_with(shed)), "{degraded:?}");
    assert_eq!(rig.kept.attempts.lock().unwrap().last().map(|(_, outcome)| *outcome), Some(SendOutcome::Partial));
    *busy.lock().unwrap() = false;
    rig.until("settled", |snapshot| snapshot.cursor == 101).await;
    let requests = rig.requests();
    assert!(requests.iter().filter(|items| items.len() <= 5).count() >= 2, "{requests:?}");
    rig.drain().await;
}

/// Finds one item, far behind, and takes its time.
struct Slow {
    takes: u64,
    go: Arc<Mutex<bool>>,
}

impl Feed for Slow {
    fn take(&mut self, _: BatchLimits, _: Micros) -> Result<Taken, super::super::feed::FeedError> {
        let go = *self.go.lock().unwrap();
        self.takes += 1;
        Ok(Taken { cursor: if go { 1000 } else { 1 + self.takes.min(500) }, more: !go, ..Taken::default() })
    }
    fn settled(&mut self, _: &[Item]) {}
    fn seek(&mut self, _: u64) {}
}

#[tokio::test(start_paused = true)]
async fn who_reads_what_is_not_for_it_is_not_idle() {
    let go = Arc::<Mutex<bool>>::default();
    let feed = Box::new(Slow { takes: 0, go: go.clone() });
    let mut rig = rig_of(policy(), 1, SinkCursor { seq: 1, paused: false }, |_, _| feed, |_, _| at_once(Answer::Delivered));
    rig.durable.send_replace(1000);
    let behind = rig.until("behind", |snapshot| snapshot.cursor > 3 && snapshot.lag_events > 0).await;
    assert_eq!(behind.state, SinkState::Reading);
    *go.lock().unwrap() = true;
    rig.until("idle", |snapshot| snapshot.state == SinkState::Idle && snapshot.lag_events == 0).await;
    // Looking whether there is something is no reading.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(rig.snapshot.borrow().state, SinkState::Idle);
    }
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn batches_that_are_too_large_are_halved_until_they_fit() {
    let mut rig =
        rig(policy(), 1, |items, _| at_once(if items.len() > 3 { Answer::TooLarge { why: "413".into() } } else { Answer::Delivered }));
    rig.durable.send_replace(101);
    let done = rig.until("settled", |snapshot| snapshot.cursor == 101).await;
    assert_eq!((done.delivered, done.dead_letters), (100, 0));
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn an_unusable_sink_is_degraded_at_once_and_gives_nothing_up() {
    let mut rig = rig(policy(), 4, |_, _| at_once(Answer::Unusable { why: "401: wrong credentials".into() }));
    let started = Instant::now();
    rig.durable.send_replace(101);
    let degraded = rig.until("degraded", |snapshot| snapshot.state == SinkState::Degraded).await;
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(degraded.reason.as_deref(), Some("401: wrong credentials"));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let requests = rig.requests().len();
    assert!((60..=130).contains(&requests), "tried slowly: {requests} in an hour");
    assert_eq!(rig.snapshot.borrow().cursor, 1);
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up_and_repeated_with_its_key() {
    let mut rig =
        rig(policy(), 1, |_, attempt| (if attempt == 1 { Duration::from_secs(1 << 20) } else { Duration::ZERO }, Answer::Delivered));
    rig.durable.send_replace(6);
    rig.until("settled", |snapshot| snapshot.cursor == 6).await;
    let keys: Vec<EventId> = rig.sink.requests.lock().unwrap().iter().map(|(_, key, _)| *key).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0], keys[1]);
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for() {
    let start = Instant::now();
    let asked = Duration::from_secs(90);
    let mut rig = rig(policy(), 1, move |_, attempt| {
        at_once(if attempt == 1 { Answer::Retry { after: Some(asked), why: "429".into() } } else { Answer::Delivered })
    });
    rig.durable.send_replace(6);
    rig.until("settled", |snapshot| snapshot.cursor == 6).await;
    let second = rig.sink.requests.lock().unwrap()[1].0;
    assert!((asked..asked + Duration::from_secs(2)).contains(&second.duration_since(start)), "{:?}", second.duration_since(start));
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept() {
    let policy = DeliveryPolicy { rate_per_second: NonZeroU32::new(5), ..policy() };
    let mut rig = rig(policy, 4, |_, _| at_once(Answer::Delivered));
    let started = Instant::now();
    rig.durable.send_replace(101);
    let done = rig.until("settled", |snapshot| snapshot.cursor == 101).await;
    let took = started.elapsed().as_secs_f64();
    assert!((18.0..=22.0).contains(&took), "{took} s for 100 items at 5 a second");
    assert_ne!(done.state, SinkState::Degraded);
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_found_out_and_bounded() {
    let mut rig = rig(DeliveryPolicy { concurrency_max: 3, ..policy() }, 8, |_, _| (Duration::from_millis(50), Answer::Delivered));
    rig.durable.send_replace(1001);
    rig.until("settled", |snapshot| snapshot.cursor == 1001).await;
    assert_eq!(rig.sink.under_way.lock().unwrap().1, 3);
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_later_batch_that_arrives_first_does_not_move_the_cursor() {
    let mut rig = rig(DeliveryPolicy { concurrency_max: 4, ..policy() }, 4, |items, attempt| {
        at_once(if items.contains(&11) && attempt < 4 { retry() } else { Answer::Delivered })
    });
    rig.durable.send_replace(61);
    rig.until("the others arrived", |snapshot| snapshot.delivered >= 20).await;
    assert!(rig.snapshot.borrow().cursor <= 11);
    rig.until("settled", |snapshot| snapshot.cursor == 61).await;
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn pause_resume_and_replay_do_what_they_say_and_survive() {
    let mut rig = rig(policy(), 1, |_, _| at_once(Answer::Delivered));
    rig.durable.send_replace(31);
    rig.until("settled", |snapshot| snapshot.cursor == 31).await;
    let (done, paused) = oneshot::channel();
    rig.commands.send(Command::Pause(done)).await.map_err(drop).expect("sent");
    assert_eq!(paused.await.expect("answered"), Ok(()));
    assert_eq!(rig.kept.saved.lock().unwrap().last(), Some(&SinkCursor { seq: 31, paused: true }));
    rig.durable.send_replace(41);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((rig.snapshot.borrow().delivered, rig.snapshot.borrow().state), (30, SinkState::Paused));
    let (done, sought) = oneshot::channel();
    rig.commands.send(Command::Seek(21, done)).await.map_err(drop).expect("sent");
    assert_eq!(sought.await.expect("answered"), Ok(()));
    assert_eq!(rig.kept.saved.lock().unwrap().last(), Some(&SinkCursor { seq: 21, paused: true }), "still paused, elsewhere");
    let (done, resumed) = oneshot::channel();
    rig.commands.send(Command::Resume(done)).await.map_err(drop).expect("sent");
    assert_eq!(resumed.await.expect("answered"), Ok(()));
    rig.until("settled", |snapshot| snapshot.cursor == 41).await;
    assert_eq!(rig.requests().concat().iter().filter(|seq| (21..31).contains(*seq)).count(), 20, "sent again");
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_go_again_and_whoever_asked_learns_what_arrived() {
    let mut rig = rig(policy(), 1, |items, _| {
        at_once(Answer::Items(
            items.iter().map(|seq| if seq % 2 == 0 { Verdict::Delivered } else { Verdict::Refused("odd".into()) }).collect(),
        ))
    });
    rig.until("idle", |snapshot| snapshot.state == SinkState::Idle).await;
    let mut batch = Batch::default();
    (100..104).for_each(|seq| batch.push(item(seq), payload(seq).as_bytes()));
    let arrived = redeliver(&rig, batch).await.await.expect("answered");
    assert_eq!(arrived, Ok(Redelivery { arrived: vec![item(100).id, item(102).id], is_whole: true }));
    assert_eq!(rig.snapshot.borrow().cursor, 1, "the cursor does not move for them");
    assert_eq!(redeliver(&rig, Batch::default()).await.await.expect("answered"), Ok(Redelivery { arrived: vec![], is_whole: true }));
    rig.drain().await;
}

async fn redeliver(rig: &Rig, batch: Batch) -> oneshot::Receiver<Result<Redelivery, String>> {
    let (done, answered) = oneshot::channel();
    rig.commands.send(Command::Redeliver(batch, Duration::from_secs(120), done)).await.map_err(drop).expect("sent");
    answered
}

#[tokio::test(start_paused = true)]
async fn dead_letters_whose_time_is_over_are_not_sent_any_more_and_what_arrived_of_them_is_told() {
    let mut rig = rig(policy(), 1, |items, _| {
        at_once(match items {
            [_] => retry(),
            _ => Answer::Items(vec![Verdict::Delivered, Verdict::Retry { status: None, why: "busy".into() }]),
        })
    });
    rig.until("idle", |snapshot| snapshot.state == SinkState::Idle).await;
    let mut batch = Batch::default();
    (100..102).for_each(|seq| batch.push(item(seq), payload(seq).as_bytes()));
    let first = redeliver(&rig, batch.clone()).await;
    let second = redeliver(&rig, batch.clone()).await.await.expect("answered");
    assert!(second.is_err_and(|why| why.contains("already")), "one at a time");
    let broken_off = Ok(Redelivery { arrived: vec![item(100).id], is_whole: false });
    assert_eq!(first.await.expect("answered"), broken_off);
    let sent = rig.requests().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(rig.requests().len(), sent, "nobody would learn that they arrived");

    let waiting = redeliver(&rig, batch.clone()).await;
    rig.until("one arrived", |snapshot| snapshot.delivered == 2).await;
    let (done, paused) = oneshot::channel();
    rig.commands.send(Command::Pause(done)).await.map_err(drop).expect("sent");
    assert_eq!(paused.await.expect("answered"), Ok(()));
    assert_eq!(waiting.await.expect("answered"), broken_off, "paused: nothing more is sent");
    let refused = redeliver(&rig, batch).await.await.expect("answered");
    assert!(refused.is_err_and(|why| why.contains("paused")), "at once");
    rig.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_requests_end_and_saves_the_cursor() {
    let mut rig = rig(policy(), 1, |_, _| (Duration::from_millis(500), Answer::Delivered));
    rig.durable.send_replace(101);
    rig.until("a request is under way", |snapshot| snapshot.in_flight == 1).await;
    let (sink, kept) = rig.drain().await;
    assert_eq!(sink.requests.lock().unwrap().len(), 1, "none began after the order");
    assert_eq!(kept.saved.lock().unwrap().last(), Some(&SinkCursor { seq: 11, paused: false }));
    assert_eq!(*kept.settled.lock().unwrap(), (1..=10).collect::<Vec<u64>>(), "the feed knows before the cursor is behind them");
}

#[tokio::test(start_paused = true)]
async fn lost_events_are_told() {
    struct Lossy(bool);
    impl Feed for Lossy {
        fn take(&mut self, _: BatchLimits, _: Micros) -> Result<Taken, super::super::feed::FeedError> {
            let lost =
                if std::mem::replace(&mut self.0, true) { vec![] } else { vec![Gap { first_seq: 1, events: 41, why: Missing::Removed }] };
            Ok(Taken { cursor: 42, lost, ..Taken::default() })
        }
        fn settled(&mut self, _: &[Item]) {}
        fn seek(&mut self, _: u64) {}
    }
    let rig = rig(policy(), 1, |_, _| at_once(Answer::Delivered));
    let (commands, orders) = mpsc::channel(8);
    let (snapshot_sender, mut snapshot) = watch::channel(SinkSnapshot::default());
    let ports = DeliveryPorts {
        sink: rig.sink.clone(),
        feed: Box::new(Lossy(false)),
        keeper: rig.kept.clone(),
        commands: orders,
        durable: rig.durable.subscribe(),
        snapshot: snapshot_sender,
        random: Box::new(|| 0.5),
    };
    tokio::spawn(Delivery::new("test", "scripted", policy(), SinkCursor { seq: 1, paused: false }, ports).run());
    snapshot.wait_for(|snapshot| snapshot.lost == 41 && snapshot.cursor == 42).await.expect("told");
    assert_eq!(*rig.kept.lost.lock().unwrap(), 41);
    rig.kept.letters_lost.store(3, std::sync::atomic::Ordering::Relaxed);
    snapshot.wait_for(|snapshot| snapshot.lost == 44).await.expect("dead letters that are gone are counted");
    drop(commands);
    rig.drain().await;
}
