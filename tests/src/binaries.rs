//! Where the plugins under test are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The directories that hold the plugins under test.
#[derive(Clone, Debug)]
pub struct Binaries {
    directories: Vec<PathBuf>,
    reference: bool,
}

/// The plugins to test: those in `PLUGIN_DIR`, else the static ones that `make build` made, else a debug build.
///
/// Where both builds have a plugin the newer file is taken, so that nobody tests what they built yesterday.
pub fn binaries() -> Binaries {
    match env::var_os("PLUGIN_DIR") {
        Some(directory) => Binaries::in_directory(Path::new(&directory)),
        None => Binaries {
            directories: built(),
            reference: false,
        },
    }
}

/// Our plugins as built, also where `PLUGIN_DIR` names others: a test may put both together.
pub fn our_binaries() -> Binaries {
    let directories = match env::var_os("PLUGIN_DIR") {
        Some(directory) if !binaries().reference => vec![directory.into()],
        _ => built(),
    };
    Binaries {
        directories,
        reference: false,
    }
}

impl Binaries {
    /// The plugins in one directory. One that holds `bridge` but not `bridge-attach` has the reference plugins.
    pub fn in_directory(directory: &Path) -> Self {
        let reference =
            directory.join("bridge").exists() && !directory.join("bridge-attach").exists();
        Self {
            directories: vec![directory.to_owned()],
            reference,
        }
    }

    /// Whether these are the reference Go plugins.
    pub fn are_reference(&self) -> bool {
        self.reference
    }

    /// The file of a plugin.
    #[track_caller]
    pub fn find(&self, name: &str) -> PathBuf {
        let candidates = self
            .directories
            .iter()
            .map(|directory| directory.join(name));
        let built = candidates.filter_map(|file| Some((modified(&file)?, file)));
        let newest = built.max_by_key(|(when, _)| *when);
        let Some((_, file)) = newest else {
            let places: Vec<_> = self
                .directories
                .iter()
                .map(|directory| directory.display().to_string())
                .collect();
            panic!(
                "no plugin {name} in {}: run `make build` first, or set PLUGIN_DIR",
                places.join(" or ")
            );
        };
        file
    }

    /// `CNI_PATH` for a call of the plugin `file`: its own directory first.
    pub(crate) fn cni_path(&self, file: &Path) -> String {
        let own = file.parent().into_iter().map(Path::to_path_buf);
        let others = self
            .directories
            .iter()
            .filter(|directory| file.parent() != Some(directory))
            .cloned();
        let paths: Vec<_> = own
            .chain(others)
            .map(|path| path.display().to_string())
            .collect();
        paths.join(":")
    }
}

fn built() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let target = env::var_os("CARGO_TARGET_DIR").map_or(default, Into::into);
    let target = fs::canonicalize(&target).unwrap_or(target);
    let triple = format!("{}-unknown-linux-musl", env::consts::ARCH);
    ["release", "debug"]
        .into_iter()
        .map(|profile| target.join(&triple).join(profile))
        .collect()
}

fn modified(file: &Path) -> Option<SystemTime> {
    fs::metadata(file)
        .and_then(|metadata| metadata.modified())
        .ok()
}
