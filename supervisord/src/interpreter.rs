//! Interpreters: executions whose payload is a language that stays and takes its work on a channel of its own.

pub mod runner;
