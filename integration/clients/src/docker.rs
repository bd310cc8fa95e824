//! dockerd, whose containers get their interfaces from `pipework`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use plumb_tests::{Process, until};

use crate::{Machine, image};

/// A dockerd that runs on a machine.
#[derive(Debug)]
pub struct Docker<'machine> {
    machine: &'machine Machine,
    socket: String,
    process: Process,
}

impl<'machine> Docker<'machine> {
    /// Starts dockerd with a FORWARD policy of DROP, as on a host that forwarded nothing before, and loads the image
    /// `localhost/box:1`.
    #[track_caller]
    pub fn start(machine: &'machine Machine) -> Self {
        let directory = machine.directory("docker");
        let socket = format!("unix://{directory}/d.sock");
        let process = machine.spawn([
            "dockerd",
            "--log-level=warn",
            &format!("--host={socket}"),
            &format!("--data-root={directory}/data"),
            &format!("--exec-root={directory}/exec"),
            &format!("--pidfile={directory}/pid"),
        ]);
        let docker = Self {
            machine,
            socket,
            process,
        };
        let version = docker.words(["docker", "version"]);
        let up = || docker.machine.try_exec(&version).status.success();
        assert!(
            until(Duration::from_mins(2), up),
            "dockerd does not answer:\n{}",
            docker.process.output()
        );
        let archive = image::make(machine, "box", &["/bin/sh"]);
        docker.run(["docker", "load", "-q", "-i", &archive.to_string_lossy()]);
        docker
    }

    /// The words that run a program with this docker, our pipework and the machine's programs in its environment.
    pub fn words<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Vec<OsString> {
        let built = env::var("PLUGIN_DIR").expect("make test-clients sets it");
        let path = env::var("PATH").unwrap_or_default();
        let mut words: Vec<OsString> = vec!["env".into()];
        words.push(format!("DOCKER_HOST={}", self.socket).into());
        words.push(format!("PATH={built}:{path}:/usr/sbin:/sbin").into());
        words.extend(argv.into_iter().map(|word| word.as_ref().to_owned()));
        words
    }

    /// Runs a program with [`words`](Self::words), which must succeed, and returns what it printed.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> String {
        self.machine.exec(self.words(argv))
    }
}
