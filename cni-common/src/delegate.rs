//! Executing another plugin: the IPAM plugin that a configuration names (spec 1.1.0, section 4).

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use crate::code::Code;
use crate::env::Command;
use crate::error::{Error, Step};
use crate::json::{Json, Object, Problems};
use crate::program::Program;
use crate::result::Attachment;
use crate::version::SpecVersion;

/// How often a plugin that is being written to (`ETXTBSY`) is tried again, and how long the first wait is; each
/// wait doubles. Together about 5 s: an installer that copies a binary in place takes less.
const BUSY_TRIES: u32 = 10;
const BUSY_WAIT: Duration = Duration::from_millis(5);

/// A plugin to execute with the environment and the configuration of the call.
#[derive(Clone, Debug)]
pub struct Delegate {
    name: String,
    path: PathBuf,
    stdin: Vec<u8>,
    variables: Vec<(&'static str, String)>,
}

impl Delegate {
    /// Looks a plugin up in the directories of `CNI_PATH`: the first regular file of that name.
    ///
    /// # Errors
    /// Code 7 when the name has a `/` or is nowhere found, code 4 when `CNI_PATH` is not set.
    pub fn find(
        name: &str,
        cni_path: Option<&str>,
        stdin: &[u8],
        variables: Vec<(&'static str, String)>,
    ) -> Result<Self, Error> {
        if name.contains('/') || name == "." || name == ".." {
            return Err(Error::new(
                Code::InvalidConfig,
                format!("ipam.type: {name:?} must be the name of a plugin, not a path"),
            ));
        }
        let Some(cni_path) = cni_path else {
            return Err(Error::new(
                Code::Environment,
                format!(
                    "required env variables [CNI_PATH] missing: ipam.type {name:?} is looked up there"
                ),
            ));
        };
        let path = cni_path
            .split(':')
            .filter(|directory| !directory.is_empty())
            .map(|directory| Path::new(directory).join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| {
                Error::new(
                    Code::InvalidConfig,
                    format!("ipam.type: no plugin {name:?} in CNI_PATH {cni_path}"),
                )
            })?;
        Ok(Self {
            name: name.to_owned(),
            path,
            stdin: stdin.to_owned(),
            variables,
        })
    }

    /// The plugin's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the plugin; it works while the caller does.
    ///
    /// # Errors
    /// Code 5 when no process can be made for it. Whether it can be executed turns out when it is waited for.
    pub fn start(&self, command: Command) -> Result<Running<'_>, Error> {
        let program = self.spawn(command).step(|| self.doing())?;
        Ok(Running {
            delegate: self,
            command,
            program,
        })
    }

    /// Executes the plugin for a command that has no result.
    ///
    /// # Errors
    /// The plugin's own error, or code 5.
    pub fn run(&self, command: Command) -> Result<(), Error> {
        self.start(command)?.wait().map(|_| ())
    }

    fn spawn(&self, command: Command) -> io::Result<Program> {
        let own = self.variables.iter();
        let own = own.map(|(name, value)| (*name, value.as_str()));
        let own: Vec<_> = own.chain([("CNI_COMMAND", command.as_str())]).collect();
        let mut environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        environment.retain(|(name, _)| own.iter().all(|(own, _)| name != own));
        environment.extend(own.iter().map(|(name, value)| (name.into(), value.into())));
        Program::start(&self.path, &environment, &self.stdin)
    }

    fn doing(&self) -> String {
        format!("execute {}", self.path.display())
    }
}

/// A plugin at work.
#[derive(Debug)]
pub struct Running<'a> {
    delegate: &'a Delegate,
    command: Command,
    program: Program,
}

impl Running<'_> {
    /// Waits for the plugin and reads its result.
    ///
    /// # Errors
    /// The plugin's own error, code 6 when what it printed is no result, code 5 when it died or cannot be executed.
    pub fn result(self) -> Result<Attachment, Error> {
        let name = self.delegate.name.clone();
        let stdout = self.wait()?;
        read_result(&stdout).step(|| format!("result of {name}"))
    }

    /// Waits for the plugin where the command has no result.
    ///
    /// # Errors
    /// The plugin's own error, or code 5.
    pub fn finish(self) -> Result<(), Error> {
        self.wait().map(|_| ())
    }

    /// Waits for the plugin and gives what it printed.
    fn wait(self) -> Result<Vec<u8>, Error> {
        let delegate = self.delegate;
        let output = self.output().step(|| delegate.doing())?;
        // What the plugin has to say to people goes on; nobody is there to tell when it cannot.
        let _ = io::stderr().write_all(&output.stderr);
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(failure(&output).at(delegate.name.clone()))
    }

    /// Waits for the plugin; executes it again while it is being written to.
    ///
    /// The reference library executes it up to six times a second apart.
    fn output(self) -> io::Result<Output> {
        let mut output = self.program.output();
        let mut wait = BUSY_WAIT;
        for _ in 0..BUSY_TRIES {
            match &output {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                _ => break,
            }
            std::thread::sleep(wait);
            wait *= 2;
            output = self.delegate.spawn(self.command)?.output();
        }
        output
    }
}

/// The plugin's own error result, or what can be said when it printed none.
fn failure(output: &Output) -> Error {
    let problems = Problems::default();
    let json = Json::parse(&output.stdout).unwrap_or(Json::Null);
    if let Ok(object) = Object::root(&json, &problems)
        && let (Some(code), Some(message)) =
            (object.unsigned("code", u32::MAX), object.string("msg"))
        && !message.is_empty()
    {
        // Code 0 says that nothing is wrong; some plugins have it where they know no better one.
        let code = match code {
            0 => Code::Io,
            code => Code::Delegate(code),
        };
        return Error::quoted(code, message)
            .with_details(object.string("details").unwrap_or_default());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let words = match stderr.trim() {
        "" => "nothing on stderr",
        words => words,
    };
    Error::new(
        Code::Io,
        format!(
            "ended with {} and printed no error result: {words}",
            output.status
        ),
    )
}

/// Reads a result; nothing at all and `null` are the empty one.
fn read_result(stdout: &[u8]) -> Result<Attachment, Error> {
    if stdout.trim_ascii().is_empty() {
        return Ok(Attachment::default());
    }
    let json = Json::parse(stdout)?;
    if json == Json::Null {
        return Ok(Attachment::default());
    }
    let problems = Problems::default();
    let object = Object::root(&json, &problems)?;
    // A result without a version is in the form of the configuration's; the forms are told by their keys.
    if let Some(version) = object.text("cniVersion")
        && SpecVersion::parse(version).is_none()
    {
        return Err(Error::new(
            Code::IncompatibleVersion,
            format!("unknown cniVersion {version:?}"),
        ));
    }
    let attachment = Attachment::read(&object);
    problems.finish()?;
    Ok(attachment)
}

#[cfg(test)]
#[path = "delegate_tests.rs"]
mod tests;
