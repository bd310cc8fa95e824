//! A throwaway machine for container runtimes.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::process::id;
use std::time::Duration;

use plumb_tests::{Binaries, Host, Process, Ran, Value};

use crate::plugins;

/// The first process of a machine.
const INIT: &str = include_str!("machine.sh");

/// A host with process ids, control groups and CNI directories of its own. Everything on it ends when it is dropped.
#[derive(Debug)]
pub struct Machine {
    host: Host,
    cgroup: String,
    /// The machine's first process, as the host numbers it.
    pid: String,
    init: Option<Process>,
}

impl Deref for Machine {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Machine {
    /// Boots a machine with our plugins in `/opt/cni/bin`, under their own names and those of the Go plugins.
    ///
    /// Panics where that needs more than the caller may: container runtimes want real root.
    #[track_caller]
    pub fn boot() -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "container runtimes need root: make test-clients"
        );
        let host = Host::new();
        mount_hierarchies(&host);
        // So that the machine sees the namespaces of containers that are made later.
        host.sh("mount --make-shared /run");
        // A tmpfs hides what the machine this runs on has there.
        host.sh("mkdir -p /etc/cni && mount -t tmpfs tmpfs /etc/cni && mkdir /etc/cni/net.d");
        plugins::install_ours(&host);
        let cgroup = format!("plumb-clients-{}-{}", id(), thread_id());
        let unshare = "unshare --pid --fork --kill-child --mount --propagation slave".split(' ');
        let init = host.spawn(unshare.chain(["sh", "-c", INIT, "sh", &cgroup]));
        init.until_output_has("machine ", Duration::from_mins(1));
        let output = init.output();
        let pid = output
            .lines()
            .find_map(|line| line.strip_prefix("machine "))
            .unwrap()
            .to_owned();
        Self {
            host,
            cgroup,
            pid,
            init: Some(init),
        }
    }

    /// Puts the plugin `name` of these into `/opt/cni/bin`, in the place of what has that name.
    #[track_caller]
    pub fn install(&self, binaries: &Binaries, name: &str) {
        plugins::install(&self.host, binaries, name);
    }

    /// Writes a network configuration into `/etc/cni/net.d`.
    #[track_caller]
    pub fn network(&self, file: &str, list: &Value) {
        let path = Path::new("/etc/cni/net.d").join(file);
        fs::write(path, list.to_string()).unwrap();
    }

    fn enter<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Vec<OsString> {
        let mut entering: Vec<OsString> = ["nsenter", "--pid", "--mount", "--cgroup", "--target"]
            .map(OsString::from)
            .to_vec();
        entering.push(self.pid.clone().into());
        entering.push("--".into());
        entering.extend(argv.into_iter().map(|word| word.as_ref().to_owned()));
        entering
    }

    /// Runs a program on the machine, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn exec<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> String {
        self.host.exec(self.enter(argv))
    }

    /// Runs a program on the machine to its end, whatever that is.
    #[track_caller]
    pub fn try_exec<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Ran {
        self.host.try_exec(self.enter(argv))
    }

    /// Runs a line of shell on the machine, which must succeed.
    #[track_caller]
    pub fn sh(&self, line: &str) -> String {
        self.exec(["sh", "-ec", line])
    }

    /// Runs a line of our `pipework` on the machine, with these variables (`NAME=VALUE …`); it must succeed.
    #[track_caller]
    pub fn pipework(&self, variables: &str, line: &str) -> String {
        let built = std::env::var("PLUGIN_DIR").expect("make test-clients sets it");
        self.sh(&format!("{variables} \"{built}/pipework\" {line}"))
    }

    /// Starts a program on the machine.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Process {
        self.host.spawn(self.enter(argv))
    }

    /// A directory of this machine for a runtime to keep things in.
    #[track_caller]
    pub fn directory(&self, name: &str) -> String {
        let path = format!("/run/testbed/{name}");
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its first process all of a pid namespace is killed; groups can go when nothing is in them.
        drop(self.init.take());
        let remove = format!(
            "for n in $(seq 100); do find /run/testbed/cgroup/*/{} -depth -type d -exec rmdir {{}} + 2> /run/testbed/rmdir || \
             [ ! -s /run/testbed/rmdir ] && break; sleep 0.05; done",
            self.cgroup
        );
        self.host.try_exec(["sh", "-c", &remove]);
    }
}

/// Mounts each control group hierarchy of the machine this runs on again, below `/run/testbed/cgroup`, by the name of its
/// controllers, `systemd`, or `unified`.
#[track_caller]
fn mount_hierarchies(host: &Host) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for line in mounts.lines() {
        // proc_pid_mountinfo(5): after a hyphen the kind of file system, its source, and its options.
        let Some((_, filesystem)) = line.split_once(" - ") else {
            continue;
        };
        let words: Vec<_> = filesystem.split(' ').collect();
        let [kind, _, options] = words.as_slice() else {
            continue;
        };
        let named = options
            .split(',')
            .find_map(|option| option.strip_prefix("name="));
        let controllers = options
            .split(',')
            .find(|option| !["rw", "ro"].contains(option));
        let (name, options) = match (*kind, named, controllers) {
            ("cgroup2", _, _) => ("unified", "rw".to_owned()),
            ("cgroup", Some(name), _) => (name, format!("none,name={name}")),
            ("cgroup", None, Some(controller)) => (controller, controller.to_owned()),
            _ => continue,
        };
        let at = format!("/run/testbed/cgroup/{name}");
        if !Path::new(&at).exists() {
            host.sh(&format!(
                "mkdir -p {at} && mount -t {kind} -o {options} cgroup {at}"
            ));
        }
    }
}

fn thread_id() -> String {
    let id = format!("{:?}", std::thread::current().id());
    id.chars().filter(char::is_ascii_digit).collect()
}
