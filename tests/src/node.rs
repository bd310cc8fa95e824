//! A network namespace to run things in and to read back: the host, or a container.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::concurrent::patience;
use crate::{Capture, Process, State, until};

/// A network namespace: the calling thread's, or the one at a path.
#[derive(Debug)]
pub struct Node {
    name: String,
    netns: Option<PathBuf>,
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Node {
    pub(crate) fn here(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            netns: None,
        }
    }

    pub(crate) fn inside(name: &str, netns: &Path) -> Self {
        Self {
            name: name.to_owned(),
            netns: Some(netns.to_owned()),
        }
    }

    /// The name it was made with; the host is called `host`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the host itself and no container.
    pub(crate) fn is_host(&self) -> bool {
        self.netns.is_none()
    }

    /// Loopback up and the settings that a fresh namespace may inherit from the machine put to their defaults.
    #[track_caller]
    pub(crate) fn boot(&self) {
        self.exec(["ip", "link", "set", "lo", "up"]);
        for (name, value) in [
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv6/conf/all/forwarding", "0"),
            ("net/bridge/bridge-nf-call-iptables", "1"),
            ("net/bridge/bridge-nf-call-ip6tables", "1"),
            ("net/bridge/bridge-nf-call-arptables", "1"),
        ] {
            if self.sysctl(name).is_some() {
                self.set_sysctl(name, value);
            }
        }
    }

    /// Calls `act` in a thread that is in this namespace; sockets opened there stay in it.
    #[track_caller]
    pub fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let Some(netns) = self.open_netns() else {
            return act();
        };
        let ran = thread::scope(|scope| {
            let inside = || {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the testbed's own place for it: the thread ends here"
                )]
                setns(&netns, CloneFlags::CLONE_NEWNET).map(|()| act())
            };
            scope.spawn(inside).join()
        });
        match ran {
            Ok(Ok(value)) => value,
            Ok(Err(errno)) => panic!("enter the namespace of {}: {errno}", self.name),
            Err(panicked) => std::panic::resume_unwind(panicked),
        }
    }

    #[track_caller]
    pub(crate) fn open_netns(&self) -> Option<File> {
        let open = |path: &PathBuf| {
            File::open(path).unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
        };
        self.netns.as_ref().map(open)
    }

    /// Runs a program to its end and returns what it printed; it must succeed.
    #[track_caller]
    pub fn exec<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> String {
        self.feed(argv, "")
    }

    /// Like [`exec`](Self::exec), with text on standard input.
    #[track_caller]
    pub fn feed<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>, stdin: &str) -> String {
        let argv = words(argv);
        let ran = self.ran(&argv, stdin);
        assert!(
            ran.status.success(),
            "on {}: {argv:?}: {}\n{}{}",
            self.name,
            ran.status,
            ran.stdout,
            ran.stderr
        );
        ran.stdout
    }

    /// Runs a line of shell, which must succeed.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        self.exec(["sh", "-ec", line])
    }

    /// Runs a program to its end, whatever that is.
    #[track_caller]
    pub fn try_exec<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Ran {
        self.ran(&words(argv), "")
    }

    /// Starts a program that is killed when the returned value is dropped.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Process {
        Process::start(self, &words(argv))
    }

    /// Starts `tcpdump -i LINK FILTER` and returns once it listens.
    #[track_caller]
    pub fn capture(&self, link: &str, filter: &str) -> Capture {
        Capture::start(self, link, filter)
    }

    /// Whether one ICMP echo to `address` is answered within a second, or with `PATIENCE` that many.
    #[track_caller]
    pub fn ping(&self, address: &str) -> bool {
        let seconds = patience().to_string();
        let ran = self.try_exec(["ping", "-n", "-q", "-c", "1", "-W", &seconds, address]);
        // ping(8): 1 = no answer, 2 = any other error, "network unreachable" among them.
        match ran.status.code() {
            Some(0) => true,
            Some(1 | 2) => false,
            _ => panic!(
                "on {}: ping {address}: {}\n{}",
                self.name, ran.status, ran.stderr
            ),
        }
    }

    /// Whether `address` answers before long: on a busy machine one echo may be lost or late.
    #[track_caller]
    pub fn reaches(&self, address: &str) -> bool {
        until(Duration::from_secs(10), || self.ping(address))
    }

    /// One link as `ip -j -d link` has it, or nothing where there is none of that name.
    #[track_caller]
    pub fn link(&self, name: &str) -> Option<Value> {
        let ran = self.try_exec(["ip", "-j", "-d", "link", "show", "dev", name]);
        // The second where it went between two questions of `ip`.
        let absent = ["does not exist", "No such device"];
        if absent.iter().any(|words| ran.stderr.contains(words)) {
            return None;
        }
        assert!(
            ran.status.success(),
            "on {}: ip link show dev {name}: {}",
            self.name,
            ran.stderr
        );
        parsed(&ran.stdout).into_iter().next()
    }

    /// All links as `ip -j -d link` has them.
    #[track_caller]
    pub fn links(&self) -> Vec<Value> {
        parsed(&self.exec(["ip", "-j", "-d", "link"]))
    }

    /// The addresses of a link in `ADDRESS/PREFIX` form, in the kernel's order, link-local ones too.
    #[track_caller]
    pub fn addrs(&self, link: &str) -> Vec<String> {
        let address = |info: &Value| {
            let local = info["local"].as_str().unwrap_or_default();
            format!("{local}/{}", info["prefixlen"])
        };
        self.addr_info(link).iter().map(address).collect()
    }

    /// The `addr_info` list of a link, as `ip -j addr` has it.
    #[track_caller]
    pub fn addr_info(&self, link: &str) -> Vec<Value> {
        let links = parsed(&self.exec(["ip", "-j", "addr", "show", "dev", link]));
        let infos = links.iter().filter_map(|link| link["addr_info"].as_array());
        infos
            .flatten()
            .filter(|info| info["local"].is_string())
            .cloned()
            .collect()
    }

    /// The routes of the main table, IPv4 then IPv6, one line each as `ip route` prints them.
    #[track_caller]
    pub fn routes(&self) -> Vec<String> {
        let text = self.exec(["ip", "-4", "route"]) + &self.exec(["ip", "-6", "route"]);
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    /// The routes of all tables and both families, as `ip -j -d route show table all` has them.
    #[track_caller]
    pub fn routes_json(&self) -> Vec<Value> {
        let mut routes =
            parsed(&self.exec(["ip", "-j", "-d", "-4", "route", "show", "table", "all"]));
        routes.extend(parsed(
            &self.exec(["ip", "-j", "-d", "-6", "route", "show", "table", "all"]),
        ));
        routes
    }

    /// What `nft list ruleset` prints.
    #[track_caller]
    pub fn ruleset(&self) -> String {
        self.exec(["nft", "list", "ruleset"])
    }

    /// The objects of `nft -j list ruleset`.
    #[track_caller]
    pub fn ruleset_json(&self) -> Vec<Value> {
        let text = self.exec(["nft", "-j", "list", "ruleset"]);
        let document: Value = serde_json::from_str(&text).unwrap();
        document["nftables"].as_array().cloned().unwrap_or_default()
    }

    /// A kernel setting below `/proc/sys` (`net/ipv4/ip_forward`), or nothing where the kernel has none of that name.
    #[track_caller]
    pub fn sysctl(&self, name: &str) -> Option<String> {
        let path = Path::new("/proc/sys").join(name);
        self.run(|| fs::read_to_string(path))
            .ok()
            .map(|text| text.trim_end().to_owned())
    }

    /// Writes a kernel setting below `/proc/sys`.
    #[track_caller]
    pub fn set_sysctl(&self, name: &str, value: &str) {
        let path = Path::new("/proc/sys").join(name);
        let wrote = self.run(|| fs::write(path, value));
        wrote.unwrap_or_else(|error| panic!("on {}: write {value} to {name}: {error}", self.name));
    }

    /// Everything the suite may change here, in a form to compare before and after.
    #[track_caller]
    pub fn state(&self) -> State {
        State::of(self)
    }

    /// Panics with the differences unless everything is as it was in `before`, or is so once the kernel is done: that a
    /// link has no carrier any more, or that an element of a set has expired, it says in its own time. Links, files and
    /// settings are looked at once.
    #[track_caller]
    pub fn assert_unchanged_since(&self, before: &State) {
        let mut differences = Vec::new();
        until(Duration::from_secs(3), || {
            let now = self.state();
            differences = before.differences(&now);
            differences.is_empty() || !before.lasting_differences(&now).is_empty()
        });
        assert!(
            differences.is_empty(),
            "{} is not as it was before:\n{}",
            self.name,
            differences.join("\n")
        );
    }

    #[track_caller]
    fn ran(&self, argv: &[OsString], stdin: &str) -> Ran {
        let (program, arguments) = argv.split_first().expect("a program to run");
        let run = || {
            let mut command = tool(program);
            command
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            let mut child = command.spawn()?;
            if let Some(mut pipe) = child.stdin.take() {
                // A program that does not read its input has the right to end before we are done writing.
                pipe.write_all(stdin.as_bytes()).unwrap_or_default();
            }
            child.wait_with_output()
        };
        let output = self
            .run(run)
            .unwrap_or_else(|error| panic!("on {}: run {argv:?}: {error}", self.name));
        Ran {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A program of the machine: `bridge`, `nft` and others are in /usr/sbin, which is not in every user's PATH.
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    let mut command = Command::new(program);
    command.env("PATH", path);
    command
}

pub(crate) fn words<S: AsRef<OsStr>>(argv: impl IntoIterator<Item = S>) -> Vec<OsString> {
    argv.into_iter()
        .map(|word| word.as_ref().to_owned())
        .collect()
}

/// The list that `ip -j` prints; it prints nothing at all for an empty one.
#[track_caller]
fn parsed(text: &str) -> Vec<Value> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not a JSON list: {error}\n{text}"))
}
