//! What strace recorded: the system calls of each process, in the order in which they began.

use std::collections::{BTreeMap, BTreeSet};

/// One system call, as strace's `inject` counts them: by name, in each process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SystemCall {
    /// 0 is the program, 1 the first process it forked, and so on.
    pub(super) process: usize,
    pub(super) name: String,
    /// From 1.
    pub(super) occurrence: usize,
}

/// Reads what `strace -f -o FILE` wrote. The call by which the program itself was executed does not count, nor does one that
/// the kernel begins again: it does so for as long as somebody else has a lock (`restart_syscall` in rtnetlink and sysctl).
pub(super) fn read(text: &str) -> Vec<SystemCall> {
    let mut processes: Vec<&str> = Vec::new();
    let mut counts: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let begins_again = line.contains("(To be restarted");
        if let Some((pid, name)) = resumed(line).filter(|_| begins_again) {
            let process = processes.iter().position(|known| *known == pid);
            let is_it = |call: &SystemCall| Some(call.process) == process && call.name == name;
            if let Some(place) = calls.iter().rposition(is_it) {
                let call = calls.remove(place);
                counts.insert((call.process, name), call.occurrence - 1);
            }
        }
        let Some((pid, name)) = began(line).filter(|_| !begins_again) else {
            continue;
        };
        let known = processes.iter().position(|known| *known == pid);
        let process = known.unwrap_or_else(|| {
            processes.push(pid);
            processes.len() - 1
        });
        if number == 0 && name == "execve" {
            continue;
        }
        let occurrence = counts.entry((process, name)).or_default();
        *occurrence += 1;
        calls.push(SystemCall {
            process,
            name: name.to_owned(),
            occurrence: *occurrence,
        });
    }
    calls
}

/// The process and the call of a line with which a call begins: not `<... resumed>`, a signal, or an end.
fn began(line: &str) -> Option<(&str, &str)> {
    let (pid, rest) = line.split_once(' ')?;
    let (name, _) = rest.trim_start().split_once('(')?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && !name.is_empty()).then_some((pid, name))
}

/// The process and the call of a line with which a call ends that was not told in one line.
fn resumed(line: &str) -> Option<(&str, &str)> {
    let (pid, rest) = line.split_once(' ')?;
    let (name, _) = rest
        .trim_start()
        .strip_prefix("<... ")?
        .split_once(" resumed>")?;
    Some((pid, name))
}

/// Without the later rounds of loops that sleep: they wait for the kernel, the longer the busier the machine is, and
/// change nothing.
pub(super) fn without_waiting(mut calls: Vec<SystemCall>) -> Vec<SystemCall> {
    let mut names: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    calls.retain(|call| {
        let names = names.entry(call.process).or_default();
        names.push(call.name.clone());
        !(1..=12).any(|round| is_waiting(names, round))
    });
    calls
}

/// Whether the last calls are the third equal round of so many, with a sleep in it.
fn is_waiting(names: &[String], round: usize) -> bool {
    let Some(start) = names.len().checked_sub(3 * round) else {
        return false;
    };
    let mut rounds = names[start..].chunks(round);
    let first = rounds.next().unwrap_or_default();
    first.iter().any(|name| name.ends_with("nanosleep")) && rounds.all(|other| other == first)
}

/// The calls that are in every record, in the order of the first.
pub(super) fn in_all(records: &[Vec<SystemCall>]) -> Vec<SystemCall> {
    let Some((first, others)) = records.split_first() else {
        return Vec::new();
    };
    let calls = first.iter();
    let in_all = calls.filter(|call| others.iter().all(|record| record.contains(call)));
    in_all.cloned().collect()
}

/// The calls that an injection hits first: it is for the Nth call of a name in every process, so one of a forked
/// process is out of reach when its parent made as many before.
pub(super) fn reachable(calls: Vec<SystemCall>) -> Vec<SystemCall> {
    let mut taken = BTreeSet::new();
    let first = |call: &SystemCall| taken.insert((call.name.clone(), call.occurrence));
    calls.into_iter().filter(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
7 execve(\"/p\", [\"/p\"], 0x7 /* 1 vars */) = 0
7 open(\"/a\", O_RDONLY) = 3
7 fork() = 8
7 open(\"/b\", O_RDONLY <unfinished ...>
8 setsid() = 8
7 <... open resumed>) = 4
8 open(\"/c\", O_RDONLY) = 3
8 --- SIGCHLD {si_signo=SIGCHLD} ---
8 +++ exited with 0 +++
7 open(\"/d\", O_RDONLY) = 5
";

    fn brief(calls: &[SystemCall]) -> Vec<String> {
        let one = |call: &SystemCall| format!("{}{}{}", call.process, call.name, call.occurrence);
        calls.iter().map(one).collect()
    }

    #[test]
    fn waiting_counts_twice() {
        let round = "7 wait4(8) = 0\n7 clock_nanosleep(1) = 0\n";
        let text = format!("{TEXT}{}7 exit_group(0)\n", round.repeat(9));
        let calls = brief(&without_waiting(read(&text)));
        let end = [
            "0wait41",
            "0clock_nanosleep1",
            "0wait42",
            "0clock_nanosleep2",
            "0wait43",
            "0exit_group1",
        ];
        assert_eq!(calls[6..], end);
        let text = "7 open(a) = 3\n7 read(3) = 1\n".repeat(9);
        assert_eq!(without_waiting(read(&text)).len(), 18);
    }

    #[test]
    fn what_is_not_always_done_does_not_count() {
        let long = read(TEXT);
        let mut short = long.clone();
        short.remove(2);
        short.pop();
        let always = in_all(&[long, short.clone()]);
        assert_eq!(always, short);
        assert!(in_all(&[]).is_empty());
    }

    #[test]
    fn a_call_that_the_kernel_begins_again_is_one_call() {
        let text = "\
7 execve(\"/p\", [\"/p\"], 0x7 /* 1 vars */) = 0
7 write(4, \"0\", 1) = ? ERESTARTNOINTR (To be restarted)
7 write(4, \"0\", 1 <unfinished ...>
8 close(4) = 0
7 <... write resumed>) = ? ERESTARTNOINTR (To be restarted)
7 write(4, \"0\", 1 <unfinished ...>
8 close(5) = 0
7 <... write resumed>) = 1
7 write(4, \"1\", 1) = 1
";
        let expected = ["1close1", "0write1", "1close2", "0write2"];
        assert_eq!(brief(&read(text)), expected);
    }

    #[test]
    fn calls_are_counted_by_name_in_each_process() {
        let calls = read(TEXT);
        let expected = ["0open1", "0fork1", "0open2", "1setsid1", "1open1", "0open3"];
        assert_eq!(brief(&calls), expected);
        let reachable = reachable(calls);
        assert_eq!(
            brief(&reachable),
            ["0open1", "0fork1", "0open2", "1setsid1", "0open3"]
        );
    }
}
