//! Compiles the system call filters into init, so that no start has to.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use supervisor_launch::seccomp::{Architecture, Profile, compile};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let architecture = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        other => return Err(format!("there are no filters for {other}").into()),
    };
    let mut source = String::from(
        "/// The filter of a profile; `None` for those that no process of a sandbox runs under.\n\
         pub const fn program(profile: Profile) -> Option<&'static [Instruction]> {\n\
         match profile {\n",
    );
    let ours = [Profile::Init, Profile::Counted];
    for profile in Profile::PAYLOAD.into_iter().chain(Profile::NARROWER).chain(ours) {
        writeln!(source, "Profile::{profile:?} => Some(&[")?;
        for each in compile(profile, architecture) {
            let (code, jt, jf, k) = (each.code, each.jt, each.jf, each.k);
            writeln!(source, "Instruction {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},")?;
        }
        writeln!(source, "]),")?;
    }
    source.push_str("_ => None,\n}\n}\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("filters.rs"), source)?;
    Ok(())
}
