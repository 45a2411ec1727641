//! The command line against a daemon that says what the test wants: what is sent, what is shown,
//! what is saved, and with which status the program exits.

#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod interrupts;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod program;
#[cfg(test)]
mod run;
#[cfg(test)]
mod standalone;
#[cfg(test)]
mod terminal;
