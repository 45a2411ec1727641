//! JSON Schemas of arguments and results: whole, without references, and without formats that only Rust knows.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::generate::{Contract, SchemaSettings};
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::Value;

/// What a tool is given.
pub fn of_arguments<T: JsonSchema>() -> Arc<JsonObject> {
    of::<T>(Contract::Deserialize)
}

/// What it answers.
pub fn of_result<T: JsonSchema>() -> Arc<JsonObject> {
    of::<T>(Contract::Serialize)
}

fn of<T: JsonSchema>(contract: Contract) -> Arc<JsonObject> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.contract = contract;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(|each: &mut Schema| {
        if each.get("format").and_then(Value::as_str).is_some_and(is_of_rust) {
            each.remove("format");
        }
    })
    .transform(&mut schema);
    match schema.to_value() {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

fn is_of_rust(format: &str) -> bool {
    format.starts_with("uint") || format.starts_with("int")
}
