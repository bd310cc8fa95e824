//! podman with its CNI backend.

use std::ffi::{OsStr, OsString};
use std::fs;

use plumb_tests::Ran;

use crate::{Machine, image};

/// A podman with storage of its own on a machine.
#[derive(Debug)]
pub struct Podman<'machine> {
    machine: &'machine Machine,
    directory: String,
}

impl<'machine> Podman<'machine> {
    /// Configures podman for networks in `/etc/cni/net.d` and loads the image `localhost/box:1`.
    #[track_caller]
    pub fn set_up(machine: &'machine Machine, default_network: &str) -> Self {
        let directory = machine.directory("podman");
        // Without CAP_SYS_RESOURCE, as in many virtual machines, no limit can be raised.
        let containers = format!(
            r#"[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
default_sysctls = []
[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
default_network = "{default_network}"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{directory}/tmp"
"#
        );
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{directory}/graph\"\nrunroot = \"{directory}/run\"\n"
        );
        fs::write(format!("{directory}/containers.conf"), containers).unwrap();
        fs::write(format!("{directory}/storage.conf"), storage).unwrap();
        let podman = Self { machine, directory };
        let archive = image::make(machine, "box", &["/bin/sh"]);
        podman.run(["load", "-q", "-i", &archive.to_string_lossy()]);
        podman
    }

    /// The words that run this podman, for a program that runs it.
    pub fn command(&self) -> String {
        format!("env {} podman", self.variables())
    }

    /// The variables (`NAME=VALUE …`) with which a program that runs podman runs this one.
    pub fn variables(&self) -> String {
        format!(
            "CONTAINERS_CONF={0}/containers.conf CONTAINERS_STORAGE_CONF={0}/storage.conf",
            self.directory
        )
    }

    /// The words that run `podman` with these arguments.
    pub fn words<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.command().split(' ').map(OsString::from).collect();
        words.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        words
    }

    /// Runs `podman` with these arguments, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.machine.exec(self.words(arguments)).trim().to_owned()
    }

    /// Runs `podman` with these arguments, however it ends.
    #[track_caller]
    pub fn try_run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.machine.try_exec(self.words(arguments))
    }
}
