//! containerd, with its own command line client.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::time::Duration;

use plumb_tests::{Process, Ran, until};

use crate::{Machine, image};

/// A containerd that runs on a machine.
#[derive(Debug)]
pub struct Containerd<'machine> {
    machine: &'machine Machine,
    socket: String,
    process: Process,
}

impl<'machine> Containerd<'machine> {
    /// Starts containerd without its CRI plugin and imports the image `localhost/box:1`.
    #[track_caller]
    pub fn start(machine: &'machine Machine) -> Self {
        let containerd = Self::with(
            machine,
            r#"disabled_plugins = ["io.containerd.grpc.v1.cri"]"#,
        );
        containerd.import("box", &["/bin/sh"]);
        containerd
    }

    #[track_caller]
    pub(crate) fn with(machine: &'machine Machine, keys: &str) -> Self {
        let directory = machine.directory("containerd");
        let socket = format!("{directory}/c.sock");
        let config = format!(
            "version = 2\nroot = \"{directory}/root\"\nstate = \"{directory}/state\"\n{keys}\n\n[grpc]\n  address = \"{socket}\"\n"
        );
        let file = format!("{directory}/config.toml");
        fs::write(&file, config).unwrap();
        let process = machine.spawn(["containerd", "--log-level", "warn", "--config", &file]);
        let containerd = Self {
            machine,
            socket,
            process,
        };
        let up = until(Duration::from_mins(1), || {
            containerd.try_ctr(["version"]).status.success()
        });
        assert!(up, "containerd does not answer:\n{}", containerd.log());
        containerd
    }

    #[track_caller]
    pub(crate) fn import(&self, name: &str, command: &[&str]) {
        let archive = image::make(self.machine, name, command);
        self.ctr(["image", "import", &archive.to_string_lossy()]);
    }

    /// Where it listens.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// What it has logged.
    #[track_caller]
    pub fn log(&self) -> String {
        self.process.output()
    }

    fn words<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["ctr".into(), "--address".into()];
        words.push(self.socket.clone().into());
        words.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        words
    }

    /// Runs `ctr` with these arguments, which must succeed, and returns what it printed.
    #[track_caller]
    pub fn ctr<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        self.machine.exec(self.words(arguments))
    }

    /// Runs `ctr` with these arguments, however it ends.
    #[track_caller]
    pub fn try_ctr<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.machine.try_exec(self.words(arguments))
    }
}
