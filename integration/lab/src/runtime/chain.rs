//! The operations on a network: which plugins run, in which order, and what passes from one to the next.

use std::path::PathBuf;
use std::process::Command as Process;

use serde_json::{Map, Value, json};

use super::exec::execute;
use super::{
    Cache, Command, Error, Injected, NetworkList, Planned, PluginConfig, Program, Variables, derive,
};

/// One interface of one container on one network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attachment {
    /// The container id.
    pub container: String,
    /// The path of the container's network namespace; `None` when it is gone, which only DEL allows.
    pub netns: Option<PathBuf>,
    /// The name of the interface in the container.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// What is offered by capability: `ips`, `mac`, `portMappings` …
    pub capabilities: Map<String, Value>,
}

/// The runtime: where plugins are, what is remembered, and how a plugin process is prepared.
pub struct Runtime {
    directories: Vec<PathBuf>,
    own: Vec<Program>,
    cache: Cache,
    prepare: Box<dyn Fn(&mut Process) + Send + Sync>,
}

impl Runtime {
    /// A runtime that looks for plugins in these directories, in this order.
    pub fn new(directories: Vec<PathBuf>, cache: Cache) -> Self {
        Self {
            directories,
            own: Vec::new(),
            cache,
            prepare: Box::new(|_| {}),
        }
    }

    /// Has these programs executed for their types, whatever the directories hold.
    #[must_use]
    pub fn with_own(mut self, own: Vec<Program>) -> Self {
        self.own = own;
        self
    }

    /// Has every plugin process prepared before it starts: to run it in another namespace, say.
    #[must_use]
    pub fn prepared_by(mut self, prepare: impl Fn(&mut Process) + Send + Sync + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// What is remembered.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Executes ADD of each plugin in order and returns the last result. A failed ADD is followed by DEL of the whole
    /// list, whose own failure is added to the error.
    pub fn add(&self, list: &NetworkList, attachment: &Attachment) -> Result<Value, Error> {
        let _lock = self.cache.lock(&attachment.container)?;
        if self
            .cache
            .load(&list.name, attachment)
            .is_some_and(|entry| entry.result.is_some())
        {
            return Err(Error::Runtime(format!(
                "{} of {} is attached to {}: DEL comes before a second ADD",
                attachment.ifname, attachment.container, list.name
            )));
        }
        // Remembered first: after a crash in the middle DEL still knows all it needs.
        self.cache.store(list, attachment, None)?;
        let outcome = self.add_each(list, attachment);
        let Err(error) = outcome.and_then(|result| {
            self.cache.store(list, attachment, Some(&result))?;
            Ok(result)
        }) else {
            return self.result_of(list, attachment);
        };
        match self.del_each(list, attachment, None) {
            Ok(()) => Err(error),
            Err(second) => Err(Error::Several(vec![error, second])),
        }
    }

    fn result_of(&self, list: &NetworkList, attachment: &Attachment) -> Result<Value, Error> {
        let entry = self.cache.load(&list.name, attachment);
        entry
            .and_then(|entry| entry.result)
            .ok_or_else(|| Error::Runtime("the cached result is gone".into()))
    }

    fn add_each(&self, list: &NetworkList, attachment: &Attachment) -> Result<Value, Error> {
        let mut previous = None;
        for plugin in &list.plugins {
            let injected = Injected {
                capabilities: Some(&attachment.capabilities),
                previous: previous.as_ref(),
                valid: None,
            };
            let printed = self.execute(list, plugin, Command::Add, Some(attachment), injected)?;
            previous = Some(result(list, plugin, &printed)?);
        }
        previous.ok_or_else(|| Error::Config(vec!["plugins must have at least one plugin".into()]))
    }

    /// Executes DEL of each plugin in reverse, with what was remembered, then forgets the attachment. It stays remembered
    /// when a plugin fails, so that DEL can be tried again.
    pub fn del(&self, list: &NetworkList, attachment: &Attachment) -> Result<(), Error> {
        let _lock = self.cache.lock(&attachment.container)?;
        self.del_each(list, attachment, self.cached(list, attachment).as_ref())
    }

    fn del_each(
        &self,
        list: &NetworkList,
        attachment: &Attachment,
        previous: Option<&Value>,
    ) -> Result<(), Error> {
        for plugin in list.plugins.iter().rev() {
            let injected = Injected {
                capabilities: Some(&attachment.capabilities),
                previous,
                valid: None,
            };
            self.execute(list, plugin, Command::Del, Some(attachment), injected)?;
        }
        self.cache.remove(&list.name, attachment)
    }

    /// Executes CHECK of each plugin in order with the result of ADD.
    pub fn check(&self, list: &NetworkList, attachment: &Attachment) -> Result<(), Error> {
        let _lock = self.cache.lock(&attachment.container)?;
        if list.disable_check {
            return Ok(());
        }
        if !list.speaks("0.4.0") {
            return Err(Error::Config(vec![format!(
                "CHECK came with 0.4.0, the list is {}",
                list.version
            )]));
        }
        let previous = self.cached(list, attachment).ok_or_else(|| {
            Error::Runtime(format!(
                "no result of ADD of {} of {}",
                attachment.ifname, attachment.container
            ))
        })?;
        for plugin in &list.plugins {
            let injected = Injected {
                capabilities: Some(&attachment.capabilities),
                previous: Some(&previous),
                valid: None,
            };
            self.execute(list, plugin, Command::Check, Some(attachment), injected)?;
        }
        Ok(())
    }

    /// Executes STATUS of each plugin in order, until one is not ready. Lists below 1.1.0 have no STATUS: ready.
    pub fn status(&self, list: &NetworkList) -> Result<(), Error> {
        if !list.speaks("1.1.0") {
            return Ok(());
        }
        for plugin in &list.plugins {
            self.execute(list, plugin, Command::Status, None, Injected::default())?;
        }
        Ok(())
    }

    /// Removes what no valid attachment owns: DEL for every attachment of this network that is remembered and not in
    /// `valid`, then GC of each plugin. All are tried; their errors come together.
    ///
    /// `valid` holds container ids and interface names; `None` asks the plugins for GC without telling what is valid, as
    /// `cnitool gc` does, and then nothing remembered is touched.
    pub fn gc(&self, list: &NetworkList, valid: Option<&[(String, String)]>) -> Result<(), Error> {
        let _lock = self.cache.lock_all()?;
        if list.disable_gc {
            return Ok(());
        }
        let mut errors = Vec::new();
        for entry in valid.map_or_else(|| Ok(Vec::new()), |_| self.cache.entries())? {
            let Attachment {
                container, ifname, ..
            } = &entry.attachment;
            let still = valid.is_some_and(|all| {
                all.iter()
                    .any(|(id, name)| id == container && name == ifname)
            });
            if entry.list.name == list.name && !still {
                let previous = self.cached(&entry.list, &entry.attachment);
                errors.extend(
                    self.del_each(&entry.list, &entry.attachment, previous.as_ref())
                        .err(),
                );
            }
        }
        self.gc_each(list, valid, &mut errors);
        Error::collect(errors)
    }

    /// Executes GC of each plugin with all that is remembered of this network as valid, so that what a crash left goes, and
    /// nothing that is attached.
    pub fn gc_remembered(&self, list: &NetworkList) -> Result<(), Error> {
        let _lock = self.cache.lock_all()?;
        let entries = self.cache.entries()?.into_iter();
        let own = entries.filter(|entry| entry.list.name == list.name);
        let valid: Vec<_> = own
            .map(|entry| (entry.attachment.container, entry.attachment.ifname))
            .collect();
        let mut errors = Vec::new();
        self.gc_each(list, Some(&valid), &mut errors);
        Error::collect(errors)
    }

    fn gc_each(
        &self,
        list: &NetworkList,
        valid: Option<&[(String, String)]>,
        errors: &mut Vec<Error>,
    ) {
        if !list.speaks("1.1.0") {
            return;
        }
        let valid = valid.map(|all| {
            let objects = all
                .iter()
                .map(|(id, name)| json!({"containerID": id, "ifname": name}));
            Value::Array(objects.collect())
        });
        for plugin in &list.plugins {
            let injected = Injected {
                valid: valid.as_ref(),
                ..Injected::default()
            };
            errors.extend(
                self.execute(list, plugin, Command::Gc, None, injected)
                    .err(),
            );
        }
    }

    /// The calls that an ADD of this list consists of; a later plugin's lacks the result of the one before.
    pub fn planned(
        &self,
        list: &NetworkList,
        attachment: &Attachment,
    ) -> Result<Vec<Planned>, Error> {
        let injected = Injected {
            capabilities: Some(&attachment.capabilities),
            ..Injected::default()
        };
        let planned = |plugin: &PluginConfig| {
            let program = self.program(&plugin.kind)?;
            let config = derive(list, plugin, injected);
            let variables = variables(attachment);
            Planned::new(
                program,
                Command::Add,
                &variables,
                &self.directories,
                &config,
            )
        };
        list.plugins.iter().map(planned).collect()
    }

    /// What is executed for a plugin of this type.
    pub fn program(&self, kind: &str) -> Result<Program, Error> {
        let own = self.own.iter().find(|program| program.kind == kind);
        own.cloned()
            .map_or_else(|| Program::find(kind, &self.directories), Ok)
    }

    /// Asks a plugin for the versions it speaks.
    pub fn version(&self, kind: &str) -> Result<Value, Error> {
        let program = self.program(kind)?;
        let config = json!({"cniVersion": "1.1.0"});
        let printed = execute(
            &program,
            Command::Version,
            &Variables::default(),
            &self.directories,
            &config,
            &self.prepare,
        )?;
        document(kind, Command::Version, &printed)
    }

    /// The remembered result, for plugins of a version that is given it outside ADD.
    fn cached(&self, list: &NetworkList, attachment: &Attachment) -> Option<Value> {
        if !list.speaks("0.4.0") {
            return None;
        }
        self.cache.load(&list.name, attachment)?.result
    }

    fn execute(
        &self,
        list: &NetworkList,
        plugin: &PluginConfig,
        command: Command,
        attachment: Option<&Attachment>,
        injected: Injected<'_>,
    ) -> Result<Vec<u8>, Error> {
        let program = self.program(&plugin.kind)?;
        let config = derive(list, plugin, injected);
        let variables = attachment.map(variables).unwrap_or_default();
        execute(
            &program,
            command,
            &variables,
            &self.directories,
            &config,
            &self.prepare,
        )
    }
}

/// A namespace that is gone is an empty `CNI_NETNS`, as the runtimes in use send it.
fn variables(attachment: &Attachment) -> Variables {
    Variables {
        container: Some(attachment.container.clone()),
        netns: Some(attachment.netns.clone().unwrap_or_default()),
        ifname: Some(attachment.ifname.clone()),
        args: attachment.args.clone(),
    }
}

fn document(kind: &str, command: Command, printed: &[u8]) -> Result<Value, Error> {
    let broken = |why: &dyn std::fmt::Display| {
        let text = String::from_utf8_lossy(printed);
        Error::Protocol(format!(
            "{kind} {}: its output is {why}: {text}",
            command.as_str()
        ))
    };
    let value: Value = serde_json::from_slice(printed).map_err(|error| broken(&error))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(broken(&"not a JSON object"))
    }
}

/// The success result of ADD, which must be in the version that was asked for.
fn result(list: &NetworkList, plugin: &PluginConfig, printed: &[u8]) -> Result<Value, Error> {
    let value = document(&plugin.kind, Command::Add, printed)?;
    let version = value.get("cniVersion").and_then(Value::as_str);
    // Results carry their version since 0.2.0.
    if version == Some(list.version) || (version.is_none() && !list.speaks("0.2.0")) {
        return Ok(value);
    }
    Err(Error::Protocol(format!(
        "{} ADD: the result is in version {}, asked was {}",
        plugin.kind,
        version.unwrap_or("(none)"),
        list.version
    )))
}

#[cfg(test)]
mod tests;
