//! A chain of plugins that gives a container an interface, an address, a way out and a pass through the firewall.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plumb_tests::{Value, json};

/// The plugins of a network, called in order for ADD and in reverse for DEL.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    directory: PathBuf,
    first: Value,
    next: Option<Value>,
    ipam: &'static str,
    /// Words of an error that DEL may end with although it has done its work.
    excused: Option<&'static str>,
}

/// One container of a chain: its namespace and what its ADD answered.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    pub(crate) netns: PathBuf,
    /// Host part of its address.
    pub(crate) number: usize,
    pub(crate) result: Option<Value>,
}

impl Chain {
    pub(crate) fn ours(directory: &Path) -> Self {
        let bridge = json!({ "type": "bridge-attach", "bridge": "br0", "isDefaultGateway": true });
        let next = Some(json!({ "type": "masquerade" }));
        Self {
            name: "plumb",
            directory: directory.to_owned(),
            first: bridge,
            next,
            ipam: "static-ipam",
            excused: None,
        }
    }

    pub(crate) fn go(directory: &Path, backend: &'static str) -> Self {
        let name = if backend == "nftables" {
            "go nft+firewall"
        } else {
            "go ipt+firewall"
        };
        let next = Some(json!({ "type": "firewall", "backend": "iptables" }));
        // DEL also takes down what the iptables back-end might have made, and mistakes iptables 1.8.9 saying that there
        // is no such chain for a failure.
        let excused = (backend == "nftables").then_some("does not exist");
        Self {
            name,
            next,
            excused,
            ..Self::go_bridge(directory, backend)
        }
    }

    pub(crate) fn go_bridge_alone(directory: &Path) -> Self {
        Self::go_bridge(directory, "iptables")
    }

    fn go_bridge(directory: &Path, backend: &'static str) -> Self {
        let bridge = json!({
            "type": "bridge", "bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": backend,
        });
        Self {
            name: "go ipt alone",
            directory: directory.to_owned(),
            first: bridge,
            next: None,
            ipam: "static",
            excused: None,
        }
    }

    /// ADD of the whole chain; remembers the result.
    pub(crate) fn add(&self, attachment: &mut Attachment) {
        let mut result = self.call("ADD", &self.first(attachment), attachment);
        if let Some(next) = &self.next {
            result = self.call("ADD", &with_previous(next, &result), attachment);
        }
        attachment.result = Some(serde_json::from_str(&result).expect("a result"));
    }

    /// DEL of the whole chain, with the result of ADD as a runtime gives it.
    pub(crate) fn del(&self, attachment: &Attachment) {
        let result = attachment
            .result
            .as_ref()
            .expect("an ADD came first")
            .to_string();
        if let Some(next) = &self.next {
            self.call("DEL", &with_previous(next, &result), attachment);
        }
        let first = self.first(attachment);
        self.call(
            "DEL",
            &first.replacen('{', &format!("{{\"prevResult\":{result},"), 1),
            attachment,
        );
    }

    /// The command of one call, its pipes not yet set up.
    pub(crate) fn command(&self, operation: &str, file: &str, attachment: &Attachment) -> Command {
        let mut command = Command::new(self.directory.join(file));
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .env("CNI_COMMAND", operation)
            .env("CNI_CONTAINERID", &attachment.id)
            .env("CNI_IFNAME", "eth0");
        command
            .env("CNI_NETNS", &attachment.netns)
            .env("CNI_PATH", &self.directory);
        command
    }

    /// The first plugin's file and its configuration for one container.
    pub(crate) fn first_call(&self, attachment: &Attachment) -> (String, String) {
        let conf = self.first(attachment);
        (kind(&conf), conf)
    }

    /// The second plugin's file and its configuration after this result of the first.
    pub(crate) fn next_call(&self, result: &str) -> Option<(String, String)> {
        let conf = with_previous(self.next.as_ref()?, result);
        Some((kind(&conf), conf))
    }

    /// All names of plugin files that the chain executes.
    pub(crate) fn size(&self) -> u64 {
        let next = self.next.as_ref().map(|conf| kind(&conf.to_string()));
        let files = [
            Some(kind(&self.first.to_string())),
            Some(self.ipam.to_owned()),
            next,
        ];
        files
            .iter()
            .flatten()
            .map(|file| {
                fs::metadata(self.directory.join(file))
                    .expect("a plugin")
                    .len()
            })
            .sum()
    }

    fn first(&self, attachment: &Attachment) -> String {
        let mut conf = self.first.clone();
        let address = format!("{}/16", address(attachment.number));
        conf["cniVersion"] = "1.0.0".into();
        conf["name"] = "bench".into();
        conf["ipam"] = json!({ "type": self.ipam, "addresses": [{ "address": address, "gateway": gateway() }] });
        conf.to_string()
    }

    fn call(&self, operation: &str, conf: &str, attachment: &Attachment) -> String {
        let mut command = self.command(operation, &kind(conf), attachment);
        // As runtimes do: stderr goes to a file of theirs.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("a plugin starts");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(conf.as_bytes())
            .expect("a plugin reads its configuration");
        let mut answer = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut answer)
            .unwrap();
        let status = child.wait().unwrap();
        let excused =
            operation == "DEL" && self.excused.is_some_and(|words| answer.contains(words));
        assert!(
            status.success() || excused,
            "{operation} of {conf} for {}: {answer}",
            attachment.id
        );
        answer
    }
}

/// The address of a container by its number.
pub(crate) fn address(number: usize) -> String {
    format!("10.64.{}.{}", number / 250, number % 250 + 2)
}

/// The bridge's address.
pub(crate) fn gateway() -> &'static str {
    "10.64.0.1"
}

fn kind(conf: &str) -> String {
    let conf: Value = serde_json::from_str(conf).unwrap();
    conf["type"].as_str().expect("a type").to_owned()
}

fn with_previous(conf: &Value, result: &str) -> String {
    let mut conf = conf.clone();
    conf["cniVersion"] = "1.0.0".into();
    conf["name"] = "bench".into();
    conf["prevResult"] = serde_json::from_str(result).expect("a result");
    conf.to_string()
}
