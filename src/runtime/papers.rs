//! Shell completions and man pages, made of the command line's definition: they cannot say anything else than it.

use clap::{Args, Command};
use clap_complete::Shell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `ringfold completions`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Completions {
    /// The shell that they are for
    shell: Shell,
}

/// `ringfold man`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Man {
    /// Where to write them: ringfold.1, and a page for each sub-command
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// The completions as a script of that shell.
#[must_use]
pub fn completions(mut line: Command, asked: &Completions) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(asked.shell, &mut line, "ringfold", &mut text);
    text
}

/// Writes all pages.
///
/// # Errors
/// The directory's.
pub fn man(line: Command, asked: &Man) -> io::Result<()> {
    fs::create_dir_all(&asked.dir)?;
    page(line.clone(), "ringfold", &asked.dir)?;
    for sub in line.get_subcommands().filter(|it| !it.is_hide_set()) {
        page(sub.clone(), &format!("ringfold-{}", sub.get_name()), &asked.dir)?;
    }
    Ok(())
}

fn page(command: Command, name: &str, dir: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    let title: &'static str = Box::leak(name.to_string().into_boxed_str()); // A few words, once.
    let command = command.name(title).display_name(title).version(env!("CARGO_PKG_VERSION"));
    clap_mangen::Man::new(command).render(&mut text)?;
    fs::write(dir.join(format!("{name}.1")), text)
}
