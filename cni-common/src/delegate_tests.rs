//! Executing plugins that behave, misbehave, and are not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("plumb-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A delegate whose plugin is a shell script.
    fn plugin(&self, name: &str, script: &str) -> Delegate {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.find(name).unwrap()
    }

    fn find(&self, name: &str) -> Result<Delegate, Error> {
        let path = format!("/nowhere:{}", self.0.display());
        let variables = vec![("CNI_CONTAINERID", String::from("c1"))];
        Delegate::find(name, Some(&path), b"{\"name\":\"net\"}", variables)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn add(delegate: &Delegate) -> Result<Attachment, Error> {
    delegate.start(Command::Add)?.result()
}

#[test]
fn the_plugin_gets_command_variables_and_the_same_configuration() {
    let scratch = Scratch::new("passes");
    // What follows the first colon of the configuration, `"net"}`, closes the `dns` object.
    let delegate = scratch.plugin(
        "ipam",
        r#"read conf
           printf '{"dns":{"search":["%s","%s"],"domain":%s}' "$CNI_COMMAND" "$CNI_CONTAINERID" "${conf#*:}""#,
    );
    let dns = add(&delegate).unwrap().dns;
    assert_eq!(dns.search, ["ADD", "c1"]);
    assert_eq!(dns.domain.as_deref(), Some("net"));
}

#[test]
fn an_error_result_keeps_code_message_and_details() {
    let scratch = Scratch::new("refuses");
    let delegate = scratch.plugin(
        "ipam",
        r#"echo '{"code":11,"msg":"no address left","details":"10.0.0.0/30"}'; exit 1"#,
    );
    let refused = add(&delegate).unwrap_err();
    assert_eq!(refused.code(), Code::Delegate(11));
    assert_eq!(refused.to_string(), "ipam: no address left");
    assert_eq!(refused.message(), "no address left");
    assert_eq!(refused.details(), "10.0.0.0/30");
    assert_eq!(delegate.run(Command::Del).unwrap_err().code().number(), 11);
}

#[test]
fn an_error_without_a_code_or_without_words_is_one_all_the_same() {
    let scratch = Scratch::new("mumbles");
    let refused = add(&scratch.plugin("ipam", r#"echo '{"code":0,"msg":"oh"}'; exit 1"#));
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code().number(), refused.to_string().as_str()),
        (5, "ipam: oh")
    );
    let silent = add(&scratch.plugin("ipam", r#"echo '{"code":7,"msg":""}'; exit 1"#));
    let silent = silent.unwrap_err();
    assert!(
        silent.to_string().contains("printed no error result"),
        "{silent}"
    );
}

#[test]
fn a_plugin_that_dies_is_reported_with_its_last_words() {
    let scratch = Scratch::new("dies");
    let refused = add(&scratch.plugin("ipam", "echo out of luck >&2; exit 3")).unwrap_err();
    assert_eq!(refused.code(), Code::Io);
    let text = refused.to_string();
    assert!(text.contains("ipam: ended with exit status: 3"), "{text}");
    assert!(text.contains("out of luck"), "{text}");
    let killed = add(&scratch.plugin("ipam", "kill -9 $$")).unwrap_err();
    assert!(killed.to_string().contains("signal: 9"), "{killed}");
}

#[test]
fn nothing_and_null_are_the_empty_result_and_rubbish_is_none() {
    let scratch = Scratch::new("prints");
    for script in [
        "true",
        "echo null",
        "echo '{}'",
        r#"echo '{"cniVersion":"0.2.0"}'"#,
    ] {
        let empty = add(&scratch.plugin("ipam", script)).unwrap();
        assert_eq!(empty, Attachment::default(), "{script}");
    }
    for (script, code) in [
        ("echo hello", 6),
        ("echo '[]'", 6),
        (r#"echo '{"cniVersion":"3.0.0"}'"#, 1),
        (r#"echo '{"ips":[{"address":"10.0.0.1"}]}'"#, 7),
    ] {
        let refused = add(&scratch.plugin("ipam", script)).unwrap_err();
        assert_eq!(refused.code().number(), code, "{script}: {refused}");
        assert!(
            refused.to_string().starts_with("result of ipam: "),
            "{refused}"
        );
    }
}

#[test]
fn a_plugin_that_does_not_read_its_configuration_is_no_failure() {
    let scratch = Scratch::new("deaf");
    let mut delegate = scratch.plugin("ipam", "exec <&-; echo null");
    delegate.stdin = vec![b' '; 1 << 20];
    assert_eq!(add(&delegate), Ok(Attachment::default()));
}

#[test]
fn a_plugin_that_is_being_written_is_tried_again() {
    let scratch = Scratch::new("busy");
    let delegate = scratch.plugin("ipam", "echo null");
    let writer = fs::OpenOptions::new()
        .append(true)
        .open(&delegate.path)
        .unwrap();
    let started = Instant::now();
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        drop(writer);
    });
    assert_eq!(add(&delegate), Ok(Attachment::default()));
    assert!(started.elapsed() >= Duration::from_millis(30));
    closing.join().unwrap();
}

#[test]
fn names_that_are_paths_or_nowhere_are_refused() {
    let scratch = Scratch::new("finds");
    fs::create_dir_all(scratch.0.join("directory")).unwrap();
    for name in ["../ipam", "/bin/true", ".", "..", "absent", "directory"] {
        let refused = scratch.find(name).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidConfig, "{name}");
        assert!(
            refused.to_string().contains(&format!("{name:?}")),
            "{refused}"
        );
    }
    let refused = Delegate::find("ipam", None, b"", Vec::new()).unwrap_err();
    assert_eq!(refused.code(), Code::Environment);
    assert!(refused.to_string().contains("CNI_PATH"), "{refused}");
}
