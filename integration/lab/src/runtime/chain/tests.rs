//! The chain run with small fake plugins, shell scripts that note how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// A directory with fake plugins, removed at the end.
struct Bench {
    directory: PathBuf,
}

/// Notes the call, then answers ADD with a result that names the plugin; `FAIL` makes the operations named there fail.
const PLUGIN: &str = r#"#!/bin/sh
here=$(dirname "$0"); me=$(basename "$0"); input=$(cat)
echo "$me $CNI_COMMAND" >> "$here/calls"
printf '%s' "$input" > "$here/$me.$CNI_COMMAND.stdin"
env | grep '^CNI_' | sort > "$here/$me.$CNI_COMMAND.env"
if grep -qs "^$me $CNI_COMMAND$" "$here/FAIL"; then
  echo "a word on stderr" >&2
  echo "{\"cniVersion\": \"1.1.0\", \"code\": 102, \"msg\": \"told to fail\", \"details\": \"by $me\"}"
  exit 1
fi
version=$(printf '%s' "$input" | sed 's/.*"cniVersion":"\([^"]*\)".*/\1/')
[ "$CNI_COMMAND" != ADD ] || echo "{\"cniVersion\": \"$version\", \"made\": \"$me\"}"
"#;

impl Bench {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("plumb-chain-{name}-{}", std::process::id()));
        // Two tests that share a folder take it from each other.
        fs::create_dir(&directory).unwrap();
        let bench = Self { directory };
        for plugin in ["first", "second", "third"] {
            bench.plugin(plugin, PLUGIN);
        }
        bench
    }

    fn plugin(&self, name: &str, script: &str) {
        let path = self.directory.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn fails(&self, calls: &str) {
        fs::write(self.directory.join("FAIL"), calls).unwrap();
    }

    fn runtime(&self) -> Runtime {
        let missing = Path::new("/nonexistent").to_path_buf();
        Runtime::new(
            vec![missing, self.directory.clone()],
            Cache::new(self.directory.join("cache")),
        )
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn forget_calls(&self) {
        fs::remove_file(self.directory.join("calls")).unwrap();
    }

    fn stdin(&self, call: &str) -> Value {
        let path = self.directory.join(format!("{call}.stdin"));
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn environment(&self, call: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join(format!("{call}.env"))).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn list(version: &str) -> NetworkList {
    NetworkList::from_value(json!({
        "cniVersion": version, "name": "net",
        "plugins": [{"type": "first", "capabilities": {"mac": true}}, {"type": "second"}, {"type": "third"}],
    }))
    .unwrap()
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        container: container.into(),
        netns: Some("/run/netns/c".into()),
        ifname: "eth0".into(),
        args: vec![
            ("IgnoreUnknown".into(), "1".into()),
            ("IP".into(), "10.0.0.2/24".into()),
        ],
        capabilities: json!({"mac": "02:00:00:00:00:01"})
            .as_object()
            .unwrap()
            .clone(),
    }
}

#[test]
fn add_runs_forward_and_hands_each_result_to_the_next_plugin() {
    let bench = Bench::new("add");
    let result = bench
        .runtime()
        .add(&list("1.1.0"), &attachment("c1"))
        .unwrap();
    assert_eq!(result, json!({"cniVersion": "1.1.0", "made": "third"}));
    assert_eq!(bench.calls(), ["first ADD", "second ADD", "third ADD"]);
    assert_eq!(bench.stdin("first.ADD").get("prevResult"), None);
    assert_eq!(
        bench.stdin("first.ADD")["runtimeConfig"],
        json!({"mac": "02:00:00:00:00:01"})
    );
    assert_eq!(bench.stdin("second.ADD")["prevResult"]["made"], "first");
    assert_eq!(bench.stdin("second.ADD").get("runtimeConfig"), None);
    assert_eq!(bench.stdin("third.ADD")["prevResult"]["made"], "second");
}

#[test]
fn a_plugin_gets_the_variables_of_the_specification() {
    let bench = Bench::new("env");
    bench
        .runtime()
        .add(&list("1.1.0"), &attachment("c1"))
        .unwrap();
    assert_eq!(
        bench.environment("first.ADD"),
        [
            "CNI_ARGS=IgnoreUnknown=1;IP=10.0.0.2/24".to_owned(),
            "CNI_COMMAND=ADD".to_owned(),
            "CNI_CONTAINERID=c1".to_owned(),
            "CNI_IFNAME=eth0".to_owned(),
            "CNI_NETNS=/run/netns/c".to_owned(),
            format!("CNI_PATH=/nonexistent:{}", bench.directory.display()),
        ]
    );
}

#[test]
fn del_runs_in_reverse_with_the_result_of_the_last_add_and_forgets_the_attachment() {
    let bench = Bench::new("del");
    let (runtime, list, c1) = (bench.runtime(), list("1.1.0"), attachment("c1"));
    runtime.add(&list, &c1).unwrap();
    bench.forget_calls();
    runtime.del(&list, &c1).unwrap();
    assert_eq!(bench.calls(), ["third DEL", "second DEL", "first DEL"]);
    for plugin in ["first", "second", "third"] {
        assert_eq!(
            bench.stdin(&format!("{plugin}.DEL"))["prevResult"]["made"],
            "third"
        );
    }
    assert_eq!(runtime.cache().entries().unwrap(), []);
}

#[test]
fn del_of_a_namespace_that_is_gone_sends_it_empty() {
    let bench = Bench::new("gone");
    let gone = Attachment {
        netns: None,
        ..attachment("c1")
    };
    bench.runtime().del(&list("1.1.0"), &gone).unwrap();
    assert!(
        bench
            .environment("first.DEL")
            .contains(&"CNI_NETNS=".to_owned())
    );
    assert_eq!(bench.stdin("first.DEL").get("prevResult"), None);
}

#[test]
fn a_failed_add_is_followed_by_del_of_the_whole_list() {
    let bench = Bench::new("undo");
    bench.fails("second ADD\n");
    let runtime = bench.runtime();
    let error = runtime.add(&list("1.1.0"), &attachment("c1")).unwrap_err();
    assert_eq!(error.code(), Some(102));
    assert_eq!(
        error.to_string(),
        "second ADD: told to fail; by second (code 102)\nstderr of second: a word on stderr"
    );
    assert_eq!(
        bench.calls(),
        [
            "first ADD",
            "second ADD",
            "third DEL",
            "second DEL",
            "first DEL"
        ]
    );
    assert_eq!(runtime.cache().entries().unwrap(), []);
}

#[test]
fn when_the_del_after_a_failed_add_fails_too_both_are_told_and_del_can_be_tried_again() {
    let bench = Bench::new("undo-fails");
    bench.fails("third ADD\nfirst DEL\n");
    let runtime = bench.runtime();
    let Error::Several(errors) = runtime.add(&list("1.1.0"), &attachment("c1")).unwrap_err() else {
        panic!("one error only");
    };
    assert!(
        errors[0].to_string().starts_with("third ADD"),
        "{}",
        errors[0]
    );
    assert!(
        errors[1].to_string().starts_with("first DEL"),
        "{}",
        errors[1]
    );
    let entries = runtime.cache().entries().unwrap();
    assert_eq!(entries.len(), 1);
    bench.fails("");
    runtime
        .del(&entries[0].list, &entries[0].attachment)
        .unwrap();
    assert_eq!(runtime.cache().entries().unwrap(), []);
}

#[test]
fn a_second_add_of_the_same_interface_is_refused_until_del() {
    let bench = Bench::new("twice");
    let (runtime, list, c1) = (bench.runtime(), list("1.1.0"), attachment("c1"));
    runtime.add(&list, &c1).unwrap();
    assert!(
        runtime
            .add(&list, &c1)
            .unwrap_err()
            .to_string()
            .contains("second ADD")
    );
    runtime.del(&list, &c1).unwrap();
    runtime.add(&list, &c1).unwrap();
}

#[test]
fn check_runs_forward_with_the_result_of_the_last_add() {
    let bench = Bench::new("check");
    let (runtime, list, c1) = (bench.runtime(), list("1.1.0"), attachment("c1"));
    runtime.add(&list, &c1).unwrap();
    bench.forget_calls();
    runtime.check(&list, &c1).unwrap();
    assert_eq!(
        bench.calls(),
        ["first CHECK", "second CHECK", "third CHECK"]
    );
    assert_eq!(bench.stdin("first.CHECK")["prevResult"]["made"], "third");
    bench.fails("second CHECK\n");
    assert_eq!(runtime.check(&list, &c1).unwrap_err().code(), Some(102));
    assert_eq!(bench.calls().len(), 5);
}

#[test]
fn check_is_left_out_where_the_list_disables_it() {
    let bench = Bench::new("no-check");
    let (runtime, c1) = (bench.runtime(), attachment("c1"));
    let disabled = NetworkList {
        disable_check: true,
        ..list("1.1.0")
    };
    runtime.add(&disabled, &c1).unwrap();
    bench.forget_calls();
    runtime.check(&disabled, &c1).unwrap();
    assert_eq!(bench.calls(), [""; 0]);
}

#[test]
fn before_0_4_0_there_is_no_check_and_del_gets_no_result() {
    let bench = Bench::new("old");
    let (runtime, list, c1) = (bench.runtime(), list("0.3.1"), attachment("c1"));
    runtime.add(&list, &c1).unwrap();
    assert!(
        runtime
            .check(&list, &c1)
            .unwrap_err()
            .to_string()
            .contains("0.4.0")
    );
    runtime.del(&list, &c1).unwrap();
    assert_eq!(bench.stdin("first.DEL").get("prevResult"), None);
}

#[test]
fn status_stops_at_the_first_plugin_that_is_not_ready() {
    let bench = Bench::new("status");
    bench.fails("second STATUS\n");
    assert_eq!(
        bench.runtime().status(&list("1.1.0")).unwrap_err().code(),
        Some(102)
    );
    assert_eq!(bench.calls(), ["first STATUS", "second STATUS"]);
    assert!(
        bench
            .environment("first.STATUS")
            .iter()
            .all(|each| !each.starts_with("CNI_CONTAINERID"))
    );
    bench.runtime().status(&list("1.0.0")).unwrap();
    assert_eq!(bench.calls().len(), 2);
}

#[test]
fn gc_takes_down_what_is_not_valid_then_tells_every_plugin_what_is() {
    let bench = Bench::new("gc");
    let (runtime, list) = (bench.runtime(), list("1.1.0"));
    let other = NetworkList {
        name: "other".into(),
        source: json!({
        "cniVersion": "1.1.0", "name": "other", "plugins": [{"type": "first"}]}),
        ..list.clone()
    };
    runtime.add(&list, &attachment("kept")).unwrap();
    runtime.add(&list, &attachment("stale")).unwrap();
    runtime.add(&other, &attachment("elsewhere")).unwrap();
    bench.forget_calls();
    bench.fails("first GC\n");
    let valid = [("kept".to_owned(), "eth0".to_owned())];
    assert_eq!(
        runtime.gc(&list, Some(&valid)).unwrap_err().code(),
        Some(102)
    );
    assert_eq!(
        bench.calls(),
        [
            "third DEL",
            "second DEL",
            "first DEL",
            "first GC",
            "second GC",
            "third GC"
        ]
    );
    assert_eq!(
        bench.stdin("third.GC")["cni.dev/valid-attachments"],
        json!([{"containerID": "kept", "ifname": "eth0"}])
    );
    let left: Vec<_> = runtime
        .cache()
        .entries()
        .unwrap()
        .into_iter()
        .map(|each| each.attachment.container)
        .collect();
    assert_eq!(left, ["kept", "elsewhere"]);
}

#[test]
fn gc_without_a_list_of_valid_attachments_touches_nothing_that_is_remembered() {
    let bench = Bench::new("gc-none");
    let (runtime, list) = (bench.runtime(), list("1.1.0"));
    runtime.add(&list, &attachment("c1")).unwrap();
    bench.forget_calls();
    runtime.gc(&list, None).unwrap();
    assert_eq!(bench.calls(), ["first GC", "second GC", "third GC"]);
    assert_eq!(
        bench.stdin("first.GC").get("cni.dev/valid-attachments"),
        None
    );
    assert_eq!(runtime.cache().entries().unwrap().len(), 1);
}

#[test]
fn a_result_that_is_not_one_document_in_the_version_asked_for_is_a_broken_protocol() {
    for (name, script, expected) in [
        ("two", "echo '{\"cniVersion\": \"1.1.0\"}{}'", "trailing"),
        ("none", "true", "EOF"),
        (
            "old",
            "echo '{\"cniVersion\": \"1.0.0\"}'",
            "version 1.0.0, asked was 1.1.0",
        ),
    ] {
        let bench = Bench::new(&format!("result-{name}"));
        let script = format!("#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = DEL ] || {script}\n");
        bench.plugin("first", &script);
        let error = bench
            .runtime()
            .add(&list("1.1.0"), &attachment("c1"))
            .unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_plugin_that_fails_without_an_error_result_is_quoted_from_stderr() {
    let bench = Bench::new("crash");
    bench.plugin(
        "third",
        "#!/bin/sh\n[ $CNI_COMMAND = DEL ] || { echo 'cannot load library' >&2; exit 127; }\n",
    );
    let error = bench
        .runtime()
        .add(&list("1.1.0"), &attachment("c1"))
        .unwrap_err();
    assert_eq!(error.code(), None);
    assert!(error.to_string().contains("cannot load library"), "{error}");
}

#[test]
fn a_missing_plugin_is_named_with_the_directories_searched() {
    let bench = Bench::new("missing");
    let list = NetworkList::parse(
        r#"{"cniVersion": "1.1.0", "name": "n", "plugins": [{"type": "nowhere"}]}"#,
    )
    .unwrap();
    let error = bench.runtime().status(&list).unwrap_err().to_string();
    assert!(
        error.contains("nowhere") && error.contains("/nonexistent"),
        "{error}"
    );
}

#[test]
fn a_configuration_larger_than_a_pipe_reaches_a_plugin_that_answers_before_it_reads() {
    let bench = Bench::new("large");
    bench.plugin("first", "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' ' '; echo '{\"cniVersion\": \"1.1.0\"}'; cat >/dev/null\n");
    let mut large = list("1.1.0");
    large.plugins.truncate(1);
    large.plugins[0]
        .object
        .insert("note".into(), "x".repeat(300_000).into());
    bench.runtime().add(&large, &attachment("c1")).unwrap();
}
