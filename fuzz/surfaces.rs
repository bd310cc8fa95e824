//! What reads foreign input, each as a function of bytes that must return whatever it is given.
//!
//! The fuzz targets call these, and so does a test that replays the corpus.

use std::ffi::OsString;

use cni_common::args::CniArgs;
use cni_common::config::{Configuration, Input};
use cni_common::env::Command;
use cni_common::error::Error;
use cni_common::json::{Json, Object, Problems};
use cni_common::owner::Tag;
use cni_common::plugin::{About, Call, DelCall, GcCall, NetnsUse, Plugin, StatusCall, serve};
use cni_common::result::Attachment;
use cni_common::version::SpecVersion;

/// Changes nothing: all that runs is the protocol, and what a plugin decides from its configuration and a result.
pub(crate) struct Idle<C>(pub(crate) fn(&Call<C>, Attachment) -> Result<(), Error>);

/// Reads one key of each type.
struct Keys;

impl Configuration for Keys {
    fn read(input: &Input<'_>) -> Self {
        let object = &input.object;
        object.flag("flag");
        object.unsigned("number", 4094);
        object.parse::<cni_common::addr::Cidr>("cidr");
        object.parse::<cni_common::addr::Mac>("mac");
        for item in object.items("list") {
            item.object().map(|inner| inner.strings("strings"));
        }
        Self
    }
}

impl<C: Configuration> Plugin for Idle<C> {
    type Config = C;
    const ABOUT: About = About {
        name: "idle",
        release: "0.0.0",
        versions: SpecVersion::V0_1_0..=SpecVersion::V1_1_0,
    };
    const NETNS: NetnsUse = NetnsUse::Ignored;

    fn add(&self, call: &Call<C>) -> Result<Attachment, Error> {
        let previous = call.previous.clone().unwrap_or_default();
        (self.0)(call, previous.clone())?;
        Ok(previous)
    }
    fn check(&self, _: &Call<C>) -> Result<(), Error> {
        Ok(())
    }
    fn del(&self, _: &DelCall<C>) -> Result<(), Error> {
        Ok(())
    }
    fn status(&self, _: &StatusCall<C>) -> Result<(), Error> {
        Ok(())
    }
    fn gc(&self, call: &GcCall<C>) -> Result<(), Error> {
        call.valid_owners();
        Ok(())
    }
}

/// A configuration on stdin, with a key of each type.
pub(crate) fn configuration(data: &[u8]) {
    serve_all(&Idle::<Keys>(|_, _| Ok(())), data);
}

/// A configuration on stdin of a plugin that changes nothing, under every command.
pub(crate) fn serve_all<P: Plugin>(plugin: &P, data: &[u8]) {
    for command in Command::ALL {
        let lookup = |name: &str| {
            let value = match name {
                "CNI_COMMAND" => command.as_str(),
                "CNI_CONTAINERID" => "c1",
                "CNI_IFNAME" => "eth0",
                "CNI_NETNS" | "CNI_PATH" => "/nowhere",
                "CNI_ARGS" => "IgnoreUnknown=1;K8S_POD_NAME=pod-3;MAC=02:00:00:00:00:01",
                _ => return None,
            };
            Some(OsString::from(value))
        };
        if let Err(refusal) = serve(plugin, &lookup, data) {
            let json = Json::parse(refusal.to_json().as_bytes());
            assert!(json.is_ok(), "an error result is JSON");
        }
    }
}

/// A result: what is read can be written for every version and be read again.
pub(crate) fn result(data: &[u8]) {
    let Ok(json) = Json::parse(data) else { return };
    let read = |json: &Json| {
        let problems = Problems::default();
        let attachment = Object::root(json, &problems).map(|object| Attachment::read(&object));
        attachment.ok().filter(|_| problems.finish().is_ok())
    };
    let Some(attachment) = read(&json) else {
        return;
    };
    for version in SpecVersion::ALL {
        let written = attachment.to_json(version);
        let again = read(&written);
        if version == SpecVersion::NEWEST {
            assert_eq!(again.as_ref(), Some(&attachment), "{}", written.to_line());
        }
        assert!(again.is_some(), "{}", written.to_line());
    }
}

/// `CNI_ARGS`, and tags found in the kernel.
pub(crate) fn arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let args = CniArgs::parse(&text);
    let _ = args.check(&["IP"]);
    for (key, _) in args.pairs() {
        args.get(key);
    }
    let _ = Tag::parse(&text).map(|tag| tag.to_string());
}
