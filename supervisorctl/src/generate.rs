//! Completion scripts and manual pages, made from the same description that parses the arguments.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::console;
use crate::failure::Failure;

/// `completions`.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "supervisorctl", &mut script);
    console::print_bytes(&script)
}

/// `man`.
pub fn man(to: Option<&Path>) -> Result<(), Failure> {
    let Some(directory) = to else {
        let mut page = Vec::new();
        let rendered = Man::new(Cli::command()).render(&mut page);
        rendered.map_err(Failure::local("cannot write the manual page"))?;
        return console::print_bytes(&page);
    };
    let shown = directory.display();
    fs::create_dir_all(directory).map_err(Failure::local(format!("cannot make {shown}")))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .map_err(Failure::local(format!("cannot write manual pages to {shown}")))
}
