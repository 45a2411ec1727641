//! JSON Schema of policy files, made from the types that read them, for editors that complete and
//! check TOML as it is typed.

use schemars::{JsonSchema, generate::SchemaSettings};

use crate::raw::{RawFloor, RawPolicy};

/// The schema of a policy's file, as JSON text (draft 2020-12).
pub fn policy_schema() -> String {
    of::<RawPolicy>()
}

/// The schema of the floor's file.
pub fn floor_schema() -> String {
    of::<RawFloor>()
}

fn of<T: JsonSchema>() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    format!("{:#}\n", schema.as_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_section_is_in_the_schema() {
        let schema = policy_schema();
        for key in [
            "extends",
            "memory_max",
            "egress",
            "max_body",
            "ask_timeout",
            "credential",
            "sigv4",
            "budgets",
            "unsafe_requests",
            "expect",
            "additionalProperties",
        ] {
            assert!(schema.contains(&format!("\"{key}\"")), "{key}");
        }
        assert!(floor_schema().contains("\"openable\""));
    }
}
