//! Chains on hosts of their own, taking turns.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use plumb_tests::{Host, at_once, until};

use crate::chain::Attachment;
use crate::contender::Contender;
use crate::memory::{self, Peak};
use crate::{functions, rules};

/// How long the kernel is given to take down the namespaces of containers that were measured. It does so in the background,
/// under the locks that an ADD needs.
const TEARDOWN: Duration = Duration::from_secs(1);

/// What was measured of one chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Time of each ADD, from before the first process until the last has ended.
    pub(crate) add: Vec<Duration>,
    /// Time of each DEL.
    pub(crate) del: Vec<Duration>,
    /// Processor time of all processes for ADD and DEL, those left in the background too.
    pub(crate) cpu: Duration,
    /// Containers that `cpu` is for.
    pub(crate) containers: usize,
    /// Time of all ADDs and of all DELs where many ran at once.
    pub(crate) rounds: [Duration; 2],
}

enum Job {
    Fill(usize),
    Preload(usize),
    One,
    AtOnce(usize),
    Memory,
    Order,
    Tidy,
}

enum Done {
    Filled,
    Tidied,
    Measured(Figures),
    Memory(Vec<Peak>),
}

/// One thread for each contender, which is on the contender's host.
pub(crate) struct Bench {
    workers: Vec<(Sender<Job>, Receiver<Done>)>,
}

impl Bench {
    pub(crate) fn start(contenders: Vec<Contender>) -> Self {
        // What a plugin leaves running becomes a child of this process, and its processor time is counted here.
        set_child_subreaper(true).expect("PR_SET_CHILD_SUBREAPER");
        let worker = |contender: Contender| {
            let (give, jobs) = mpsc::channel();
            let (done, take) = mpsc::channel();
            thread::spawn(move || work(&contender, &jobs, &done));
            (give, take)
        };
        Self {
            workers: contenders.into_iter().map(worker).collect(),
        }
    }

    /// Attaches containers to every chain's host until it has `level` of them.
    pub(crate) fn fill(&mut self, level: usize) {
        self.each(|| Job::Fill(level));
        // The namespaces that proved that every chain works.
        thread::sleep(TEARDOWN);
    }

    /// Gives every chain's host the rules of so many containers.
    pub(crate) fn preload(&mut self, level: usize) {
        self.each(|| Job::Preload(level));
        thread::sleep(TEARDOWN);
    }

    pub(crate) fn one_by_one(&mut self, samples: usize) -> Vec<Figures> {
        self.turns(samples, || Job::One)
    }

    pub(crate) fn at_once(&mut self, count: usize, rounds: usize) -> Vec<Figures> {
        self.turns(rounds, || Job::AtOnce(count))
    }

    pub(crate) fn memory(&mut self) -> Vec<Vec<Peak>> {
        let done = self.each(|| Job::Memory);
        done.into_iter()
            .map(|done| {
                if let Done::Memory(peaks) = done {
                    peaks
                } else {
                    Vec::new()
                }
            })
            .collect()
    }

    /// Writes down which functions the plugins execute.
    pub(crate) fn write_order(&mut self) {
        self.each(|| Job::Order);
    }

    fn turns(&mut self, turns: usize, job: impl Fn() -> Job) -> Vec<Figures> {
        let mut all = vec![Figures::default(); self.workers.len()];
        for _ in 0..turns {
            for (figures, done) in all.iter_mut().zip(self.each(&job)) {
                if let Done::Measured(more) = done {
                    figures.merge(more);
                }
            }
        }
        self.each(|| Job::Tidy);
        thread::sleep(TEARDOWN);
        all
    }

    fn each(&mut self, job: impl Fn() -> Job) -> Vec<Done> {
        let turn = |(give, take): &(Sender<Job>, Receiver<Done>)| {
            give.send(job()).expect("the chain's thread is alive");
            let done = take
                .recv()
                .expect("the chain's thread is alive: see its message above");
            let _ = processor_time_until_quiet();
            done
        };
        self.workers.iter().map(turn).collect()
    }
}

impl Figures {
    fn merge(&mut self, more: Self) {
        self.add.extend(more.add);
        self.del.extend(more.del);
        self.cpu += more.cpu;
        self.containers += more.containers;
        self.rounds[0] += more.rounds[0];
        self.rounds[1] += more.rounds[1];
    }
}

fn work(chain: &Contender, jobs: &Receiver<Job>, done: &Sender<Done>) {
    let host = Host::new();
    chain.prepare(&host);
    let mut attached = 0;
    let mut measured = Vec::new();
    for job in jobs {
        let answer = match job {
            Job::Fill(level) => {
                while attached < level {
                    let mut attachment = container(&host, attached);
                    chain.add(&mut attachment);
                    attached += 1;
                }
                works(&host, chain, attached);
                Done::Filled
            }
            Job::Preload(level) => {
                if let Some(chain) = chain.chain() {
                    rules::preload(&host, chain, attached..level);
                }
                attached = level;
                works(&host, chain, attached);
                Done::Filled
            }
            Job::One => {
                let attachment = container(&host, attached + measured.len());
                let figures = one(chain, attachment.clone());
                measured.push(attachment.id);
                Done::Measured(figures)
            }
            Job::AtOnce(count) => {
                let waiting = (0..count).map(|index| attached + measured.len() + index);
                let waiting: Vec<_> = waiting.map(|number| container(&host, number)).collect();
                measured.extend(waiting.iter().map(|attachment| attachment.id.clone()));
                Done::Measured(at_once_all(chain, &waiting))
            }
            Job::Memory => {
                let attachment = container(&host, attached);
                measured.push(attachment.id.clone());
                let peaks = chain.chain().map(|chain| memory::of(chain, attachment));
                Done::Memory(peaks.unwrap_or_default())
            }
            Job::Order => {
                let attachment = container(&host, attached);
                measured.push(attachment.id.clone());
                let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cni-common/first");
                if let Some(chain) = chain.chain() {
                    functions::write_order(chain, attachment, &lists);
                }
                Done::Filled
            }
            Job::Tidy => {
                for id in measured.drain(..) {
                    host.exec(["ip", "netns", "delete", &id]);
                }
                Done::Tidied
            }
        };
        done.send(answer).expect("the main thread is alive");
    }
}

/// Makes sure that what is measured does its work: a way out after ADD, nothing left after DEL.
fn works(host: &Host, chain: &Contender, number: usize) {
    let container = host.container("proof");
    let mut attachment = Attachment {
        id: "proof".into(),
        netns: container.netns().to_owned(),
        number,
        result: None,
    };
    chain.add(&mut attachment);
    assert!(
        container.ping("10.64.0.1"),
        "{}: no answer from the gateway",
        chain.name()
    );
    chain.del(&attachment);
    assert!(
        container.link("eth0").is_none(),
        "{}: DEL left the interface",
        chain.name()
    );
    container.vanish();
}

fn container(host: &Host, number: usize) -> Attachment {
    let id = format!("c{number}");
    let netns = host.container(&id).netns().to_owned();
    Attachment {
        id,
        netns,
        number,
        result: None,
    }
}

fn one(chain: &Contender, mut attachment: Attachment) -> Figures {
    let before = processor_time_until_quiet();
    let begun = Instant::now();
    chain.add(&mut attachment);
    let add = begun.elapsed();
    processor_time_until_quiet();
    let begun = Instant::now();
    chain.del(&attachment);
    let del = begun.elapsed();
    let cpu = processor_time_until_quiet().saturating_sub(before);
    Figures {
        add: vec![add],
        del: vec![del],
        cpu,
        containers: 1,
        rounds: [add, del],
    }
}

fn at_once_all(chain: &Contender, waiting: &[Attachment]) -> Figures {
    let count = waiting.len();
    let before = processor_time_until_quiet();
    let begun = Instant::now();
    let added = at_once(count, |index| {
        let mut attachment = waiting[index].clone();
        let begun = Instant::now();
        chain.add(&mut attachment);
        (begun.elapsed(), attachment)
    });
    let all_added = begun.elapsed();
    processor_time_until_quiet();
    let begun = Instant::now();
    let deleted = at_once(count, |index| {
        let begun = Instant::now();
        chain.del(&added[index].1);
        begun.elapsed()
    });
    let all_deleted = begun.elapsed();
    let cpu = processor_time_until_quiet().saturating_sub(before);
    let add = added.into_iter().map(|(time, _)| time).collect();
    Figures {
        add,
        del: deleted,
        cpu,
        containers: count,
        rounds: [all_added, all_deleted],
    }
}

/// Waits until no child is left, then returns the processor time of all children and of this process so far: the floor's work is
/// done by its threads, and what they do for a chain is next to nothing.
fn processor_time_until_quiet() -> Duration {
    let quiet = until(Duration::from_secs(30), || {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => return false,
                Ok(_) => {}
                Err(Errno::ECHILD) => return true,
                Err(errno) => panic!("wait for what plugins left: {errno}"),
            }
        }
    });
    assert!(quiet, "a plugin left a process that does not end");
    let time = |value: nix::sys::time::TimeVal| {
        Duration::new(value.tv_sec() as u64, value.tv_usec() as u32 * 1000)
    };
    let of = |who| {
        let usage = getrusage(who).expect("getrusage");
        time(usage.user_time()) + time(usage.system_time())
    };
    of(UsageWho::RUSAGE_CHILDREN) + of(UsageWho::RUSAGE_SELF)
}
