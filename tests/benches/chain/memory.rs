//! The peak memory of each program that a chain executes.
//!
//! Read from `VmHWM` in the moment a process ends, by tracing it: what wait4(2) reports is inherited from the parent.

use std::collections::BTreeMap;
use std::fs;

use nix::unistd::Pid;

use crate::chain::{Attachment, Chain};
use crate::trace::{self, Observer};

/// A program and the most memory that one process of it had resident, in kB.
#[derive(Clone, Debug)]
pub(crate) struct Peak {
    pub(crate) program: String,
    pub(crate) kilobytes: u64,
}

#[derive(Default)]
struct Peaks(BTreeMap<String, u64>);

/// Runs ADD and DEL of one container under a tracer, and returns the largest process of each program first.
pub(crate) fn of(chain: &Chain, attachment: Attachment) -> Vec<Peak> {
    let mut peaks = Peaks::default();
    trace::all(chain, attachment, &mut peaks);
    let mut peaks: Vec<_> = peaks
        .0
        .into_iter()
        .map(|(program, kilobytes)| Peak { program, kilobytes })
        .collect();
    peaks.sort_by_key(|peak| std::cmp::Reverse(peak.kilobytes));
    peaks
}

impl Observer for Peaks {
    fn ends(&mut self, pid: Pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak: Option<u64> = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|text| text.trim().split(' ').next())
            .and_then(|number| number.parse().ok());
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let program = program
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if let (Some(program), Some(peak)) = (program, peak) {
            let entry = self.0.entry(program).or_insert(0);
            *entry = peak.max(*entry);
        }
    }
}
