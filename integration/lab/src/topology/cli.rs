//! The command line of `topology`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::graph::Format;

use super::error::{At, Error};
use super::inside::Inside;
use super::lifecycle::{self, Request};
use super::picture::picture;
use super::store::Store;
use super::{enter, hold, inspect, labs, node, report, say, takedown, words};

/// Builds a network topology from a file, in namespaces of its own: no root, and the host stays as it is.
#[derive(Parser)]
#[command(name = "topology", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Bring a topology up, whole or not at all.
    Up {
        /// The topology file (TOML), or the name of a lab that `list` shows.
        file: PathBuf,
        /// The name of the lab; the file's own when not given.
        #[arg(long, value_parser = words::name)]
        name: Option<String>,
        /// Where plugins are; can be given several times. Otherwise: beside this program, and /opt/cni/bin.
        #[arg(long, value_name = "FOLDER")]
        plugins: Vec<PathBuf>,
        /// Build on the real host, as root, instead of in a private namespace.
        #[arg(long)]
        host: bool,
        /// When it is up, try what the file says must hold; the exit status tells.
        #[arg(long)]
        check: bool,
    },
    /// Show the labs that come with the project.
    List,
    /// Take a lab down and leave nothing of it.
    Down {
        #[command(flatten)]
        lab: Lab,
    },
    /// Show nodes, interfaces, addresses and processes.
    Inspect {
        #[command(flatten)]
        lab: Lab,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a command in a node; a shell when none is given.
    Exec {
        #[command(flatten)]
        lab: Lab,
        /// The node.
        node: String,
        /// The command and its arguments, after `--`.
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Try what the topology file says must hold.
    Check {
        #[command(flatten)]
        lab: Lab,
    },
    /// Draw the lab as it runs.
    Graph {
        #[command(flatten)]
        lab: Lab,
        /// nwdiag, mermaid or svg.
        #[arg(long, default_value_t = Format::Svg)]
        format: Format,
    },
    /// The background process of a lab.
    #[command(hide = true)]
    Hold { folder: PathBuf },
    /// PID 1 of a lab.
    #[command(hide = true)]
    Init { folder: PathBuf },
    /// The process that holds a node's namespaces.
    #[command(hide = true)]
    Node { name: String },
    /// A verb of this program, run inside a lab.
    #[command(hide = true)]
    Inside {
        folder: PathBuf,
        #[arg(trailing_var_arg = true)]
        verb: Vec<String>,
    },
    /// A plugin that is a part of this program.
    #[command(hide = true)]
    Plugin { kind: String },
    /// Take everything down inside, but the lab itself.
    #[command(hide = true)]
    Takedown { folder: PathBuf },
}

/// Which lab is meant.
#[derive(clap::Args)]
struct Lab {
    /// The name of the lab; not needed when only one is up.
    #[arg(long)]
    name: Option<String>,
}

impl Lab {
    fn store(&self) -> Result<Store, Error> {
        Store::find(self.name.as_deref())
    }
}

/// Runs the program: 0 when all is well, 1 when a check does not hold, 2 when something could not be done.
pub fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(2)
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the one place where this program reports its error"
)]
fn complain(error: &str) {
    eprintln!("topology: {error}");
}

fn run(verb: Verb) -> Result<ExitCode, Error> {
    match verb {
        Verb::Up {
            file,
            name,
            plugins,
            host,
            check,
        } => {
            let plugins = if plugins.is_empty() {
                default_plugins()
            } else {
                absolute(plugins)?
            };
            lifecycle::up(&Request {
                file: labs::file(file)?,
                name,
                plugins,
                host,
                check,
            })
        }
        Verb::List => labs::list().map(|()| ExitCode::SUCCESS),
        Verb::Down { lab } => lifecycle::down(lab.name.as_deref()),
        Verb::Inspect { lab, json } => enter::run_inside(
            &lab.store()?,
            &["inspect", if json { "json" } else { "table" }],
        ),
        Verb::Exec { lab, node, command } => enter::exec(&lab.store()?, &node, &command),
        Verb::Check { lab } => enter::run_inside(&lab.store()?, &["check"]),
        Verb::Graph { lab, format } => {
            enter::run_inside(&lab.store()?, &["graph", &format.to_string()])
        }
        Verb::Hold { folder } => hold::hold(&Store::at(folder)).map(|()| ExitCode::SUCCESS),
        Verb::Init { folder } => hold::init(&Store::at(folder)).map(|()| ExitCode::SUCCESS),
        Verb::Node { .. } => node::become_node().map(|()| ExitCode::SUCCESS),
        Verb::Inside { folder, verb } => inside(&Store::at(folder), &verb),
        Verb::Plugin { kind } => crate::device::serve(&kind)
            .ok_or_else(|| Error::new(format!("{kind} is no part of this program"))),
        Verb::Takedown { folder } => enter::run_inside(&Store::at(folder), &["takedown"]),
    }
}

/// What runs inside the lab.
fn inside(store: &Store, verb: &[String]) -> Result<ExitCode, Error> {
    let mut lab = Inside::open(store)?;
    let words: Vec<_> = verb.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => return report::report(&lab),
        ["inspect", form] => {
            let inspected = inspect::inspect(&lab)?;
            let json = || serde_json::to_string_pretty(&inspected).at(|| "write JSON".to_owned());
            say(if *form == "json" {
                json()?
            } else {
                inspect::table(&inspected)
            }
            .trim_end());
        }
        ["graph", format] => {
            let format = format.parse::<Format>().map_err(Error::new)?;
            say(picture(&lab)?.draw(format).trim_end());
        }
        ["takedown"] => {
            for left in takedown::take_down(&mut lab, &mut |step| say(&step)) {
                say(&format!("left: {}", left.replace('\n', " ")));
            }
        }
        _ => return Err(Error::new(format!("no such verb: {}", words.join(" ")))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Beside this program, where a build puts the plugins, and where they are installed.
pub(crate) fn default_plugins() -> Vec<PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let beside = program.parent().unwrap_or(Path::new("/"));
    let built = beside.parent().unwrap_or(Path::new("/"));
    let candidates = [
        beside.to_owned(),
        built.join("release"),
        built.join("debug"),
        // Debian's package.
        "/usr/lib/plumb".into(),
        "/opt/cni/bin".into(),
    ];
    let mut folders = Vec::new();
    for folder in candidates {
        if folder.is_dir() && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

fn absolute(folders: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let absolute = |folder: PathBuf| {
        folder
            .canonicalize()
            .at(|| format!("--plugins {}", folder.display()))
    };
    folders.into_iter().map(absolute).collect()
}
