//! A network configuration list (specification section 1): read, checked, and its version selected.

use serde_json::{Map, Value};

use super::Error;

/// The versions of the specification this runtime speaks, oldest first.
pub const SUPPORTED: [&str; 7] = [
    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
];

/// A `.conflist`.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkList {
    /// The name of the network.
    pub name: String,
    /// The highest of `cniVersion` and `cniVersions` that this runtime speaks.
    pub version: &'static str,
    /// No CHECK is to be issued.
    pub disable_check: bool,
    /// No GC is to be issued.
    pub disable_gc: bool,
    /// The plugins, in the order of ADD.
    pub plugins: Vec<PluginConfig>,
    /// The list as it was read.
    pub source: Value,
}

/// One element of `plugins`.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConfig {
    /// `type`: the file name of the plugin.
    pub kind: String,
    /// The whole object, unknown keys included, in its order.
    pub object: Map<String, Value>,
}

impl PluginConfig {
    /// Whether the plugin declares this capability true.
    pub fn has_capability(&self, name: &str) -> bool {
        let declared = self
            .object
            .get("capabilities")
            .and_then(|all| all.get(name));
        declared.and_then(Value::as_bool).unwrap_or(false)
    }
}

impl NetworkList {
    /// Reads a list from JSON text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let source = serde_json::from_str(text)
            .map_err(|error| Error::Config(vec![format!("not JSON: {error}")]))?;
        Self::from_value(source)
    }

    /// Reads a list from a JSON value. All problems are reported at once.
    pub fn from_value(source: Value) -> Result<Self, Error> {
        let Some(list) = source.as_object() else {
            return Err(Error::Config(vec![
                "a network configuration list must be a JSON object".into(),
            ]));
        };
        let mut problems = Vec::new();
        let name = name(list).unwrap_or_else(|problem| noted(&mut problems, problem));
        let version = select_version(list).unwrap_or_else(|problem| noted(&mut problems, problem));
        let disable_check =
            flag(list, "disableCheck").unwrap_or_else(|problem| noted(&mut problems, problem));
        let disable_gc =
            flag(list, "disableGC").unwrap_or_else(|problem| noted(&mut problems, problem));
        let plugins = plugins(list, &mut problems);
        if !problems.is_empty() {
            return Err(Error::Config(problems));
        }
        Ok(Self {
            name,
            version,
            disable_check,
            disable_gc,
            plugins,
            source,
        })
    }

    /// Whether the selected version is at least `version`, which must be one of [`SUPPORTED`].
    pub fn speaks(&self, version: &str) -> bool {
        rank(self.version) >= rank(version)
    }
}

fn noted<T: Default>(problems: &mut Vec<String>, problem: String) -> T {
    problems.push(problem);
    T::default()
}

fn rank(version: &str) -> Option<usize> {
    SUPPORTED.iter().position(|known| *known == version)
}

fn name(list: &Map<String, Value>) -> Result<String, String> {
    let name = match list.get("name") {
        Some(Value::String(name)) => name,
        Some(other) => return Err(format!("name must be a string, not {other}")),
        None => return Err("name is missing".into()),
    };
    if is_identifier(name) {
        return Ok(name.clone());
    }
    Err(format!(
        "name {name:?} is not a network name: a letter or digit, then letters, digits, '_', '.' or '-'"
    ))
}

/// Whether `text` has the form the specification gives network names and container ids.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each))
}

/// Selects the version: the highest of `cniVersion` and `cniVersions` that we speak; unknown ones are passed over.
fn select_version(list: &Map<String, Value>) -> Result<&'static str, String> {
    let mut offered = Vec::new();
    if let Some(single) = list.get("cniVersion") {
        offered.push(
            single
                .as_str()
                .ok_or_else(|| format!("cniVersion must be a string, not {single}"))?,
        );
    }
    if let Some(several) = list.get("cniVersions") {
        let listed = several
            .as_array()
            .ok_or_else(|| format!("cniVersions must be a list, not {several}"))?;
        for (index, each) in listed.iter().enumerate() {
            offered.push(
                each.as_str()
                    .ok_or_else(|| format!("cniVersions[{index}] must be a string, not {each}"))?,
            );
        }
    }
    if offered.is_empty() {
        return Err("cniVersion is missing".into());
    }
    let best = offered.iter().filter_map(|each| rank(each)).max();
    best.and_then(|best| SUPPORTED.get(best).copied())
        .ok_or_else(|| {
            format!(
                "cniVersion {}: none is supported, only {}",
                offered.join(", "),
                SUPPORTED.join(", ")
            )
        })
}

/// A flag, which older lists write as a string.
fn flag(list: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match list.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(format!("{key} must be true or false, not {other}")),
    }
}

fn plugins(list: &Map<String, Value>, problems: &mut Vec<String>) -> Vec<PluginConfig> {
    let Some(listed) = list.get("plugins").and_then(Value::as_array) else {
        problems.push("plugins must be a list of objects".into());
        return Vec::new();
    };
    if listed.is_empty() {
        problems.push("plugins must have at least one plugin".into());
    }
    let mut plugins = Vec::new();
    for (index, each) in listed.iter().enumerate() {
        match plugin(each) {
            Ok(plugin) => plugins.push(plugin),
            Err(problem) => problems.push(format!("plugins[{index}]{problem}")),
        }
    }
    plugins
}

fn plugin(value: &Value) -> Result<PluginConfig, String> {
    let object = value
        .as_object()
        .ok_or_else(|| format!(" must be an object, not {value}"))?;
    let kind = object
        .get("type")
        .and_then(Value::as_str)
        .ok_or(".type must be the name of a plugin")?;
    if kind.is_empty() || kind.contains('/') || kind == "." || kind == ".." {
        return Err(format!(".type {kind:?} must be a file name without '/'"));
    }
    if let Some(capabilities) = object.get("capabilities") {
        let declared = capabilities
            .as_object()
            .ok_or(".capabilities must be an object")?;
        if let Some((name, value)) = declared.iter().find(|(_, value)| !value.is_boolean()) {
            return Err(format!(
                ".capabilities.{name} must be true or false, not {value}"
            ));
        }
    }
    Ok(PluginConfig {
        kind: kind.to_owned(),
        object: object.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let Err(Error::Config(problems)) = NetworkList::parse(text) else {
            panic!("no problem in {text}");
        };
        problems
    }

    fn selected(versions: &str) -> &'static str {
        let text = format!(r#"{{{versions}, "name": "n", "plugins": [{{"type": "p"}}]}}"#);
        NetworkList::parse(&text).unwrap().version
    }

    #[test]
    fn the_highest_version_that_both_sides_speak_is_selected() {
        for (versions, expected) in [
            (r#""cniVersion": "0.4.0""#, "0.4.0"),
            (
                r#""cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0"]"#,
                "1.0.0",
            ),
            (
                r#""cniVersion": "1.1.0", "cniVersions": ["0.3.1"]"#,
                "1.1.0",
            ),
            (
                r#""cniVersion": "1.0.0", "cniVersions": ["1.1.0", "1.2.0", "9.0.0"]"#,
                "1.1.0",
            ),
            (r#""cniVersions": ["0.3.1", "0.4.0"]"#, "0.4.0"),
        ] {
            assert_eq!(selected(versions), expected, "{versions}");
        }
    }

    #[test]
    fn a_list_in_no_version_we_speak_is_refused_with_the_versions_that_are_allowed() {
        let found = problems(r#"{"cniVersion": "1.0", "name": "n", "plugins": [{"type": "p"}]}"#);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("1.0") && found[0].contains("1.1.0"),
            "{}",
            found[0]
        );
    }

    #[test]
    fn all_problems_of_a_list_are_reported_at_once() {
        let found = problems(
            r#"{"name": "-x", "disableCheck": 3, "plugins": [
                {"type": "a/b"}, 7, {"type": "p", "capabilities": {"ips": "yes"}}, {}]}"#,
        );
        let text = found.join("\n");
        for part in [
            "name \"-x\"",
            "cniVersion is missing",
            "disableCheck",
            "plugins[0].type \"a/b\"",
            "plugins[1] must be an object",
            "plugins[2].capabilities.ips",
            "plugins[3].type",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
        assert_eq!(found.len(), 7);
    }

    #[test]
    fn a_list_without_plugins_is_refused() {
        assert_eq!(
            problems(r#"{"cniVersion": "1.1.0", "name": "n", "plugins": []}"#),
            ["plugins must have at least one plugin"]
        );
    }

    #[test]
    fn flags_may_be_strings_as_older_lists_write_them() {
        let list = NetworkList::parse(
            r#"{"cniVersion": "1.1.0", "name": "n", "disableCheck": "true", "disableGC": true, "plugins": [{"type": "p"}]}"#,
        )
        .unwrap();
        assert!(list.disable_check && list.disable_gc);
    }
}
