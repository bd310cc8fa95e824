//! An IPAM plugin for tests: it answers with what the test laid down, and keeps a record of its calls.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use plumb_tests::Value;

/// Where it lives: a `CNI_PATH`.
pub(crate) const DIRECTORY: &str = "/run/ipam";

/// A name of which bridge-attach knows that it needs no link: it works while the link is made.
pub(crate) const QUICK: &str = "host-local";

/// A name it does not know: such a plugin may look for the link.
pub(crate) const CAREFUL: &str = "lease";

/// The IPAM plugin of a test's host.
pub(crate) struct Ipam {
    directory: PathBuf,
}

impl Ipam {
    /// Installs it under both names.
    pub(crate) fn install() -> Self {
        fs::create_dir(DIRECTORY).unwrap();
        let script = "#!/bin/sh\n\
            cd /run/ipam\n\
            cat > \"stdin.$CNI_COMMAND\"\n\
            echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME\" >> calls\n\
            [ ! -e \"do.$CNI_COMMAND\" ] || . \"./do.$CNI_COMMAND\"\n\
            [ \"$CNI_COMMAND\" != ADD ] || cat \"result.$CNI_CONTAINERID\"\n";
        for name in [QUICK, CAREFUL] {
            let file = Path::new(DIRECTORY).join(name);
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            directory: PathBuf::from(DIRECTORY),
        }
    }

    /// What ADD answers for a container.
    pub(crate) fn gives(&self, container: &str, mut result: Value) {
        result["cniVersion"] = "1.1.0".into();
        let file = self.directory.join(format!("result.{container}"));
        fs::write(file, result.to_string()).unwrap();
    }

    /// A line of shell that a command runs before it answers; `exit` in it ends the plugin.
    pub(crate) fn does(&self, command: &str, line: &str) {
        fs::write(
            self.directory.join(format!("do.{command}")),
            format!("{line}\n"),
        )
        .unwrap();
    }

    /// Every call so far: command, container, interface.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
