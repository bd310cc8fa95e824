//! Images made from busybox alone, in the form `docker save` writes: every runtime imports that.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::Machine;

/// Makes the image `localhost/NAME:1`, which runs `command` by default, and returns its archive.
///
/// The files in it are busybox with a link for each of its programs, and a page for its web server in `/www`.
#[track_caller]
pub(crate) fn make(machine: &Machine, name: &str, command: &[&str]) -> PathBuf {
    let work = machine.directory(&format!("image-{name}"));
    machine.sh(&format!(
        r#"cd {work} && mkdir -p root/bin root/etc root/proc root/sys root/dev root/tmp root/run root/www
        cp "$(command -v busybox)" root/bin/busybox
        for program in $(busybox --list); do [ "$program" = busybox ] || ln -s busybox "root/bin/$program"; done
        echo 'root:x:0:0:root:/:/bin/sh' > root/etc/passwd
        echo 'root:x:0:' > root/etc/group
        echo hello > root/www/index.html
        tar --owner=0 --group=0 -C root -cf layer.tar ."#
    ));
    let layer = digest(machine, &format!("{work}/layer.tar"));
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/bin"], "Cmd": command },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    });
    let aside = Path::new(&work).join("config");
    fs::write(&aside, config.to_string()).unwrap();
    // The name of the configuration is its digest.
    let config = format!("{}.json", digest(machine, &format!("{work}/config")));
    fs::rename(&aside, Path::new(&work).join(&config)).unwrap();
    let manifest = json!([{
        "Config": config, "RepoTags": [format!("localhost/{name}:1")], "Layers": ["layer.tar"],
    }]);
    fs::write(Path::new(&work).join("manifest.json"), manifest.to_string()).unwrap();
    machine.sh(&format!(
        "cd {work} && tar -cf image.tar manifest.json {config} layer.tar"
    ));
    Path::new(&work).join("image.tar")
}

#[track_caller]
fn digest(machine: &Machine, file: &str) -> String {
    let line = machine.exec(["sha256sum", file]);
    line.split_whitespace().next().unwrap().to_owned()
}
