//! A place for labs of one test: its own folders, its own copy of the program, a user to run it as.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use plumb_tests::until;
use serde_json::Value;

/// Whom the program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Who runs the tests.
    Caller,
    /// Somebody without any right, when root runs the tests.
    Nobody,
}

/// Both kinds of user, as far as the tests may change theirs.
pub(crate) fn users() -> Vec<User> {
    if is_root() {
        vec![User::Caller, User::Nobody]
    } else {
        vec![User::Caller]
    }
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self")
        .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

const NOBODY: u32 = 65534;

/// The exit status of `timeout` that had to end what it ran.
const INTERRUPTED: i32 = 124;

/// Joins a node to nothing but the host, by a veth: `h-CONTAINER` at the host's end. Notes its calls; fails where a file
/// `fail-COMMAND-CONTAINER` lies beside it.
const CABLE: &str = r#"#!/bin/sh
here=$(dirname "$0")
echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME" >> "$here/calls"
cat > /dev/null
if [ -e "$here/fail-$CNI_COMMAND-$CNI_CONTAINERID" ]; then
  echo '{"cniVersion": "1.0.0", "code": 100, "msg": "told to fail"}'; exit 1
fi
host="h-$CNI_CONTAINERID"
case $CNI_COMMAND in
ADD)
  address=${CNI_ARGS##*IP=}; address=${address%%;*}
  ip link add "$host" type veth peer name "$CNI_IFNAME" netns "$CNI_NETNS" || exit 1
  ip link set "$host" up
  ip address add 10.9.0.254/32 dev "$host"
  ip route add "${address%/*}" dev "$host"
  nsenter --net="$CNI_NETNS" sh -ec "
    ip address add $address dev $CNI_IFNAME; ip link set $CNI_IFNAME up; ip route add 10.9.0.254 dev $CNI_IFNAME
    ip route add default via 10.9.0.254" || exit 1
  echo "{\"cniVersion\": \"1.0.0\", \"ips\": [{\"address\": \"$address\"}]}" ;;
DEL) ip link delete "$host" 2> /dev/null ;;
esac
exit 0
"#;

/// The topology of most tests: two nodes on one host, and a process.
pub(crate) const SMALL: &str = r#"
name = "small"
description = "two nodes on one host"
phases = ["first", "second"]

[nodes.host]
kind = "host"
sysctl = { "net.ipv4.ip_forward" = "1" }
[nodes.a]
[nodes.b]

[networks.wire]
conflist = "wire.conflist"

[[attachments]]
node = "a"
network = "wire"
interface = "eth0"
address = "10.9.0.1/32"
[[attachments]]
node = "b"
network = "wire"
interface = "eth0"
address = "10.9.0.2/32"

[[processes]]
node = "a"
command = ["sleep", "1000"]
ready = ["true"]

[[checks]]
title = "a reaches the host"
phase = "first"
probes = [{ node = "a", ping = "10.9.0.254" }]

[[checks]]
title = "a reaches b"
probes = [{ node = "a", ping = "10.9.0.2" }, { node = "a", ping = "10.9.0.3", answers = false }]
"#;

/// Folders for one test, taken away with whatever still runs in them.
pub(crate) struct Bench {
    folder: PathBuf,
    user: User,
}

/// Copies a program, by a process of its own: what this one writes may still be open in a process that another test is
/// starting, and cannot be executed as long.
pub(crate) fn install(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{}", from.display());
}

impl Bench {
    /// A bench with the small topology and the fake plugin.
    pub(crate) fn new(user: User) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("plumb-lab-{}-{count}", std::process::id()));
        let bench = Self { folder, user };
        for folder in ["labs", "plugins"] {
            fs::create_dir_all(bench.path(folder)).unwrap();
            if user == User::Nobody {
                chown(bench.path(folder), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        // The build's folder may be closed to others.
        install(
            Path::new(env!("CARGO_BIN_EXE_topology")),
            &bench.path("topology"),
        );
        bench.write("cable", CABLE);
        fs::set_permissions(bench.path("cable"), fs::Permissions::from_mode(0o755)).unwrap();
        install(&bench.path("cable"), &bench.path("plugins/cable"));
        bench.write(
            "wire.conflist",
            r#"{"cniVersion": "1.0.0", "name": "wire", "plugins": [{"type": "cable"}]}"#,
        );
        bench.write("small.toml", SMALL);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Has the fake plugin fail.
    pub(crate) fn fail(&self, command: &str, container: &str) {
        self.write(&format!("plugins/fail-{command}-{container}"), "");
    }

    /// What the fake plugin was called with.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("plugins/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The program with these arguments.
    pub(crate) fn topology(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&self.path("topology"));
        command.args(arguments);
        command
    }

    /// Any program, as the user of this bench and with its labs.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("PLUMB_LABS", self.path("labs"))
            .stdin(Stdio::null());
        command.current_dir(&self.folder);
        if self.user == User::Nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// `topology up small.toml`.
    pub(crate) fn up(&self) -> Command {
        let plugins = self.path("plugins");
        self.topology(&["up", "small.toml", "--plugins", plugins.to_str().unwrap()])
    }

    #[track_caller]
    pub(crate) fn succeeds(&self, arguments: &[&str]) -> String {
        succeeds(&mut self.topology(arguments))
    }

    /// Runs the commands of an example's page as they stand there, in the lab that is up. One that goes on until it is
    /// interrupted is, after a moment.
    #[track_caller]
    pub(crate) fn runs_the_page(&self, example: &str) {
        let commands = commands(example);
        assert!(!commands.is_empty(), "the page of {example} has none");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.folder.display());
        for line in commands {
            let mut command = self.command(Path::new("timeout"));
            let goes_on = line.contains("tcpdump");
            let limit = if goes_on { "2" } else { "60" };
            command.args([limit, "sh", "-c", &line]).env("PATH", &path);
            let output = command.output().unwrap();
            let status = output.status.code();
            assert!(
                status == Some(0) || goes_on && status == Some(INTERRUPTED),
                "{example}: {line}: {status:?}\n{}",
                printed(&output)
            );
        }
    }

    #[track_caller]
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        fails(&mut self.topology(arguments))
    }

    /// What `inspect --json` says.
    #[track_caller]
    pub(crate) fn inspect(&self) -> Value {
        serde_json::from_str(&self.succeeds(&["inspect", "--json"])).unwrap()
    }

    /// The holder of the only lab.
    #[track_caller]
    pub(crate) fn holder(&self, name: &str) -> u32 {
        let path = self.path("labs").join(name).join("holder");
        fs::read_to_string(path).unwrap().parse().unwrap()
    }

    /// Command lines of processes that belong to this bench: they name its folder.
    pub(crate) fn processes(&self) -> Vec<String> {
        let folder = self.folder.to_str().unwrap();
        let listed = fs::read_dir("/proc").unwrap().flatten();
        let lines =
            listed.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        let own = |line: &String| line.contains(&format!("{folder}/"));
        lines
            .filter(own)
            .map(|line| line.replace('\0', " "))
            .collect()
    }

    /// Nothing of a lab is left: no process, no folder. What is private goes with its last process.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        // A process that was killed is listed until its parent has seen it.
        eventually("processes are left", || self.processes().is_empty());
        let labs: Vec<_> = fs::read_dir(self.path("labs"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(labs.is_empty(), "folders are left: {labs:?}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for lab in fs::read_dir(self.path("labs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = lab.file_name().into_string().unwrap();
            let _down = self.topology(&["down", "--name", &name]).output();
        }
        let removed = fs::remove_dir_all(&self.folder);
        assert!(removed.is_ok() || thread::panicking(), "{removed:?}");
    }
}

/// The commands that an example's page gives for a lab that is up: what it says beside each, after two spaces, is left out.
fn commands(example: &str) -> Vec<String> {
    let page = repository("conf-examples").join(example).join("README.md");
    let page = fs::read_to_string(page).unwrap();
    let lines = page
        .lines()
        .map(|line| line.split("  ").next().unwrap().trim());
    let for_a_lab = |line: &&str| {
        ["exec", "inspect", "check", "graph"]
            .iter()
            .any(|verb| line.starts_with(&format!("topology {verb}")))
    };
    lines.filter(for_a_lab).map(str::to_owned).collect()
}

/// Runs to the end and gives what was printed.
#[track_caller]
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = printed(&output);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}",
        output.status
    );
    text
}

/// Runs to the end, which must be an error, and gives what was printed.
#[track_caller]
pub(crate) fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = printed(&output);
    assert!(!output.status.success(), "{command:?} succeeded:\n{text}");
    text
}

fn printed(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(both).unwrap()
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn eventually(what: &str, true_now: impl FnMut() -> bool) {
    assert!(until(Duration::from_secs(30), true_now), "{what}");
}

/// Sends a signal by name, to a process or, with a minus sign, to a group.
#[track_caller]
pub(crate) fn signal(name: &str, to: &str) {
    succeeds(Command::new("kill").args([&format!("-{name}"), "--", to]));
}

/// Whether a child has ended, and how.
#[track_caller]
pub(crate) fn end_of(mut child: Child) -> std::process::ExitStatus {
    let mut status = None;
    eventually("the process does not end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

/// A folder of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
        .canonicalize()
        .unwrap()
}
