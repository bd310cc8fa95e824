//! Executes one plugin: environment, standard input, and what it answers (specification sections 2 and 5).

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command as Process, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use super::{Error, Failure};

/// How long a plugin may take. A DHCP server that does not answer is the slowest case that is still in order.
const PATIENCE: Duration = Duration::from_mins(2);

/// The operations of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Undo an ADD.
    Del,
    /// Is the attachment as it should be?
    Check,
    /// Is the plugin ready for ADD?
    Status,
    /// Remove what no valid attachment owns.
    Gc,
    /// Which versions does the plugin speak?
    Version,
}

impl Command {
    /// The value of `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }
}

/// The variables of one execution. What an operation does not have is not set.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// `CNI_CONTAINERID`.
    pub container: Option<String>,
    /// `CNI_NETNS`.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`.
    pub ifname: Option<String>,
    /// `CNI_ARGS`, in the order given.
    pub args: Vec<(String, String)>,
}

/// Finds a plugin by its type: the first regular file of that name in the directories.
pub fn find(kind: &str, directories: &[PathBuf]) -> Result<PathBuf, Error> {
    let candidates = directories.iter().map(|directory| directory.join(kind));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| {
            let searched: Vec<_> = directories
                .iter()
                .map(|each| each.display().to_string())
                .collect();
            Error::Runtime(format!(
                "plugin {kind:?} is in none of: {}",
                searched.join(", ")
            ))
        })
}

/// What is executed for a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The plugin's type.
    pub kind: String,
    /// The file.
    pub path: PathBuf,
    /// Its arguments: none but for the lab's own plugins, which are parts of its programs.
    pub arguments: Vec<String>,
}

impl Program {
    /// The plugin of this type in the directories.
    pub(super) fn find(kind: &str, directories: &[PathBuf]) -> Result<Self, Error> {
        Ok(Self {
            kind: kind.to_owned(),
            path: find(kind, directories)?,
            arguments: Vec::new(),
        })
    }
}

/// A call as it would be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What would be executed.
    pub program: Program,
    /// The variables it would have.
    pub environment: Vec<(&'static str, OsString)>,
    /// What it would read.
    pub config: String,
}

impl Planned {
    pub(super) fn new(
        program: Program,
        command: Command,
        variables: &Variables,
        directories: &[PathBuf],
        config: &Value,
    ) -> Result<Self, Error> {
        let environment = environment(command, variables, directories)
            .map_err(|error| Error::runtime(&program.kind, error))?;
        Ok(Self {
            program,
            environment,
            config: config.to_string(),
        })
    }

    /// The call as a command for a shell.
    pub fn for_shell(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let variables = self.environment.iter();
        let variables =
            variables.map(|(name, value)| format!("{name}={} ", quoted(&value.to_string_lossy())));
        let program = std::iter::once(self.program.path.to_string_lossy().into_owned());
        let words = program.chain(self.program.arguments.iter().cloned());
        let words: Vec<_> = words.map(|word| quoted(&word)).collect();
        format!(
            "printf %s {} | {}{}",
            quoted(&self.config),
            variables.collect::<String>(),
            words.join(" ")
        )
    }
}

/// Executes a program and returns what it printed; on failure the error result it owes.
pub(super) fn execute(
    program: &Program,
    command: Command,
    variables: &Variables,
    directories: &[PathBuf],
    config: &Value,
    prepare: &dyn Fn(&mut Process),
) -> Result<Vec<u8>, Error> {
    let path = &program.path;
    let failed = |cause: &dyn std::fmt::Display| {
        Error::runtime(
            format!("execute {} {}", path.display(), command.as_str()),
            cause,
        )
    };
    let mut process = Process::new(path);
    process.args(&program.arguments);
    process.envs(environment(command, variables, directories).map_err(|error| failed(&error))?);
    for stale in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
        if !process.get_envs().any(|(name, _)| name == stale) {
            process.env_remove(stale);
        }
    }
    process
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    prepare(&mut process);
    let child = spawn(&mut process).map_err(|error| failed(&error))?;
    let answer =
        converse(child, config.to_string().into_bytes()).map_err(|error| failed(&error))?;
    if answer.status.success() {
        return Ok(answer.stdout);
    }
    Err(Error::Plugin(Box::new(failure(
        program.kind.clone(),
        command,
        &answer,
    ))))
}

fn environment(
    command: Command,
    variables: &Variables,
    directories: &[PathBuf],
) -> Result<Vec<(&'static str, OsString)>, std::env::JoinPathsError> {
    let mut environment = vec![
        ("CNI_COMMAND", command.as_str().into()),
        ("CNI_PATH", std::env::join_paths(directories)?),
    ];
    let mut set =
        |name, value: Option<OsString>| environment.extend(value.map(|value| (name, value)));
    set(
        "CNI_CONTAINERID",
        variables.container.clone().map(Into::into),
    );
    set("CNI_NETNS", variables.netns.clone().map(Into::into));
    set("CNI_IFNAME", variables.ifname.clone().map(Into::into));
    if !variables.args.is_empty() {
        let args: Vec<_> = variables
            .args
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        set("CNI_ARGS", Some(args.join(";").into()));
    }
    Ok(environment)
}

/// Starts the process. A binary that is being replaced at this moment (`ETXTBSY`) gets a few more chances.
fn spawn(process: &mut Process) -> io::Result<Child> {
    for _ in 0..20 {
        match process.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(50));
            }
            outcome => return outcome,
        }
    }
    process.spawn()
}

struct Answer {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Writes the configuration, reads both outputs to their end, and reaps the process; kills it when it takes too long.
fn converse(mut child: Child, config: Vec<u8>) -> io::Result<Answer> {
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("the plugin has no pipes"));
    };
    let writer = thread::spawn(move || write(stdin, &config));
    let deadline = Instant::now() + PATIENCE;
    let mut collected = [Vec::new(), Vec::new()];
    let finished = drain((stdout, stderr), &mut collected, deadline);
    if !matches!(finished, Ok(true)) {
        // It may have ended just now: that it cannot be killed then is no failure.
        let _ended = child.kill();
    }
    let status = child.wait()?;
    let _written = writer.join();
    if !finished? {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {PATIENCE:?}, killed"),
        ));
    }
    let [stdout, stderr] = collected;
    Ok(Answer {
        status,
        stdout,
        stderr,
    })
}

/// A plugin that does not read its input closes the pipe: that is its right.
fn write(mut stdin: ChildStdin, config: &[u8]) {
    let _broken_pipe = stdin.write_all(config);
}

/// Reads both streams until both have ended. `false` when the deadline came first.
fn drain<O, E>(
    (mut out, mut err): (O, E),
    collected: &mut [Vec<u8>; 2],
    deadline: Instant,
) -> io::Result<bool>
where
    O: Read + AsFd,
    E: Read + AsFd,
{
    let mut open = [true, true];
    let [collected_out, collected_err] = collected;
    while open.contains(&true) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let ready = {
            let events = |open: bool| {
                if open {
                    PollFlags::POLLIN
                } else {
                    PollFlags::empty()
                }
            };
            let mut watched = [
                PollFd::new(out.as_fd(), events(open[0])),
                PollFd::new(err.as_fd(), events(open[1])),
            ];
            match poll(
                &mut watched,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            ) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            watched.map(|each| each.any().unwrap_or(false))
        };
        if open[0] && ready[0] {
            open[0] = read_some(&mut out, collected_out)?;
        }
        if open[1] && ready[1] {
            open[1] = read_some(&mut err, collected_err)?;
        }
    }
    Ok(true)
}

fn read_some(stream: &mut impl Read, into: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    let count = stream.read(&mut buffer)?;
    into.extend(buffer.iter().take(count));
    Ok(count > 0)
}

/// The error result of a plugin that failed (specification section 5, "Error").
fn failure(plugin: String, command: Command, answer: &Answer) -> Failure {
    let stderr = String::from_utf8_lossy(&answer.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&answer.stdout);
    let result = serde_json::from_str::<Value>(&stdout).ok();
    let text = |key: &str| {
        result
            .as_ref()
            .and_then(|all| all.get(key))
            .and_then(Value::as_str)
    };
    let code = result
        .as_ref()
        .and_then(|all| all.get("code"))
        .and_then(Value::as_u64);
    let message = match (text("msg"), stdout.trim(), stderr.trim()) {
        (Some(message), ..) => message.to_owned(),
        (None, "", "") => format!("{} and no word why", answer.status),
        (None, "", said) => format!("{}: {said}", answer.status),
        (None, said, _) => format!("{}, and no error result but: {said}", answer.status),
    };
    let details = text("details").unwrap_or_default().to_owned();
    Failure {
        command: command.as_str(),
        plugin,
        code,
        message,
        details,
        stderr,
    }
}
