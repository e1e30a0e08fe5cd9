//! The engine: replays corpora, mutates what showed something new, reports what panics or does not end.

use std::any::Any;
use std::collections::HashSet;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use thiserror::Error;

use crate::corpus::{self, CorpusError};
use crate::mutate::{Parts, Random, mutate};
use crate::{Target, features};

/// The longest that an input may take: a thousand times the usual.
const MAX_RUN: Duration = Duration::from_secs(20);

/// Inputs that are kept in memory at most; a further one replaces one of them.
const MAX_KEPT: usize = 2000;

/// What to run, and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// The time of all targets together.
    pub time: Duration,
    /// Where the mutator starts.
    pub seed: u64,
    /// Where the corpora are.
    pub corpus: PathBuf,
}

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum Failure {
    /// An input makes a target panic.
    #[error(
        "target {target}: {message}\ninput, to be kept in corpus/{target}/NAME.hex:\n{}",
        corpus::format(input)
    )]
    Panic {
        /// The target's name.
        target: &'static str,
        /// The panic's message.
        message: String,
        /// The input.
        input: Vec<u8>,
    },
    /// A corpus cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The report cannot be written.
    #[error("the report cannot be written")]
    Report(#[from] io::Error),
}

/// Runs `targets` one after the other, each for its share of the time, and writes a line of each to `report`.
///
/// # Errors
/// When an input makes a target panic, or a corpus cannot be read. An input that runs for longer than 20 seconds
/// ends the process with status 1.
pub fn run(targets: &[Target], options: &Options, report: &mut impl Write) -> Result<(), Failure> {
    let share = options.time / u32::try_from(targets.len().max(1)).unwrap_or(u32::MAX);
    let current = Arc::new(Mutex::new(None));
    let (end, ended) = mpsc::channel::<()>();
    let watched = Arc::clone(&current);
    let watch = thread::spawn(move || watch(&watched, &ended));
    let result = targets.iter().try_for_each(|target| {
        let mut run = Run::new(target, options.seed, &current);
        let found = run.go(options, share);
        let (executions, kept) = (run.executions, run.kept.len());
        writeln!(
            report,
            "{:<12} {executions:>9} inputs, {kept:>5} kept",
            target.name
        )?;
        report.flush()?;
        found
    });
    drop(end);
    // The watch ends when its channel does; it has nothing to say.
    let _ = watch.join();
    result
}

/// Runs one input.
///
/// # Errors
/// When it makes the target panic.
pub fn try_one(target: &Target, input: &[u8]) -> Result<(), Failure> {
    panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|payload| {
        Failure::Panic {
            target: target.name,
            message: message(&*payload),
            input: input.to_vec(),
        }
    })
}

/// Runs one input for another engine, which takes a panic for a finding.
///
/// # Panics
/// When the target does, or takes longer than `limit` of this thread's time on a processor: what else the host does
/// meanwhile does not count.
pub fn run_within(target: &Target, input: &[u8], limit: Duration) {
    let before = processor_time();
    (target.run)(input);
    let taken = processor_time().saturating_sub(before);
    assert!(taken <= limit, "an input takes {taken:?} of the processor");
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().unwrap_or_default()
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

/// The input that runs now, and since when.
type Current = Mutex<Option<(&'static str, Instant, Vec<u8>)>>;

struct Run<'a> {
    target: &'a Target,
    random: Random,
    current: &'a Current,
    words: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
    seen: HashSet<u64>,
    executions: u64,
}

impl<'a> Run<'a> {
    fn new(target: &'a Target, seed: u64, current: &'a Current) -> Self {
        Self {
            target,
            random: Random(seed),
            current,
            words: (target.dictionary)(),
            kept: Vec::new(),
            seen: HashSet::new(),
            executions: 0,
        }
    }

    fn go(&mut self, options: &Options, share: Duration) -> Result<(), Failure> {
        let end = Instant::now() + share;
        for (_, input) in corpus::read(&options.corpus, self.target)? {
            self.one(input)?;
        }
        self.one(Vec::new())?;
        for seed in (self.target.seeds)() {
            self.one(seed)?;
        }
        while Instant::now() < end {
            let nothing = Vec::new();
            let (random, kept) = (&mut self.random, &self.kept);
            let input = random.pick(kept).unwrap_or(&nothing);
            let other = random.pick(kept).unwrap_or(&nothing);
            let parts = Parts {
                other,
                words: &self.words,
            };
            let mutated = mutate(random, input, parts);
            self.one(mutated)?;
        }
        Ok(())
    }

    fn one(&mut self, input: Vec<u8>) -> Result<(), Failure> {
        let lock = || self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *lock() = Some((self.target.name, Instant::now(), input.clone()));
        features::take();
        let result = try_one(self.target, &input);
        *lock() = None;
        self.executions += 1;
        let noted = features::take();
        let before = self.seen.len();
        self.seen.extend(noted);
        if self.seen.len() > before || self.kept.is_empty() {
            self.keep(input);
        }
        result
    }

    fn keep(&mut self, input: Vec<u8>) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(input);
            return;
        }
        let at = self.random.below(MAX_KEPT);
        if let Some(place) = self.kept.get_mut(at) {
            *place = input;
        }
    }
}

/// Ends the process when an input does not end. Nothing milder is possible: a thread cannot be stopped.
fn watch(current: &Current, ended: &Receiver<()>) {
    while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let current = current.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((target, since, input)) = &*current else {
            continue;
        };
        if since.elapsed() > MAX_RUN {
            let input = corpus::format(input);
            // Where standard error is closed, the status alone has to do.
            let _ = writeln!(
                io::stderr(),
                "target {target}: an input does not end:\n{input}"
            );
            std::process::exit(1);
        }
    }
}
