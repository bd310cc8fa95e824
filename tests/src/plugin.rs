//! Calling a plugin as a runtime does.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::concurrent::patience;
use crate::node::words;
use crate::{Binaries, Conf, Container, Outcome, binaries, until};

/// Longer than any plugin may take; one that hangs must not hang the tests.
const PATIENCE: Duration = Duration::from_mins(1);

/// A plugin and the circumstances of a call. What is not said is as a runtime has it: `CNI_IFNAME=eth0`, the
/// container's own id and namespace, no arguments.
#[derive(Clone, Debug)]
pub struct Plugin {
    binaries: Binaries,
    file: PathBuf,
    ifname: OsString,
    variables: BTreeMap<OsString, Option<OsString>>,
    keys: BTreeMap<String, Value>,
    tracer: Vec<OsString>,
}

impl Plugin {
    #[track_caller]
    pub(crate) fn new(name: &str) -> Self {
        Self::of(&binaries(), name)
    }

    /// The plugin `name` among these binaries.
    #[track_caller]
    pub fn of(binaries: &Binaries, name: &str) -> Self {
        Self {
            file: binaries.find(name),
            binaries: binaries.clone(),
            ifname: "eth0".into(),
            variables: BTreeMap::new(),
            keys: BTreeMap::new(),
            tracer: Vec::new(),
        }
    }

    /// The file that is executed.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Executes it by way of another program, such as strace with its options. How it ends, and what it prints, is
    /// for the caller to judge.
    #[must_use]
    pub fn under<S: AsRef<OsStr>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.tracer = words(argv);
        self
    }

    /// Another `CNI_IFNAME` than `eth0`.
    #[must_use]
    pub fn ifname(mut self, name: impl AsRef<OsStr>) -> Self {
        name.as_ref().clone_into(&mut self.ifname);
        self
    }

    /// `CNI_ARGS`, such as `IP=10.0.0.5/24;IgnoreUnknown=1`.
    #[must_use]
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// Another `CNI_PATH` than the directory of the plugins under test.
    #[must_use]
    pub fn path(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_PATH", path)
    }

    /// Another `CNI_NETNS` than the container's; `""` is what runtimes give when the container is gone.
    #[must_use]
    pub fn netns(self, path: impl AsRef<OsStr>) -> Self {
        self.env("CNI_NETNS", path)
    }

    /// Another `CNI_CONTAINERID` than the container's name.
    #[must_use]
    pub fn container_id(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// Any environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables
            .insert(name.into(), Some(value.as_ref().to_owned()));
        self
    }

    /// Calls without this environment variable.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.insert(name.into(), None);
        self
    }

    /// Puts `prevResult` into the configuration.
    #[must_use]
    pub fn previous(self, result: &Value) -> Self {
        self.key("prevResult", result.clone())
    }

    /// Puts `cni.dev/valid-attachments` into the configuration of a GC: container id and interface name of each.
    #[must_use]
    pub fn valid<const N: usize>(self, attachments: [(&str, &str); N]) -> Self {
        let attachment = |(id, ifname)| json!({ "containerID": id, "ifname": ifname });
        self.key(
            "cni.dev/valid-attachments",
            attachments.into_iter().map(attachment).collect(),
        )
    }

    /// Puts any key into the configuration of this call.
    #[must_use]
    pub fn key(mut self, name: &str, value: Value) -> Self {
        self.keys.insert(name.to_owned(), value);
        self
    }

    /// ADD.
    #[track_caller]
    pub fn add(&self, container: &Container, conf: impl Into<Conf>) -> Outcome {
        self.attachment("ADD", container, conf.into())
    }

    /// DEL.
    #[track_caller]
    pub fn del(&self, container: &Container, conf: impl Into<Conf>) -> Outcome {
        self.attachment("DEL", container, conf.into())
    }

    /// CHECK.
    #[track_caller]
    pub fn check(&self, container: &Container, conf: impl Into<Conf>) -> Outcome {
        self.attachment("CHECK", container, conf.into())
    }

    /// STATUS.
    #[track_caller]
    pub fn status(&self, conf: impl Into<Conf>) -> Outcome {
        self.call("STATUS", BTreeMap::new(), conf.into())
    }

    /// GC; see [`valid`](Self::valid).
    #[track_caller]
    pub fn gc(&self, conf: impl Into<Conf>) -> Outcome {
        self.call("GC", BTreeMap::new(), conf.into())
    }

    /// One of these by its name.
    #[track_caller]
    pub fn operation(
        &self,
        operation: &str,
        container: &Container,
        conf: impl Into<Conf>,
    ) -> Outcome {
        match operation {
            "ADD" => self.add(container, conf),
            "DEL" => self.del(container, conf),
            "CHECK" => self.check(container, conf),
            "STATUS" => self.status(conf),
            "GC" => self.gc(conf),
            _ => panic!("no operation {operation}"),
        }
    }

    /// VERSION, as libcni asks for it: with dummy values in the other variables.
    #[track_caller]
    pub fn version(&self) -> Outcome {
        let dummies =
            ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"].map(|name| (name.into(), "dummy".into()));
        self.call(
            "VERSION",
            dummies.into(),
            json!({ "cniVersion": "1.1.0" }).into(),
        )
    }

    /// Executes the plugin with nothing but what [`env`](Self::env) set, and these bytes on standard input.
    #[track_caller]
    pub fn raw(&self, conf: impl Into<Conf>) -> Outcome {
        self.execute("", BTreeMap::new(), conf.into())
    }

    #[track_caller]
    fn attachment(&self, operation: &str, container: &Container, conf: Conf) -> Outcome {
        let variables = [
            ("CNI_CONTAINERID".into(), container.id().into()),
            ("CNI_NETNS".into(), container.netns().into()),
            ("CNI_IFNAME".into(), self.ifname.clone()),
        ];
        self.call(operation, variables.into(), conf)
    }

    #[track_caller]
    fn call(
        &self,
        operation: &str,
        mut variables: BTreeMap<OsString, OsString>,
        conf: Conf,
    ) -> Outcome {
        variables.insert("CNI_COMMAND".into(), operation.into());
        let path = || self.binaries.cni_path(&self.file).into();
        variables.entry("CNI_PATH".into()).or_insert_with(path);
        // masquerade looks for iptables-restore on hosts whose firewall is legacy iptables.
        variables.insert("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into());
        self.execute(operation, variables, conf)
    }

    #[track_caller]
    fn execute(
        &self,
        operation: &str,
        mut variables: BTreeMap<OsString, OsString>,
        conf: Conf,
    ) -> Outcome {
        for (name, value) in &self.variables {
            match value {
                Some(value) => variables.insert(name.clone(), value.clone()),
                None => variables.remove(name),
            };
        }
        let stdin = conf.into_input(&self.keys);
        let mut command = self.command();
        command.env_clear().envs(&variables);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = loop {
            match command.spawn() {
                // A script that a test has just written: a process that another test was about to start at that
                // moment has it open for writing until it executes its own program.
                Err(error)
                    if error.kind() == ErrorKind::ExecutableFileBusy
                        && begun.elapsed() < PATIENCE =>
                {
                    thread::yield_now();
                }
                spawned => {
                    break spawned.unwrap_or_else(|error| {
                        panic!("execute {}: {error}", self.file.display())
                    });
                }
            }
        };
        let (stdout, stderr) = talk(&mut child, &stdin);
        let ended = until(PATIENCE, || child.try_wait().unwrap().is_some());
        assert!(
            ended,
            "{operation} of {} closed its output but does not end",
            self.file.display()
        );
        let outcome = Outcome {
            call: format!(
                "{operation} {} {variables:?} < {}",
                self.file.display(),
                String::from_utf8_lossy(&stdin)
            ),
            operation: operation.to_owned(),
            status: child.wait().unwrap(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            elapsed: begun.elapsed(),
        };
        // The reference plugins are known to print two documents in places.
        if !self.binaries.are_reference() && self.tracer.is_empty() {
            outcome.assert_one_document();
        }
        outcome
    }

    fn command(&self) -> Command {
        let Some((program, arguments)) = self.tracer.split_first() else {
            return Command::new(&self.file);
        };
        let mut command = Command::new(program);
        command.args(arguments).arg(&self.file);
        command
    }
}

/// Writes standard input and reads both outputs to their end, at the same time.
#[track_caller]
fn talk(child: &mut Child, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut stdin, mut stdout, mut stderr) = (
        child.stdin.take().unwrap(),
        child.stdout.take().unwrap(),
        child.stderr.take().unwrap(),
    );
    let input = input.to_vec();
    let (done, wait) = mpsc::channel();
    let errors = done.clone();
    // Not scoped: these would wait for ever for a plugin that leaves its output open in a child of its own.
    thread::spawn(move || stdin.write_all(&input).unwrap_or_default());
    thread::spawn(move || done.send((true, drain(&mut stdout))));
    thread::spawn(move || errors.send((false, drain(&mut stderr))));
    let (mut out, mut err) = (None, None);
    let deadline = Instant::now() + PATIENCE * patience();
    while out.is_none() || err.is_none() {
        match wait.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((true, text)) => out = Some(text),
            Ok((false, text)) => err = Some(text),
            Err(_) => {
                child.kill().unwrap_or_default();
                panic!(
                    "after {PATIENCE:?} the plugin, or a child it left behind, still holds its output open"
                );
            }
        }
    }
    (out.unwrap_or_default(), err.unwrap_or_default())
}

fn drain(pipe: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).map(drop).unwrap_or_default();
    bytes
}
