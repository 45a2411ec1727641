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
        say_one_type(each);
    })
    .transform(&mut schema);
    match schema.to_value() {
        Value::Object(object) => Arc::new(object),
        _ => Arc::default(),
    }
}

/// What may be left out is left out and never null, so it is of one type: some clients know no other schemas.
fn say_one_type(schema: &mut Schema) {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for (name, property) in properties.into_iter().flatten() {
        let Some(property) = property.as_object_mut() else { continue };
        if required.iter().any(|required| required == name) {
            continue;
        }
        if let Some(Value::Array(types)) = property.get_mut("type") {
            types.retain(|each| each != "null");
            if let [one] = types.as_slice() {
                let one = one.clone();
                property.insert("type".to_owned(), one);
            }
        }
        if property.get("default") == Some(&Value::Null) {
            property.remove("default");
        }
    }
}

fn is_of_rust(format: &str) -> bool {
    format.starts_with("uint") || format.starts_with("int")
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Answer {
        always: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        maybe: Option<u64>,
    }

    #[test]
    fn what_may_be_left_out_is_of_one_type_and_what_may_be_null_says_so() {
        let schema = of_result::<Answer>();
        let kind = |name: &str| schema.get("properties")?.get(name)?.get("type").cloned();
        assert_eq!(kind("maybe"), Some("integer".into()));
        assert_eq!(kind("always"), Some(serde_json::json!(["integer", "null"])));
        let schema = of_arguments::<Answer>();
        let maybe = schema.get("properties").and_then(|all| all.get("maybe"));
        assert!(maybe.is_some_and(|maybe| maybe.get("default").is_none()), "{schema:?}");
    }
}
