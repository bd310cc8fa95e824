use std::os::unix::fs::MetadataExt;

use super::*;

/// A directory of this test alone, with `from/NAME` for each of the names.
fn directory(test: &str, names: &[&str]) -> PathBuf {
    let base = std::env::temp_dir().join(format!("install-plugins-{}-{test}", std::process::id()));
    fs::create_dir_all(base.join("from")).unwrap();
    fs::create_dir(base.join("to")).unwrap();
    for name in names {
        fs::write(base.join("from").join(name), format!("this is {name}")).unwrap();
    }
    base
}

fn words(base: &Path, more: &[&str]) -> Options {
    let from = base.join("from").into_os_string();
    let mut words = vec![base.join("to").into_os_string(), "--from".into(), from];
    words.extend(more.iter().map(OsString::from));
    options(words.into_iter()).unwrap()
}

#[test]
fn a_plugin_in_use_is_replaced_and_not_written_to() {
    let base = directory("replaced", &["vlan", "bridge-attach"]);
    let target = base.join("to/vlan");
    fs::write(&target, "the plugin before").unwrap();
    let in_use = File::open(&target).unwrap();
    // What an installation that was killed left.
    fs::write(base.join("to/.vlan.new"), "half").unwrap();

    let installed = install(&words(&base, &[])).unwrap();

    assert_eq!(installed, ["bridge-attach", "vlan"]);
    assert_eq!(fs::read_to_string(&target).unwrap(), "this is vlan");
    assert_eq!(io::read_to_string(in_use).unwrap(), "the plugin before");
    assert_eq!(target.metadata().unwrap().mode() & 0o7777, 0o755);
    let names = fs::read_dir(base.join("to")).unwrap();
    assert_eq!(names.count(), 2);
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn links_are_made_on_request_for_the_plugins_there_are() {
    let base = directory("links", &["bridge-attach"]);
    fs::write(base.join("to/bridge"), "the Go plugin").unwrap();

    install(&words(&base, &["--links"])).unwrap();

    let link = fs::read_link(base.join("to/bridge")).unwrap();
    assert_eq!(link, Path::new("bridge-attach"));
    assert!(!base.join("to/dhcp").exists());
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn what_cannot_be_written_is_an_error_that_names_it() {
    let base = directory("error", &["vlan"]);
    let mut options = words(&base, &[]);
    options.to = base.join("missing");
    let error = install(&options).unwrap_err();
    assert!(error.contains("from/vlan"), "{error}");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_faulty_command_line_is_answered_with_the_usage() {
    for line in [&[][..], &["a", "b"], &["--what"], &["a", "--from"]] {
        let error = options(line.iter().map(OsString::from)).err().unwrap();
        assert!(error.contains("usage: "), "{error}");
    }
}
