//! A host with `pipework` on it.

use std::ffi::OsString;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use plumb_tests::{Host, Process, Ran, Value, our_binaries};

/// How long anything may take on a machine that has other things to do.
pub(crate) const SOON: std::time::Duration = std::time::Duration::from_secs(20);

/// Stands for a container runtime's command: prints the file that is named for it and its last word, else complains
/// that it knows no such container.
const RUNTIME: &str = r#"#!/bin/sh
for last; do :; done
answer=/run/answers/${0##*/},$(echo "$last" | tr / ,)
[ ! -e "$answer.once" ] || { mv "$answer.once" "$answer.was"; exec cat "$answer.was"; }
[ ! -e "$answer" ] || exec cat "$answer"
echo "Error: No such object: $last" >&2
exit 1
"#;

/// Where ctr looks for its daemon.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

pub(crate) struct World {
    host: Host,
    containerd: UnixListener,
}

impl Deref for World {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let host = Host::new();
        for folder in ["/run/plugins", "/run/runtimes", "/run/answers"] {
            fs::create_dir(folder).unwrap();
        }
        for plugin in ["bridge-attach", "vlan", "static-ipam", "dhcp-ipam"] {
            symlink(
                our_binaries().find(plugin),
                Path::new("/run/plugins").join(plugin),
            )
            .unwrap();
        }
        // Also those that a test does not use: the machine's own must not be asked.
        for runtime in ["docker", "podman", "nerdctl", "ctr", "crictl", "lxc-info"] {
            let path = Path::new("/run/runtimes").join(runtime);
            // Written by another process: what this one writes cannot be executed while another thread forks.
            host.feed(["tee", path.to_str().unwrap()], RUNTIME);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        // ctr is asked where its daemon listens.
        fs::create_dir("/run/containerd").unwrap();
        let containerd = UnixListener::bind(CONTAINERD).unwrap();
        Self { host, containerd }
    }

    /// Ends the daemon of containerd.
    pub(crate) fn without_containerd(&mut self) {
        fs::remove_file(CONTAINERD).unwrap();
        self.containerd = UnixListener::bind("/run/containerd/elsewhere").unwrap();
    }

    /// Has a runtime's command answer a call with this last word.
    pub(crate) fn answer(runtime: &str, last: &str, text: &str) {
        let path = format!("/run/answers/{runtime},{}", last.replace('/', ","));
        fs::write(path, text).unwrap();
    }

    /// Executes a line.
    #[track_caller]
    pub(crate) fn pipework(&self, line: &str) -> Ran {
        let split: Vec<_> = line.split_whitespace().collect();
        self.try_exec(words(&split))
    }

    /// Executes a line, which must succeed, and gives what it printed.
    #[track_caller]
    pub(crate) fn does(&self, line: &str) -> String {
        let ran = self.pipework(line);
        assert!(
            ran.status.success(),
            "{line}: {}\n{}{}",
            ran.status,
            ran.stdout,
            ran.stderr
        );
        ran.stdout
    }

    /// Executes a line that attaches something, which is silent as pipework's are.
    #[track_caller]
    pub(crate) fn attaches(&self, line: &str) {
        let ran = self.pipework(line);
        let said = ran.stdout + &ran.stderr;
        assert!(ran.status.success(), "{line}: {}\n{said}", ran.status);
        assert_eq!(said, "", "{line}");
    }

    /// Executes a line, which must fail with pipework's exit status, and gives what it complained of.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str) -> String {
        let ran = self.pipework(line);
        assert_eq!(
            ran.status.code(),
            Some(1),
            "{line}: {}{}",
            ran.stdout,
            ran.stderr
        );
        ran.stderr
    }

    /// What `--list --json` says.
    #[track_caller]
    pub(crate) fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.does("--list --json")).unwrap()
    }

    /// A NIC, `eth2`, that has a carrier, and at the other end of its cable a container, which sees every frame at `port`.
    #[track_caller]
    pub(crate) fn nic(&self) -> plumb_tests::Container {
        let switch = self.container("switch");
        self.sh("ip link add eth2 type veth peer name port netns switch && ip link set eth2 up");
        switch.sh("ip addr add 10.2.0.100/24 dev port && ip link set port up");
        self.until_nic_runs();
        switch
    }

    /// Waits for the NIC's carrier: after it came up again it takes the kernel a moment.
    #[track_caller]
    pub(crate) fn until_nic_runs(&self) {
        until_settled(self, "eth2");
    }
}

/// Waits until a link runs and has the link-local address that the kernel gives it a while later: until then a node changes by
/// itself.
#[track_caller]
pub(crate) fn until_settled(node: &plumb_tests::Node, link: &str) {
    let is_settled = || {
        let runs = node
            .link(link)
            .is_some_and(|link| link["operstate"] == "UP");
        let is_local = |info: &Value| info["scope"] == "link" && info.get("tentative").is_none();
        runs && node.addr_info(link).iter().any(is_local)
    };
    assert!(
        plumb_tests::until(SOON, is_settled),
        "{link} does not settle"
    );
}

/// The routes of a node, without the link-local ones that every interface has.
#[track_caller]
pub(crate) fn routes(node: &plumb_tests::Node) -> Vec<String> {
    let routes = node.routes().into_iter();
    routes.filter(|route| !route.starts_with("fe80")).collect()
}

/// The words that execute `pipework` with these.
pub(crate) fn words(line: &[&str]) -> Vec<OsString> {
    let path = format!("PATH=/run/runtimes:{}", std::env::var("PATH").unwrap());
    let mut words: Vec<OsString> = [
        "env",
        "CNI_PATH=/run/plugins",
        "DOCKER_HOST=unix:///run/docker.sock",
    ]
    .map(Into::into)
    .into();
    words.extend([path.into(), program().into()]);
    words.extend(line.iter().map(Into::into));
    words
}

/// The program under test.
pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_pipework").into()
}

/// A process that stays, in a container: its id is a guest.
#[track_caller]
pub(crate) fn sleeper(container: &plumb_tests::Container) -> Process {
    container.spawn(["sleep", "1000"])
}
